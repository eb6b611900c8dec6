//go:build e2e

package e2e

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// cutProxy is a TCP proxy that cuts connections at random, so that requests and responses are lost at every point of their
// way: before they arrive, in the middle, and after the other side has acted on them.
type cutProxy struct {
	to   string
	ln   net.Listener
	cuts atomic.Int64
	mean atomic.Int64 // mean life of a connection in nanoseconds; 0: no cuts
	wg   sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
	over  bool
}

func startCutProxy(t *testing.T, to string) *cutProxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &cutProxy{to: to, ln: ln, conns: map[net.Conn]bool{}}
	p.wg.Go(p.accept)
	t.Cleanup(p.stop)
	return p
}

func (p *cutProxy) addr() string { return p.ln.Addr().String() }

func (p *cutProxy) accept() {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.relay(c) })
	}
}

// own registers a connection for stop; false if the proxy has stopped.
func (p *cutProxy) own(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		p.conns[c] = true
	}
	return !p.over
}

func (p *cutProxy) relay(down net.Conn) {
	defer down.Close()
	up, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer up.Close()
	if !p.own(down) || !p.own(up) {
		return
	}
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, down)
		delete(p.conns, up)
	}()
	if mean := p.mean.Load(); mean > 0 {
		cut := time.AfterFunc(time.Duration(rand.ExpFloat64()*float64(mean)), func() {
			p.cuts.Add(1)
			_ = down.(*net.TCPConn).SetLinger(0)
			down.Close()
			up.Close()
		})
		defer cut.Stop()
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = io.Copy(up, down)
		up.Close()
	})
	_, _ = io.Copy(down, up)
	down.Close()
	wg.Wait()
}

// begin cuts every connection, and from then on each new one after a while.
func (p *cutProxy) begin(mean time.Duration) {
	p.mean.Store(int64(mean))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cuts.Add(int64(len(p.conns) / 2))
	p.closeAllLocked()
}

func (p *cutProxy) closeAllLocked() {
	for c := range p.conns {
		c.Close()
	}
}

func (p *cutProxy) stop() {
	p.ln.Close()
	p.mu.Lock()
	p.over = true
	p.closeAllLocked()
	p.mu.Unlock()
	p.wg.Wait()
}
