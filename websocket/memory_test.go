package websocket

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// memoryListener accepts connections without a network, so that a server can run in a synctest bubble.
type memoryListener struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newMemoryListener() *memoryListener {
	return &memoryListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *memoryListener) dial() net.Conn {
	client, server := memoryPair()
	l.conns <- server
	return client
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *memoryListener) Addr() net.Addr { return memoryAddr{} }

type memoryAddr struct{}

func (memoryAddr) Network() string { return "tcp" }
func (memoryAddr) String() string  { return "127.0.0.1:1" }

// halfBytes is what one direction of a memory connection holds before writing waits.
const halfBytes = 256 << 10

// half is one direction of a connection: bytes, and when those who wait for them give up.
type half struct {
	mu                sync.Mutex
	cond              *sync.Cond
	b                 []byte
	closed            bool // by the writer
	gone              bool // the reader
	readBy, writeBy   time.Time
	readEnd, writeEnd *time.Timer
}

func newHalf() *half {
	h := &half{}
	h.cond = sync.NewCond(&h.mu)
	return h
}

func past(t time.Time) bool { return !t.IsZero() && !time.Now().Before(t) }

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.gone:
			return 0, net.ErrClosed
		case past(h.readBy):
			return 0, os.ErrDeadlineExceeded
		case len(h.b) > 0:
			n := copy(p, h.b)
			h.b = h.b[n:]
			h.cond.Broadcast()
			return n, nil
		case h.closed:
			return 0, io.EOF
		}
		h.cond.Wait()
	}
}

func (h *half) write(p []byte) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.closed:
			return n, net.ErrClosed
		case past(h.writeBy):
			return n, os.ErrDeadlineExceeded
		case h.gone:
			return n, io.ErrClosedPipe
		}
		k := min(len(p), halfBytes-len(h.b))
		h.b = append(h.b, p[:k]...)
		n, p = n+k, p[k:]
		h.cond.Broadcast()
		if len(p) == 0 {
			return n, nil
		}
		h.cond.Wait()
	}
}

// until sets a deadline; the timer wakes who waits.
func (h *half) until(by *time.Time, timer **time.Timer, t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*by = t
	if *timer != nil {
		(*timer).Stop()
		*timer = nil
	}
	if !t.IsZero() {
		*timer = time.AfterFunc(time.Until(t), func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.cond.Broadcast()
		})
	}
	h.cond.Broadcast()
}

func (h *half) end(flag *bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*flag = true
	h.cond.Broadcast()
}

// memoryConn is one end of a connection.
type memoryConn struct{ in, out *half }

func memoryPair() (net.Conn, net.Conn) {
	a, b := newHalf(), newHalf()
	return &memoryConn{a, b}, &memoryConn{b, a}
}

func (c *memoryConn) Read(p []byte) (int, error)  { return c.in.read(p) }
func (c *memoryConn) Write(p []byte) (int, error) { return c.out.write(p) }

func (c *memoryConn) Close() error {
	c.in.end(&c.in.gone)
	c.out.end(&c.out.closed)
	c.in.until(&c.in.readBy, &c.in.readEnd, time.Time{})
	c.out.until(&c.out.writeBy, &c.out.writeEnd, time.Time{})
	return nil
}

func (c *memoryConn) LocalAddr() net.Addr  { return memoryAddr{} }
func (c *memoryConn) RemoteAddr() net.Addr { return memoryAddr{} }

func (c *memoryConn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *memoryConn) SetReadDeadline(t time.Time) error {
	c.in.until(&c.in.readBy, &c.in.readEnd, t)
	return nil
}

func (c *memoryConn) SetWriteDeadline(t time.Time) error {
	c.out.until(&c.out.writeBy, &c.out.writeEnd, t)
	return nil
}
