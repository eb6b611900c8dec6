package parked

import (
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Lot has the connections that are parked. Safe for concurrent use. It ends with Close.
type Lot struct {
	idle time.Duration // immutable

	watching sync.WaitGroup
	freed    atomic.Uint64

	mu sync.Mutex
	// guarded by mu
	back   map[*http.Server]*handBack
	all    map[*Response]struct{} // their number is bounded by that of requests that wait
	closed bool
}

// New makes a Lot. idle is how long a connection is kept after an answer if no other request comes.
func New(idle time.Duration) *Lot {
	return &Lot{idle: idle, back: map[*http.Server]*handBack{}, all: map[*Response]struct{}{}}
}

// Listener returns what server has to Serve besides its own listener, where it gets its connections back. Those of other
// servers are not taken. Whichever is served first sets HTTP/2 up: where it is wanted, TLSConfig.NextProtos has to say so.
func (l *Lot) Listener(server *http.Server, addr net.Addr) net.Listener {
	b := &handBack{addr: addr, conns: make(chan net.Conn), over: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.back[server] = b
	return b
}

// Close closes the connections that wait for another request, and those that wait for an answer as soon as they have it.
// It returns when all are closed or have gone back to their servers, so what is held must be answered.
func (l *Lot) Close() {
	l.mu.Lock()
	l.closed = true
	for p := range l.all {
		p.closeIdle()
	}
	l.mu.Unlock()
	l.watching.Wait()
}

// freedBytes is what net/http no longer needs for a connection that is taken.
const freedBytes = 24 << 10

// Freed returns about how many bytes were left to the garbage collector so far.
func (l *Lot) Freed() uint64 { return l.freed.Load() }

// of returns where connections of a request's server go back to, nil if they may not be taken.
func (l *Lot) of(r *http.Request) *handBack {
	server, _ := r.Context().Value(http.ServerContextKey).(*http.Server)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	return l.back[server]
}

// add takes a connection in. It counts as watched until remove.
func (l *Lot) add(p *Response) {
	l.freed.Add(freedBytes)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watching.Add(1)
	l.all[p] = struct{}{}
}

func (l *Lot) remove(p *Response) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.all, p)
	l.watching.Done()
}

func (l *Lot) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// handBack is the listener of a server for connections that it had before.
type handBack struct {
	addr  net.Addr
	conns chan net.Conn // without buffer: who gives one back waits until the server takes it, or over is closed
	over  chan struct{}
	once  sync.Once
}

func (b *handBack) Accept() (net.Conn, error) {
	select {
	case c := <-b.conns:
		return c, nil
	case <-b.over:
		return nil, net.ErrClosed
	}
}

func (b *handBack) Close() error {
	b.once.Do(func() { close(b.over) })
	return nil
}

func (b *handBack) Addr() net.Addr { return b.addr }

func (b *handBack) give(c net.Conn) {
	select {
	case b.conns <- c:
	case <-b.over:
		_ = c.Close()
	}
}
