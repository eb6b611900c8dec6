//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestSoak: sessions on a real server whose connections to the gateway are cut at random lose nothing, and the gateway's
// memory does not grow. E2E_SOAK_MINUTES makes it long and large (500 sessions); `make soak` does.
//
// Covers: BOSH-018, BOSH-019, BOSH-136, BOSH-137.
func TestSoak(t *testing.T) {
	sessions, duration, pause := 40, 10*time.Second, 100*time.Millisecond
	if s := os.Getenv("E2E_SOAK_MINUTES"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		sessions, duration, pause = 500, time.Duration(n)*time.Minute, 2*time.Second
	}
	s := getServer(t, "prosody")
	ca, err := testCA()
	if err != nil {
		t.Fatal(err)
	}
	ep, p, err := startGateway("--domain", s.setting(s.domain, ca.file), "--limit.sessions-per-address", "0", "--limit.creations-per-address", "0", "--log.level", "warn")
	if err != nil {
		t.Fatal(err)
	}
	showLogs(t, p)
	t.Cleanup(p.stop)
	u, err := url.Parse(ep.bosh)
	if err != nil {
		t.Fatal(err)
	}
	cut := startCutProxy(t, u.Host)
	u.Host = cut.addr()
	load := newTraffic(t, s, endpoint{bosh: u.String()}, sessions)
	load.pause = pause
	cut.begin(5 * time.Second)

	ctx, stop := context.WithTimeout(t.Context(), duration)
	defer stop()
	var quarter atomic.Int64
	time.AfterFunc(duration/4, func() { quarter.Store(residentBytes(p)) })
	load.talk(ctx)
	early, late := quarter.Load(), residentBytes(p)
	load.settle()
	t.Logf("%d sessions, %v, %d messages, %d cuts, %d requests repeated; memory %d KiB after a quarter, %d KiB at the end",
		sessions, duration, load.received.Load(), cut.cuts.Load(), load.repeats(), early>>10, late>>10)
	if cut.cuts.Load() == 0 {
		t.Error("nothing was cut")
	}
	const slack = 16 << 20
	if late > early+early/4+slack {
		t.Errorf("memory grew from %d to %d bytes", early, late)
	}
}

// residentBytes is what a process holds in memory.
func residentBytes(p *process) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	f := strings.Fields(rest)
	if len(f) == 0 {
		return 0
	}
	kib, _ := strconv.ParseInt(f[0], 10, 64)
	return kib << 10
}
