//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// benchGrowth says how the cost of one subject grows with the number of its sessions.
type benchGrowth struct {
	Name   string
	Points []benchPoint
}

// benchPoint is what so many sessions cost, all of which log in, rest, and then share one fixed load.
type benchPoint struct {
	Sessions      int
	CPUMicros     float64 // per message, at growthRate over all
	KiBPerSession float64 // idle
	Failure       string
}

const growthRate = 5000 // messages per second

// growthSizes are numbers of sessions, as far as files may be opened: a session needs two.
func growthSizes() []int {
	sizes := []int{200, 1000, 4000, 10000}
	var files syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files) == nil {
		last := len(sizes) - 1
		sizes[last] = min(sizes[last], int(files.Max-200)/2)
	}
	return sizes
}

func grow(t *testing.T, s subject) (points []benchPoint) {
	for _, n := range growthSizes() {
		p := benchPoint{Sessions: n}
		var idle idleResult
		each, err := s.idle(n, &idle)
		if err == nil {
			p.KiBPerSession = each
			var chat chatResult
			err = bench(s, &chat, "chat", "--pairs", fmt.Sprint(n/2), "--warmup", "2s", "--duration", "5s", "--rate", fmt.Sprint(growthRate))
			p.CPUMicros = micros(chat.CPUPerMessage)
		}
		if err != nil {
			p.Failure = err.Error()
		}
		t.Logf("%s: %+v", s.name, p)
		points = append(points, p)
	}
	return points
}

// memoryOf returns the proportional set size of some processes in bytes.
func memoryOf(t *testing.T, procs []*process) (sum int64) {
	t.Helper()
	for _, p := range procs {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if v, ok := strings.CutPrefix(line, "Pss:"); ok {
				kib, err := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				sum += kib << 10
			}
		}
	}
	return sum
}
