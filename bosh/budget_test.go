package bosh

import (
	"bytes"
	"context"
	"runtime"
	"sync"
	"testing"
	"time"
)

// Allocations are what costs most per request, so their number is a promise: a message up and down again, both streams and
// the session machine included, without what net/http itself allocates.
func TestAllocationsPerRequest(t *testing.T) {
	if raceEnabled {
		t.Log("the race detector allocates too; nothing is asserted")
		return
	}
	h := benchHandler(t)
	c, sid, rid := benchSession(t, h, "1")
	ctx, cancel := context.WithCancel(context.Background()) // as net/http has it
	defer cancel()
	r := newRoundTrip(sid, rid)
	base := c.r
	got := testing.AllocsPerRun(500, func() {
		c.r = base.WithContext(ctx) // one allocation
		if out := c.do(r.next()); !bytes.Contains(out, []byte("lorem")) {
			t.Fatalf("got %s", out)
		}
	}) - 1
	if got > 10 {
		t.Errorf("%v allocations for a message up and down", got)
	}
}

// What a session costs while nothing happens: itself, its stream, and a request that is held, without what net/http has for
// that request.
func TestMemoryPerIdleSession(t *testing.T) {
	sessions := 500
	if raceEnabled {
		sessions = 50 // nothing is asserted then
	}
	srv := startStub(t)
	srv.parks = true
	h, err := New(Config{Dialer: newDialer(t, srv.setting()), Origins: anyOrigins(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var held sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		held.Wait()
		shut, done := context.WithTimeout(context.Background(), patience)
		defer done()
		_ = h.Shutdown(shut) // parked servers close nothing
	})
	open := func(n int) {
		for range n {
			c, sid, rid := benchSession(t, h, "1")
			c.r = c.r.WithContext(ctx)
			body := newRoundTrip(sid, rid)
			body.tail = []byte("'/>")
			held.Go(func() {
				defer func() { _ = recover() }() // the connection breaks off at the end
				c.do(body.next())
			})
		}
		waitFor(t, func() bool {
			n := 0
			for _, s := range h.registry.all() {
				s.mu.Lock()
				n += len(s.waiting)
				s.mu.Unlock()
			}
			return n == h.Sessions()
		})
	}
	open(10)                                                 // pools and tables are there from now on
	rest := func() { time.Sleep(2*restAfter + time.Second) } // no event tells that a stream is parked
	rest()
	before := footprint()
	open(sessions)
	rest()
	each := (footprint() - before) / uint64(sessions)
	t.Logf("%d bytes per session", each)
	if limit := uint64(22 << 10); each > limit && !raceEnabled {
		t.Errorf("%d bytes per idle session, more than %d", each, limit)
	}
}

// footprint is the memory in use after all garbage is gone.
func footprint() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
