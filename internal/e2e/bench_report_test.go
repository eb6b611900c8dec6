//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// benchFigures are one subject's in one round; 0 where it was not measured.
type benchFigures struct {
	PerSecond        float64
	CPUMicros        float64 // per message
	P50Micros        float64 // at the fixed rate
	P99Micros        float64
	KiBPerSession    float64
	LoginsPerSecond  float64
	IdleCPUMicros    float64 // per session and second
	Failure          string  `json:",omitempty"`
	Lost, Misordered uint64
}

// benchRow is one subject in the table.
type benchRow struct {
	Name          string
	Median, Ratio benchFigures // Ratio: to the first subject
	Rounds        []benchFigures
}

type benchReport struct {
	Machine benchMachine
	Rows    []benchRow
	Growth  []benchGrowth
}

// benchMachine is where and when the figures were taken.
type benchMachine struct {
	Date, Go, Kernel, CPU string
	Cores                 int
	Load                  string // before the run, of everything that goes on
}

func describeMachine() benchMachine {
	m := benchMachine{Date: time.Now().UTC().Format(time.DateOnly), Go: runtime.Version(), Cores: runtime.NumCPU()}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		_, rest, _ := strings.Cut(string(b), "model name")
		m.CPU, _, _ = strings.Cut(strings.TrimLeft(rest, "\t :"), "\n")
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load, _, _ = strings.Cut(string(b), " ")
	}
	var u syscall.Utsname
	if syscall.Uname(&u) == nil {
		for _, c := range u.Release {
			if c == 0 {
				break
			}
			m.Kernel += string(rune(c))
		}
	}
	return m
}

// benchColumns are the figures that medians are taken of.
var benchColumns = []func(*benchFigures) *float64{
	func(f *benchFigures) *float64 { return &f.PerSecond },
	func(f *benchFigures) *float64 { return &f.CPUMicros },
	func(f *benchFigures) *float64 { return &f.P50Micros },
	func(f *benchFigures) *float64 { return &f.P99Micros },
	func(f *benchFigures) *float64 { return &f.KiBPerSession },
	func(f *benchFigures) *float64 { return &f.LoginsPerSecond },
	func(f *benchFigures) *float64 { return &f.IdleCPUMicros },
}

// take computes the medians.
func (r *benchReport) take(rows []benchRow) {
	for i := range rows {
		for _, column := range benchColumns {
			*column(&rows[i].Median) = median(rows[i].Rounds, nil, column)
			*column(&rows[i].Ratio) = median(rows[i].Rounds, rows[0].Rounds, column)
		}
	}
	r.Rows = rows
}

// median of a figure over the rounds, or of its ratio to another subject's in the same round. Failed rounds do not count.
func median(rounds, to []benchFigures, column func(*benchFigures) *float64) float64 {
	var v []float64
	for i := range rounds {
		x := *column(&rounds[i])
		if rounds[i].Failure != "" || x == 0 {
			continue
		}
		if to != nil {
			y := *column(&to[i])
			if to[i].Failure != "" || y == 0 {
				continue
			}
			x /= y
		}
		v = append(v, x)
	}
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return v[len(v)/2]
}

func (r *benchReport) text() string {
	var b strings.Builder
	m := r.Machine
	fmt.Fprintf(&b, "%s, %d cores (%s), Linux %s, %s; load before the run %s\n\n", m.Date, m.Cores, m.CPU, m.Kernel, m.Go, m.Load)
	b.WriteString("| subject | messages/s | × | CPU µs per message | × | p50 µs at 500/s | × | p99 µs | × | KiB per idle session | logins/s | × |\n")
	b.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for i := range r.Rows {
		f, x := &r.Rows[i].Median, &r.Rows[i].Ratio
		fmt.Fprintf(&b, "| %s | %.0f | %.2f | %.1f | %.2f | %.0f | %.2f | %.0f | %.2f | %.1f | %.0f | %.2f |\n", r.Rows[i].Name,
			f.PerSecond, x.PerSecond, f.CPUMicros, x.CPUMicros, f.P50Micros, x.P50Micros, f.P99Micros, x.P99Micros, f.KiBPerSession,
			f.LoginsPerSecond, x.LoginsPerSecond)
	}
	if len(r.Growth) == 0 {
		return b.String()
	}
	fmt.Fprintf(&b, "\n%d messages/s over so many sessions:\n\n| subject | sessions | CPU µs per message | KiB per idle session |\n| --- | --- | --- | --- |\n", growthRate)
	for _, g := range r.Growth {
		for _, p := range g.Points {
			if p.Failure != "" {
				fmt.Fprintf(&b, "| %s | %d | failed | |\n", g.Name, p.Sessions)
				continue
			}
			fmt.Fprintf(&b, "| %s | %d | %.1f | %.1f |\n", g.Name, p.Sessions, p.CPUMicros, p.KiBPerSession)
		}
	}
	return b.String()
}

// write writes the report as out.md, out.json and out.svg.
func (r *benchReport) write(out string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	for ending, content := range map[string][]byte{".md": []byte(r.text()), ".json": append(b, '\n'), ".svg": []byte(r.plot())} {
		if err := os.WriteFile(out+ending, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
