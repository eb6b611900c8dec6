//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// benchGrowth says how the cost of one subject grows with the number of its sessions.
type benchGrowth struct {
	Name   string
	Points []benchPoint
}

// benchPoint is what so many sessions cost: all log in and rest, and then, elsewhere, share one fixed load.
type benchPoint struct {
	Sessions      int     // idle ones
	Talking       int     // those that share the load
	CPUMicros     float64 // per message, at growthRate over all
	KiBPerSession float64 // idle
	Failure       string  `json:",omitempty"`
}

const (
	// growthRate is in messages per second. The machine has to have time left, or waiting is what is measured.
	growthRate = 2000

	// filesBeside are descriptors that are for something else than sessions.
	filesBeside = 400
)

// growthSizes reads numbers of sessions.
func growthSizes(t *testing.T, list string) (sizes []int) {
	t.Helper()
	for _, s := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		n, err := strconv.Atoi(s)
		if err != nil || n < 2 {
			t.Fatalf("E2E_BENCH_GROWTH is %q, want numbers of sessions as in 200,1000", list)
		}
		sizes = append(sizes, n)
	}
	return sizes
}

// mostSessions is how many sessions one process may have files for, each of which takes some of them.
func mostSessions(each float64) int {
	var files syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files) != nil {
		return 1 << 30
	}
	return int(float64(min(files.Max, 1<<30)-filesBeside) / each)
}

// filesPerSession are those of the process under test: a connection on either side; in the relay also the pipes that it
// splices through, and while a session talks by BOSH the second connection of the side that sends.
func filesPerSession(name string) (idle, talking float64) {
	switch name {
	case nameRelay:
		return 6, 6
	case nameOf("bosh"):
		return 2, 2.5
	}
	return 2, 2
}

// fileLimits says what sizes the machine does not allow.
func (b *benchPlan) fileLimits() (notes []string) {
	if len(b.growth) == 0 {
		return nil
	}
	largest := slices.Max(b.growth)
	if most := mostSessions(2); most < largest {
		notes = append(notes, fmt.Sprintf("this machine lets a process open %d files at most, two for each session: %d sessions instead of %d", 2*most+filesBeside, most, largest))
	}
	if most := mostSessions(2.5); most < largest {
		notes = append(notes, fmt.Sprintf("BOSH sessions that send have a second connection: at most %d talk", most&^1))
	}
	if most := mostSessions(6); most < largest {
		notes = append(notes, fmt.Sprintf("the relay takes six files for each session, with the pipes that it splices through: %d sessions", most))
	}
	return notes
}

// growAll measures the relay and the gateway by both transports.
func (b *benchPlan) growAll(t *testing.T, subjects []*subject) (all []benchGrowth) {
	for _, s := range subjects {
		if len(b.growth) == 0 || s.failure != nil || s.name != nameRelay && s.name != nameOf("websocket") && s.name != nameOf("bosh") {
			continue
		}
		g := benchGrowth{Name: s.name}
		for _, n := range b.growth {
			if last := len(g.Points) - 1; last >= 0 && g.Points[last].Sessions == min(n, mostSessions(idleFiles(s.name))) {
				break // cut to the same size
			}
			start := time.Now()
			p := b.grow(s, n)
			if b.over() {
				break
			}
			t.Logf("growth, %s, %v: %+v", s.name, time.Since(start).Round(time.Second), p)
			g.Points = append(g.Points, p)
		}
		all = append(all, g)
	}
	return all
}

func idleFiles(name string) float64 {
	idle, _ := filesPerSession(name)
	return idle
}

func (b *benchPlan) grow(s *subject, sessions int) benchPoint {
	idle, talking := filesPerSession(s.name)
	p := benchPoint{Sessions: min(sessions, mostSessions(idle)), Talking: min(sessions, mostSessions(talking)) &^ 1}
	var f benchFigures
	err := b.measureIdle(s, p.Sessions, &f)
	p.KiBPerSession = f.KiBPerSession
	if err == nil {
		p.CPUMicros, err = b.share(s, p.Talking)
	}
	if err != nil {
		p.Failure = oneLine(err)
	}
	return p
}

// share has so many sessions of a fresh process share the fixed load.
func (b *benchPlan) share(s *subject, sessions int) (cpuMicros float64, err error) {
	on := *s
	on.instance, err = s.start()
	defer on.stop()
	if err != nil {
		return 0, err
	}
	var chat chatResult
	warmup := 2*time.Second + time.Duration(sessions)*time.Millisecond // until all have sent, and the burst of logins is forgotten
	if err := b.chat(&on, &chat, sessions/2, warmup.String(), b.span(1.25), growthRate); err != nil {
		return 0, err
	}
	var f benchFigures
	f.count(chat)
	if f.Failure != "" {
		return 0, errors.New(f.Failure)
	}
	return micros(chat.CPUPerMessage), nil
}

// memoryOf returns the proportional set size of some processes in bytes.
func memoryOf(procs []*process) (sum int64, err error) {
	for _, p := range procs {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.cmd.Process.Pid))
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(b)) {
			if v, ok := strings.CutPrefix(line, "Pss:"); ok {
				kib, err := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
				if err != nil {
					return 0, err
				}
				sum += kib << 10
			}
		}
	}
	return sum, nil
}

// awaitPort waits until a process that was started, unless with an error, listens.
func awaitPort(p *process, port int, err error) error {
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	return until(ctx, "listener", p, listening(port))
}
