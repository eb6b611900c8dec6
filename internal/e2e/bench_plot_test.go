//go:build e2e

package e2e

import (
	"fmt"
	"math"
	"strings"
)

// panel is one diagram of the plot: a figure over the number of sessions.
type panel struct {
	title  string
	figure func(benchPoint) float64
}

const (
	panelWidth, panelHeight = 360, 220
	panelLeft, panelTop     = 56, 44
	panelGap                = 84
)

var plotColours = []string{"#666666", "#0b6fb8", "#c4501b", "#2b8a3e"}

// plot draws how cost grows with sessions, as SVG.
func (r *benchReport) plot() string {
	panels := []panel{
		{fmt.Sprintf("CPU µs per message at %d/s", growthRate), func(p benchPoint) float64 { return p.CPUMicros }},
		{"KiB per idle session", func(p benchPoint) float64 { return p.KiBPerSession }},
	}
	var b strings.Builder
	width := panelLeft + len(panels)*(panelWidth+panelGap)
	height := panelTop + panelHeight + 76
	fmt.Fprintf(&b, "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' width='%d' height='%d' font-family='sans-serif' font-size='12'>\n", width, height, width, height)
	fmt.Fprintf(&b, "<rect width='%d' height='%d' fill='white'/>\n", width, height)
	for i, p := range panels {
		fmt.Fprintf(&b, "<g transform='translate(%d %d)'>\n", panelLeft+i*(panelWidth+panelGap), panelTop)
		r.drawPanel(&b, p)
		b.WriteString("</g>\n")
	}
	x := panelLeft
	for i, g := range r.Growth {
		fmt.Fprintf(&b, "<rect x='%d' y='%d' width='14' height='4' fill='%s'/><text x='%d' y='%d'>%s</text>\n",
			x, height-20, plotColours[i%len(plotColours)], x+20, height-14, g.Name)
		x += 60 + 8*len(g.Name)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (r *benchReport) drawPanel(b *strings.Builder, p panel) {
	most, sessions := 0.0, 1.0
	for _, g := range r.Growth {
		for _, point := range g.Points {
			most, sessions = max(most, p.figure(point)), max(sessions, float64(point.Sessions))
		}
	}
	step := niceStep(most)
	top := step * math.Max(1, math.Ceil(most/step))
	at := func(point benchPoint) (x, y float64) {
		return float64(point.Sessions) / sessions * panelWidth, panelHeight * (1 - p.figure(point)/top)
	}
	fmt.Fprintf(b, "<text x='0' y='-16' font-weight='bold'>%s</text>\n", p.title)
	for v := 0.0; v <= top+step/2; v += step {
		y := panelHeight * (1 - v/top)
		fmt.Fprintf(b, "<path d='M0 %.1fH%d' stroke='#dddddd'/><text x='-8' y='%.1f' text-anchor='end'>%.4g</text>\n", y, panelWidth, y+4, v)
	}
	for i := range 5 {
		fmt.Fprintf(b, "<text x='%d' y='%d' text-anchor='middle'>%.0f</text>\n", i*panelWidth/4, panelHeight+18, sessions*float64(i)/4)
	}
	fmt.Fprintf(b, "<text x='%d' y='%d' text-anchor='middle'>sessions</text>\n", panelWidth/2, panelHeight+36)
	for i, g := range r.Growth {
		var path strings.Builder
		colour := plotColours[i%len(plotColours)]
		for _, point := range g.Points {
			if point.Failure != "" {
				continue
			}
			x, y := at(point)
			fmt.Fprintf(&path, "%s%.1f %.1f", map[bool]string{true: "M", false: "L"}[path.Len() == 0], x, y)
			fmt.Fprintf(b, "<circle cx='%.1f' cy='%.1f' r='3' fill='%s'/>\n", x, y, colour)
		}
		fmt.Fprintf(b, "<path d='%s' fill='none' stroke='%s' stroke-width='2'/>\n", path.String(), colour)
	}
}

// niceStep is 1, 2 or 5 times a power of ten, so that about five of it reach most.
func niceStep(most float64) float64 {
	if most <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(most/4)))
	for _, f := range []float64{1, 2, 5} {
		if most/(f*unit) <= 6 {
			return f * unit
		}
	}
	return 10 * unit
}
