//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
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
// reordered. E2E_CHAOS_SECONDS lengthens the run.
//
// Covers: BOSH-136, BOSH-141, UP-122, UP-123, UP-124, UP-125, UP-127.
func TestChaos(t *testing.T) {
	seconds := 20
	if s := os.Getenv("E2E_CHAOS_SECONDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		seconds = n
	}
	for _, c := range chaosCases {
		t.Run(c.name, func(t *testing.T) {
			s, err := c.start()
			if isMissing(err) {
				missing(t, err)
			} else if err != nil {
				t.Fatal(err)
			}
			showLogs(t, s.procs...)
			t.Cleanup(func() {
				for _, p := range s.procs {
					p.stop()
				}
			})
			runChaos(t, s, c.tls, time.Duration(seconds)*time.Second)
		})
	}
}

const chaosPairs = 20

func runChaos(t *testing.T, s *server, tls bool, duration time.Duration) {
	redis := startRedis(t, true)
	ca, err := testCA()
	if err != nil {
		t.Fatal(err)
	}
	setting := s.setting(s.domain, ca.file)
	if !tls {
		setting = fmt.Sprintf("%s=xmpp://127.0.0.1:%d?tls=none", s.domain, s.port)
	}
	replicas := startReplicas(t, 3, redis, "--domain", setting, "--bosh.inactivity", "60s")
	figures := newFigures(replicas)
	port := startHAProxy(t, replicas)
	ep := endpoint{bosh: fmt.Sprintf("http://127.0.0.1:%d/http-bind", port)}

	load := newTraffic(t, s, ep, 2*chaosPairs)
	ctx, stop := context.WithTimeout(t.Context(), duration)
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { load.talk(ctx) })
	wg.Go(func() { havoc(ctx, t, replicas, figures) })
	time.AfterFunc(duration/2, func() {
		_ = redis.proc.cmd.Process.Kill()
		<-redis.proc.done
		redis.start(t)
	})
	wg.Wait()
	for _, r := range replicas {
		if err := r.ready(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	load.settle()
	figures.collect()
	t.Logf("%d messages, %d of them overtaken; %d requests repeated; %s", load.received.Load(), load.displaced.Load(), load.repeats(), figures)
}

// havoc kills or freezes a replica every half second, and restarts all of them in turn once in the middle. At least one is
// always well.
func havoc(ctx context.Context, t *testing.T, replicas []*replica, f *figures) {
	const (
		pause  = 500 * time.Millisecond
		frozen = 4 * time.Second // longer than the lease
	)
	var ill sync.WaitGroup
	defer ill.Wait()
	var down atomic.Int32
	busy := make([]atomic.Bool, len(replicas))
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		i := rand.IntN(len(replicas))
		if int(down.Load()) >= len(replicas)-1 || busy[i].Load() {
			continue
		}
		r := replicas[i]
		busy[i].Store(true)
		down.Add(1)
		ill.Go(func() {
			defer func() {
				busy[i].Store(false)
				down.Add(-1)
			}()
			switch {
			case n%6 == 5:
				f.freezes.Add(1)
				r.freeze()
				time.Sleep(frozen)
				r.thaw()
			case n%10 == 9:
				f.restarts.Add(1)
				f.collectFrom(r)
				r.process().stop()
				r.mustStart(t)
			default:
				f.kills.Add(1)
				f.collectFrom(r)
				r.kill()
				time.Sleep(time.Duration(rand.IntN(600)) * time.Millisecond)
				r.mustStart(t)
			}
		})
	}
}

func (r *replica) mustStart(t *testing.T) {
	if err := r.start(); err != nil {
		t.Error(err)
		return
	}
	if err := r.ready(context.Background()); err != nil {
		t.Error(err)
	}
}
