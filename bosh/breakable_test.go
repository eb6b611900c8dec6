package bosh

import (
	"context"
	"errors"
	"net"
	"sync"
)

// buffered makes a pipe take what is written without waiting for its reader, as TCP does. It ends with either end.
func buffered(far net.Conn) net.Conn {
	near, inner := net.Pipe()
	go pump(far, inner)
	go pump(inner, far)
	return near
}

// pump passes on what comes from src, however slow dst is. The end of one ends the other, once all has been passed on.
func pump(dst, src net.Conn) {
	var mu sync.Mutex
	var waiting []byte
	over := false
	came := sync.NewCond(&mu)
	go func() {
		defer src.Close()
		defer dst.Close()
		for {
			mu.Lock()
			for len(waiting) == 0 && !over {
				came.Wait()
			}
			b := waiting
			waiting = nil
			mu.Unlock()
			if len(b) == 0 {
				return
			}
			if _, err := dst.Write(b); err != nil {
				return
			}
		}
	}()
	in := make([]byte, 4096)
	for {
		n, err := src.Read(in)
		mu.Lock()
		waiting, over = append(waiting, in[:n]...), err != nil
		mu.Unlock()
		came.Signal()
		if err != nil {
			return
		}
	}
}

// connections are those of one replica to the server.
type connections struct {
	dial func() net.Conn

	mu sync.Mutex
	// guarded by mu
	all     []net.Conn
	refuses bool
	tried   int
	gate    chan struct{} // what is written waits until it is closed; nil: it does not
}

var errRefused = errors.New("connection refused")

func (l *connections) open(context.Context, string, string) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tried++
	if l.refuses {
		return nil, errRefused
	}
	conn := &line{Conn: l.dial(), of: l, closed: make(chan struct{})}
	l.all = append(l.all, conn)
	return conn, nil
}

// sever breaks all connections. refuse: there will be no others.
func (l *connections) sever(refuse bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuses = refuse
	for _, conn := range l.all {
		_ = conn.Close()
	}
	l.all = nil
}

func (l *connections) accept() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuses = false
}

func (l *connections) attempts() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tried
}

// stall has the server take nothing until the test lets it.
func (l *connections) stall() (release func()) {
	gate := make(chan struct{})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gate = gate
	return func() {
		l.mu.Lock()
		l.gate = nil
		l.mu.Unlock()
		close(gate)
	}
}

// line is one connection.
type line struct {
	net.Conn
	of     *connections
	once   sync.Once
	closed chan struct{}
}

func (c *line) Write(b []byte) (int, error) {
	c.of.mu.Lock()
	gate := c.of.gate
	c.of.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-c.closed:
		}
	}
	return c.Conn.Write(b)
}

func (c *line) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
