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
	PollMicros       float64 `json:",omitempty"` // CPU of an empty poll
	AddedP50Micros   float64 `json:",omitempty"` // to a request by its way through the wrong replica
	AddedP99Micros   float64 `json:",omitempty"`
	Failure          string  `json:",omitempty"`
	Lost, Misordered uint64
}

func (f benchFigures) String() string {
	b, err := json.Marshal(f)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// failed notes an error beside those that there are.
func (f *benchFigures) failed(err error) bool {
	if err == nil {
		return false
	}
	if f.Failure != "" {
		f.Failure += "; "
	}
	f.Failure += oneLine(err)
	return true
}

// count adds what a run has lost or misplaced, which is a failure too.
func (f *benchFigures) count(chat chatResult) {
	f.Lost += chat.Lost
	f.Misordered += chat.Doubled + chat.Reordered
	if chat.Lost+chat.Doubled+chat.Reordered > 0 {
		f.failed(fmt.Errorf("%d messages lost, %d doubled, %d out of order", chat.Lost, chat.Doubled, chat.Reordered))
	}
}

// oneLine is the first line of an error's text and the last one, which is the end of a log, fit for a table.
func oneLine(err error) string {
	line, rest, more := strings.Cut(strings.TrimSpace(err.Error()), "\n")
	if more {
		line += ": " + strings.TrimSpace(rest[strings.LastIndexByte(rest, '\n')+1:])
	}
	line = strings.ReplaceAll(line, "|", "/")
	if len(line) > 200 {
		line = strings.ToValidUTF8(line[:200], "") + "…"
	}
	return line
}

// benchRow is one subject in the table.
type benchRow struct {
	Name          string
	Failure       string       `json:",omitempty"` // of the first round that failed
	Median, Ratio benchFigures // Ratio: to the first subject
	Rounds        []benchFigures
}

type benchReport struct {
	Machine benchMachine
	Rounds  int // that were finished
	Seconds int // of one measurement
	Took    string
	Rows    []benchRow
	Targets []benchTarget
	Growth  []benchGrowth
	Notes   []string
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
	func(f *benchFigures) *float64 { return &f.PollMicros },
	func(f *benchFigures) *float64 { return &f.AddedP50Micros },
	func(f *benchFigures) *float64 { return &f.AddedP99Micros },
}

// take computes the medians, and what they say about the targets.
func (r *benchReport) take(rows []benchRow) {
	for i := range rows {
		for _, column := range benchColumns {
			*column(&rows[i].Median) = median(rows[i].Rounds, nil, column)
			*column(&rows[i].Ratio) = median(rows[i].Rounds, rows[0].Rounds, column)
		}
		for n, f := range rows[i].Rounds {
			if f.Failure != "" {
				rows[i].Failure = fmt.Sprintf("round %d: %s", n+1, f.Failure)
				break
			}
		}
	}
	r.Rows = rows
	r.Targets = r.judge()
}

// row finds a subject; one without figures if it was not measured.
func (r *benchReport) row(name string) *benchRow {
	for i := range r.Rows {
		if r.Rows[i].Name == name {
			return &r.Rows[i]
		}
	}
	return &benchRow{}
}

// failures are those of rows and points.
func (r *benchReport) failures() (all []string) {
	for _, row := range r.Rows {
		if row.Failure != "" {
			all = append(all, row.Name+": failed: "+row.Failure)
		}
	}
	for _, g := range r.Growth {
		for _, p := range g.Points {
			if p.Failure != "" {
				all = append(all, fmt.Sprintf("%s, %d sessions: failed: %s", g.Name, p.Sessions, p.Failure))
			}
		}
	}
	return all
}

// median of a figure over the rounds, or of its ratio to another subject's in the same round, as far as they were measured.
func median(rounds, to []benchFigures, column func(*benchFigures) *float64) float64 {
	var v []float64
	for i := range rounds {
		x := *column(&rounds[i])
		if x == 0 {
			continue
		}
		if to != nil {
			if i >= len(to) || *column(&to[i]) == 0 {
				continue
			}
			x /= *column(&to[i])
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
	fmt.Fprintf(&b, "%s, %d cores (%s), Linux %s, %s; load before the run %s; %d rounds of %d s, %s in all\n\n",
		m.Date, m.Cores, m.CPU, m.Kernel, m.Go, m.Load, r.Rounds, r.Seconds, r.Took)
	b.WriteString("| subject | messages/s | × | CPU µs per message | × | p50 µs at 500/s | × | p99 µs | × | KiB per idle session | logins/s | × |\n")
	b.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for i := range r.Rows {
		f, x := &r.Rows[i].Median, &r.Rows[i].Ratio
		if f.PerSecond == 0 && r.Rows[i].Failure != "" {
			fmt.Fprintf(&b, "| %s | failed: %s |\n", r.Rows[i].Name, r.Rows[i].Failure)
			continue
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", r.Rows[i].Name,
			cell(f.PerSecond, 0), cell(x.PerSecond, 2), cell(f.CPUMicros, 1), cell(x.CPUMicros, 2), cell(f.P50Micros, 0), cell(x.P50Micros, 2),
			cell(f.P99Micros, 0), cell(x.P99Micros, 2), cell(f.KiBPerSession, 1), cell(f.LoginsPerSecond, 0), cell(x.LoginsPerSecond, 2))
	}
	fmt.Fprintf(&b, "\n| target | | measured | where the relay takes %g µs | reached |\n| --- | --- | --- | --- | --- |\n", relayMicros)
	for _, t := range r.Targets {
		scaled := ""
		if t.Scaled > 0 {
			scaled = cell(t.Scaled, 2)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", t.What, t.limit(), cell(t.Measured, 2), scaled, t.verdict())
	}
	r.writeGrowth(&b)
	for _, line := range append(r.Notes, r.failures()...) {
		fmt.Fprintf(&b, "\n- %s", line)
	}
	b.WriteString("\n")
	return b.String()
}

// cell is a figure, or a dash where it was not measured.
func cell(v float64, digits int) string {
	if v == 0 {
		return "–"
	}
	return fmt.Sprintf("%.*f", digits, v)
}

func (r *benchReport) writeGrowth(b *strings.Builder) {
	if len(r.Growth) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%d messages/s over so many sessions:\n\n| subject | sessions that talk | CPU µs per message | sessions that rest | KiB each |\n| --- | --- | --- | --- | --- |\n", growthRate)
	for _, g := range r.Growth {
		for _, p := range g.Points {
			if p.Failure != "" {
				fmt.Fprintf(b, "| %s | %d | failed: %s |\n", g.Name, p.Talking, p.Failure)
				continue
			}
			fmt.Fprintf(b, "| %s | %d | %.1f | %d | %.1f |\n", g.Name, p.Talking, p.CPUMicros, p.Sessions, p.KiBPerSession)
		}
	}
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
