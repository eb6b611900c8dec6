package sessionstore_test

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// proxy stands between one replica and the store: a network that a test can cut, stall, and look into.
type proxy struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup

	mu sync.Mutex
	// guarded by mu
	conns    map[net.Conn]bool
	stalled  chan struct{} // not nil while nothing passes; closed when it does again
	deaf     bool          // replies are dropped
	lag      time.Duration // of replies
	onMatch  func()        // called before a request with match in it passes
	match    []byte        // nil: none
	accepted int
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: target, conns: map[net.Conn]bool{}}
	p.running.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *proxy) url() string { return "redis://" + p.listener.Addr().String() }

func (p *proxy) close() {
	p.listener.Close()
	p.heal()
	p.cut()
	p.running.Wait()
}

// stall lets nothing pass; nothing is lost either.
func (p *proxy) stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = make(chan struct{})
}

// drop lets requests pass and loses their replies.
func (p *proxy) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = true
}

// heal undoes stall and drop.
func (p *proxy) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = false
	if p.stalled != nil {
		close(p.stalled)
		p.stalled = nil
	}
}

// cut breaks all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

// before has f called once, before the next request that holds text passes.
func (p *proxy) before(text string, f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.match, p.onMatch = []byte(text), f
}

func (p *proxy) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", p.target)
		if err != nil {
			near.Close()
			continue
		}
		p.mu.Lock()
		p.conns[near], p.conns[far] = true, true
		p.accepted++
		p.mu.Unlock()
		p.running.Go(func() { p.pass(far, near, p.request) })
		p.running.Go(func() { p.pass(near, far, p.reply) })
	}
}

func (p *proxy) pass(to io.WriteCloser, from io.ReadCloser, look func([]byte) bool) {
	defer to.Close()
	defer from.Close()
	b := make([]byte, 64*1024)
	for {
		n, err := from.Read(b)
		p.mu.Lock()
		stalled := p.stalled
		p.mu.Unlock()
		if stalled != nil {
			<-stalled
		}
		if n > 0 && look(b[:n]) {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *proxy) request(b []byte) bool {
	p.mu.Lock()
	var f func()
	if p.match != nil && bytes.Contains(b, p.match) {
		f, p.match, p.onMatch = p.onMatch, nil, nil
	}
	p.mu.Unlock()
	if f != nil {
		f()
	}
	return true
}

func (p *proxy) reply([]byte) bool {
	p.mu.Lock()
	deaf, lag := p.deaf, p.lag
	p.mu.Unlock()
	time.Sleep(lag)
	return !deaf
}

// delay makes the store far away.
func (p *proxy) delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lag = d
}
