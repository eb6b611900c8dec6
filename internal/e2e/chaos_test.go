//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// chaosCase is one server under which replicas die.
type chaosCase struct {
	name  string
	start func() (*server, error)
	tls   bool
}

var chaosCases = []chaosCase{
	{"prosody13 plain", func() (*server, error) { return startProsody13(false) }, false},
	{"prosody13 STARTTLS", func() (*server, error) { return startProsody13(true) }, true},
	{"ejabberd24 STARTTLS", startEjabberd24, true},
}

// TestChaos: replicas are killed, frozen and restarted under load, and no BOSH session and no stanza is lost, doubled or
// reordered. `make chaos` makes it long: E2E_CHAOS_SECONDS for each server, E2E_CHAOS_ROUNDS times.
//
// Covers: BOSH-136, BOSH-141, UP-122, UP-123, UP-124, UP-125, UP-127.
func TestChaos(t *testing.T) {
	seconds, rounds := number(t, "E2E_CHAOS_SECONDS", 15), number(t, "E2E_CHAOS_ROUNDS", 1)
	for round := range rounds {
		for _, c := range chaosCases {
			name := c.name
			if rounds > 1 {
				name = fmt.Sprintf("round %d %s", round+1, c.name)
			}
			t.Run(name, func(t *testing.T) { runChaos(t, name, c, time.Duration(seconds)*time.Second) })
		}
	}
}

// number reads a number from the environment.
func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("%s is %q, want a number above 0", name, s)
	}
	return n
}

// ownServer starts a server for one test.
func ownServer(t *testing.T, start func() (*server, error)) *server {
	t.Helper()
	s, err := start()
	need(t, err)
	showLogs(t, s.procs...)
	t.Cleanup(func() {
		for _, p := range s.procs {
			p.stop()
		}
	})
	return s
}

const chaosPairs = 20

func runChaos(t *testing.T, name string, c chaosCase, duration time.Duration) {
	s := ownServer(t, c.start)
	redis := startRedis(t, true)
	ca, err := testCA()
	if err != nil {
		t.Fatal(err)
	}
	setting := s.setting(s.domain, ca.file)
	if !c.tls {
		setting = fmt.Sprintf("%s=xmpp://127.0.0.1:%d?tls=none", s.domain, s.port)
	}
	replicas := startReplicas(t, 3, redis, "--domain", setting, "--bosh.inactivity", "60s")
	figures := newFigures(replicas)
	port := startHAProxy(t, replicas)
	ep := endpoint{bosh: fmt.Sprintf("http://127.0.0.1:%d/http-bind", port)}

	load := newTraffic(t, s, ep, 2*chaosPairs)
	page := startStrophePair(t, s, ep.bosh, load.witness)
	ctx, stop := context.WithTimeout(t.Context(), duration)
	defer stop()
	h := &havoc{t: t, replicas: replicas, figures: figures, ill: map[*replica]bool{}}
	var wg sync.WaitGroup
	wg.Go(func() { load.talk(ctx) })
	wg.Go(func() { h.strike(ctx) })
	wg.Go(func() {
		if wait(ctx, duration/4) {
			h.roll(t.Context())
		}
	})
	wg.Go(func() {
		if wait(ctx, duration*3/4) {
			_ = redis.proc.cmd.Process.Kill()
			<-redis.proc.done
			redis.start(t)
		}
	})
	wg.Wait()
	for _, r := range replicas {
		if err := r.ready(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	page.settle()
	load.settle()
	figures.collect()
	inBrowser, overtakenThere := page.received()
	fmt.Printf("chaos: %s: %d messages, %s; in a browser %d, %d overtaken; %d requests repeated; %s\n",
		name, load.received.Load(), load.irregular(), inBrowser, overtakenThere, load.repeats(), figures)
	if most := 2 + int64(figures.sum("stanzagate_takeover_seconds_count"))/200; load.lost > most {
		t.Errorf("%d messages lost; the server alone loses fewer", load.lost)
	}
}

// wait waits, or returns false when the context ends.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
