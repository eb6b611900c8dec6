//go:build e2e

package e2e

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// panel is one diagram of the plot: a figure over the number of sessions.
type panel struct {
	title, unit, across string
	sessions            func(benchPoint) int
	figure              func(benchPoint) float64
}

const (
	panelWidth, panelHeight = 340, 220
	panelLeft, panelTop     = 70, 52
	panelGap                = 90
)

// plotStyle has the colours of a light page and of a dark one.
const plotStyle = `<style>
.page{fill:#fff}text{fill:#222}.grid{stroke:#ddd}.axis{stroke:#555}.line{fill:none;stroke-width:2}
.s0{stroke:#6b6b6b;fill:#6b6b6b}.s1{stroke:#0b6fb8;fill:#0b6fb8}.s2{stroke:#c4501b;fill:#c4501b}.s3{stroke:#2b8a3e;fill:#2b8a3e}
@media(prefers-color-scheme:dark){.page{fill:#0d1117}text{fill:#e6e6e6}.grid{stroke:#30363d}.axis{stroke:#9a9a9a}
.s0{stroke:#a8a8a8;fill:#a8a8a8}.s1{stroke:#58a6ff;fill:#58a6ff}.s2{stroke:#ff9459;fill:#ff9459}.s3{stroke:#56d364;fill:#56d364}}
path.line{fill:none}
</style>
`

const plotSeries = 4 // of different colours

// plot draws how cost grows with sessions, as SVG.
func (r *benchReport) plot() string {
	panels := []panel{
		{
			fmt.Sprintf("CPU per message at %d messages/s", growthRate), "µs", "sessions that talk",
			func(p benchPoint) int { return p.Talking }, func(p benchPoint) float64 { return p.CPUMicros },
		},
		{
			"Memory (PSS) per idle session", "KiB", "sessions that rest",
			func(p benchPoint) int { return p.Sessions }, func(p benchPoint) float64 { return p.KiBPerSession },
		},
	}
	var b strings.Builder
	width := panelLeft + len(panels)*(panelWidth+panelGap) - panelGap/2
	height := panelTop + panelHeight + 92
	fmt.Fprintf(&b, "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' width='%d' height='%d' font-family='sans-serif' font-size='12' role='img' aria-label='How cost grows with sessions'>\n", width, height, width, height)
	b.WriteString(plotStyle)
	fmt.Fprintf(&b, "<rect class='page' width='%d' height='%d'/>\n", width, height)
	for i, p := range panels {
		fmt.Fprintf(&b, "<g transform='translate(%d %d)'>\n", panelLeft+i*(panelWidth+panelGap), panelTop)
		r.drawPanel(&b, p)
		b.WriteString("</g>\n")
	}
	x := panelLeft
	for i, g := range r.Growth {
		fmt.Fprintf(&b, "<path class='line s%d' d='M%d %dh22'/><circle class='s%d' cx='%d' cy='%d' r='3'/><text x='%d' y='%d'>%s</text>\n",
			i%plotSeries, x, height-20, i%plotSeries, x+11, height-20, x+28, height-16, html.EscapeString(g.Name))
		x += 64 + 7*len(g.Name)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (r *benchReport) drawPanel(b *strings.Builder, p panel) {
	highest, most := 0.0, 0.0
	for _, g := range r.Growth {
		for _, point := range g.Points {
			if point.Failure == "" {
				highest, most = max(highest, p.figure(point)), max(most, float64(p.sessions(point)))
			}
		}
	}
	up, upTo := scale(highest)
	across, acrossTo := scale(most)
	y := func(v float64) float64 { return panelHeight * (1 - v/upTo) }
	x := func(v float64) float64 { return panelWidth * v / acrossTo }
	fmt.Fprintf(b, "<text x='0' y='-24' font-size='13' font-weight='bold'>%s</text>\n", p.title)
	for v := 0.0; v <= upTo+up/2; v += up {
		fmt.Fprintf(b, "<path class='grid' d='M0 %.1fH%d'/><text x='-8' y='%.1f' text-anchor='end'>%.4g</text>\n", y(v), panelWidth, y(v)+4, v)
	}
	for v := 0.0; v <= acrossTo+across/2; v += across {
		fmt.Fprintf(b, "<path class='axis' d='M%.1f %dv5'/><text x='%.1f' y='%d' text-anchor='middle'>%.0f</text>\n", x(v), panelHeight, x(v), panelHeight+19, v)
	}
	fmt.Fprintf(b, "<path class='axis' fill='none' d='M0 0V%dH%d'/>\n", panelHeight, panelWidth)
	fmt.Fprintf(b, "<text transform='translate(-46 %d) rotate(-90)' text-anchor='middle'>%s</text>\n", panelHeight/2, p.unit)
	fmt.Fprintf(b, "<text x='%d' y='%d' text-anchor='middle'>%s</text>\n", panelWidth/2, panelHeight+38, p.across)
	for i, g := range r.Growth {
		var path strings.Builder
		for _, point := range g.Points {
			if point.Failure != "" {
				continue
			}
			px, py := x(float64(p.sessions(point))), y(p.figure(point))
			fmt.Fprintf(&path, "%s%.1f %.1f", map[bool]string{true: "M", false: "L"}[path.Len() == 0], px, py)
			fmt.Fprintf(b, "<circle class='s%d' cx='%.1f' cy='%.1f' r='3'/>\n", i%plotSeries, px, py)
		}
		if path.Len() > 0 {
			fmt.Fprintf(b, "<path class='line s%d' d='%s'/>\n", i%plotSeries, path.String())
		}
	}
}

// scale is the step and the end of an axis that is to hold most: the step is 1, 2 or 5 times a power of ten, and about five
// of it reach the end.
func scale(most float64) (step, end float64) {
	if most <= 0 {
		return 1, 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(most/4)))
	step = 10 * unit
	for _, f := range []float64{1, 2, 5} {
		if most/(f*unit) <= 6 {
			step = f * unit
			break
		}
	}
	return step, step * math.Ceil(most/step)
}
