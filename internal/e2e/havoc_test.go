//go:build e2e

package e2e

import (
	"context"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"
)

// havoc kills, freezes and restarts replicas. At least one is always well.
type havoc struct {
	t        *testing.T
	replicas []*replica
	figures  *figures

	mu  sync.Mutex
	ill map[*replica]bool
}

const (
	strikeEvery = 500 * time.Millisecond
	frozenFor   = 4 * time.Second // longer than the lease
	// drainPatience is how long a replica may take to give its sessions away and end.
	drainPatience = 15 * time.Second
)

// take claims a replica that is well, if another one stays well.
func (h *havoc) take(r *replica) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ill[r] || len(h.ill) >= len(h.replicas)-1 {
		return false
	}
	h.ill[r] = true
	return true
}

func (h *havoc) release(r *replica) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.ill, r)
}

// strike kills or freezes a replica every half second, and returns when all are well again.
func (h *havoc) strike(ctx context.Context) {
	var ill sync.WaitGroup
	defer ill.Wait()
	tick := time.NewTicker(strikeEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		r := h.replicas[rand.IntN(len(h.replicas))]
		if !h.take(r) {
			continue
		}
		ill.Go(func() {
			defer h.release(r)
			if n%6 == 5 {
				h.figures.freezes.Add(1)
				r.freeze()
				time.Sleep(frozenFor)
				r.thaw()
				return
			}
			h.figures.kills.Add(1)
			h.figures.collectFrom(r)
			r.kill()
			time.Sleep(rand.N(600 * time.Millisecond))
			r.mustStart(h.t)
		})
	}
}

// roll restarts all replicas, one after the other, as a new version is brought out.
func (h *havoc) roll(ctx context.Context) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for _, r := range h.replicas {
		for !h.take(r) {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
		h.figures.restarts.Add(1)
		h.figures.collectFrom(r)
		r.drain(h.t)
		r.mustStart(h.t)
		h.release(r)
	}
}

// drain is SIGTERM, and waits until the process has ended by itself.
func (r *replica) drain(t *testing.T) {
	p := r.process()
	r.signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(drainPatience):
		t.Errorf("%s has not ended %v after SIGTERM", r.name, drainPatience)
		r.kill()
		return
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("%s ended with status %d after SIGTERM\n%s", r.name, code, p.tail(2000))
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
