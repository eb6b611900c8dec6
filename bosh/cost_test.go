//go:build !race

// The race detector allocates and makes stacks grow, so what things cost is measured without it.

package bosh

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"stanzagate/internal/parked"
)

// Allocations are what costs most per request, so their number is a promise: a message up and down again, both streams and
// the session machine included, without what net/http itself allocates.
func TestCostAllocationsPerRequest(t *testing.T) {
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

// What a session costs while nothing happens: itself, its stream, and a request that is held behind net/http. The other
// ends of both connections are outside of this process's memory.
func TestCostIdleSession(t *testing.T) {
	const sessions, limit = 1000, 11 << 10
	srv := startStub(t)
	srv.parks = true
	h, web := costServer(t, Config{Dialer: newDialer(t, srv.setting()), Origins: anyOrigins(t)})
	open := func(n int) {
		for range n {
			_, sid, rid := benchSession(t, h, "1")
			conn, err := net.Dial("tcp", web)
			if err != nil {
				t.Fatal(err)
			}
			body := newRoundTrip(sid, rid)
			body.tail = []byte("'/>")
			b := body.next()
			if _, err := fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: gw\r\nContent-Length: %d\r\n\r\n%s", len(b), b); err != nil {
				t.Fatal(err)
			}
			srv.park(t, conn)
			_ = conn.Close()
		}
		waitFor(t, func() bool { return h.parkedNow() == h.Sessions() })
	}
	stacks := make([]byte, 16<<20)
	rest := func() { // until nobody reads: what is at rest has no goroutine, or one that only waits
		waitFor(t, func() bool { return !bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte(".(*feed).run(")) })
	}
	open(10) // pools and tables are there from now on
	rest()
	before := footprint()
	open(sessions)
	rest()
	each := (footprint() - before) / sessions
	runtime.KeepAlive(stacks) // it is in both
	t.Logf("%d bytes per session", each)
	if each > limit {
		t.Errorf("%d bytes per idle session, more than %d", each, limit)
	}
}

// costServer serves a Handler as the gateway does.
func costServer(t *testing.T, cfg Config) (h *Handler, addr string) {
	t.Helper()
	cfg.Lot = parked.New(time.Minute)
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h}
	ended := make(chan error, 2)
	again := cfg.Lot.Listener(server, ln.Addr())
	go func() { ended <- server.Serve(ln) }()
	go func() { ended <- server.Serve(again) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = h.Shutdown(ctx) // parked servers close nothing, so it does not end in time
		_ = server.Close()
		<-ended
		<-ended
		cfg.Lot.Close()
	})
	return h, ln.Addr().String()
}

// footprint is the memory in use after all garbage is gone.
func footprint() uint64 {
	var m runtime.MemStats
	for range 3 { // pools are emptied by the second run, and what finalizers held is freed by the third
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
