package replica

import (
	"context"
	"sync"
	"time"
)

// link is the way to one address: one connection, made when it is needed and shared by all requests. Safe for concurrent
// use.
type link struct {
	// immutable
	client  *Client
	address string

	mu sync.Mutex
	// guarded by mu
	conn    *caller   // nil: none stands
	dialing *dial     // nil: nobody dials
	failing time.Time // since when nothing got through; zero: the last try did
	used    time.Time
	closed  bool
}

// dial is one attempt to connect, which all who wait for it share. conn and err are set before done is closed.
type dial struct {
	done chan struct{}
	conn *caller
	err  error
}

// connect returns a connection that stands. It waits at most until ctx ends, or dialTimeout.
func (l *link) connect(ctx context.Context) (*caller, error) {
	l.mu.Lock()
	l.used = time.Now()
	switch {
	case l.closed:
		l.mu.Unlock()
		return nil, errClosed
	case l.conn != nil && l.conn.ended() == nil:
		conn := l.conn
		l.mu.Unlock()
		return conn, nil
	}
	d, first := l.dialing, false
	if d == nil {
		d, first = &dial{done: make(chan struct{})}, true
		l.dialing = d
	}
	l.mu.Unlock()
	// The dial serves others too, so it does not end with the request that began it; it ends with its time-out.
	if first && !l.client.dial(l, d) {
		l.dialed(d, nil, errClosed)
	}
	select {
	case <-d.done:
		return d.conn, d.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// connectWithin is connect with a limit. When it is over, the error is not that of ctx.
func (l *link) connectWithin(ctx context.Context, limit time.Duration) (*caller, error) {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return l.connect(limited)
}

// dialed ends a dial. It reports whether there is a connection now.
func (l *link) dialed(d *dial, conn *caller, err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dialing = nil
	if err == nil && l.closed {
		_ = conn.close(errClosed) // nobody has used it
		conn, err = nil, errClosed
	}
	if err == nil {
		l.conn = conn
	}
	d.conn, d.err = conn, err
	close(d.done)
	return err == nil
}

// discard drops a connection on which a request has failed, if it is no good any more.
func (l *link) discard(conn *caller) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == conn && conn.ended() != nil {
		l.conn = nil
	}
}

// note remembers whether the replica was reached.
func (l *link) note(o Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case o == Gone:
	case o != Unknown:
		l.failing = time.Time{}
	case l.failing.IsZero():
		l.failing = time.Now()
	}
}

func (l *link) unreachable() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failing.IsZero() {
		return 0
	}
	return time.Since(l.failing)
}

// idle returns for how long the link was not used; 0 while a request may be on it.
func (l *link) idle() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dialing != nil || l.conn != nil && l.conn.waiting() > 0 {
		return 0
	}
	return time.Since(l.used)
}

func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.conn != nil {
		_ = l.conn.close(errClosed) // whatever it was used for ends with an error of its own
		l.conn = nil
	}
}
