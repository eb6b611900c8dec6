package replica

import (
	"context"
	"crypto/tls"
	"sync"
)

// served is the owner's end of a wire. Safe for concurrent use.
type served struct {
	*wire
	server *Server

	handling sync.WaitGroup // requests; added to under serving, while not finishing

	serving sync.Mutex
	// guarded by serving
	requests  map[uint64]context.CancelFunc // by number
	finishing bool
}

// heldPerConnection is how many requests another replica may hand on at a time.
const heldPerConnection = 100_000

func newServed(s *Server, conn *tls.Conn) *served {
	return &served{wire: newWire(conn), server: s, requests: map[uint64]context.CancelFunc{}}
}

// run serves until the wire has ended, and with it the contexts of the requests.
func (c *served) run() {
	_ = c.wire.run(c.take)
	c.serving.Lock()
	c.finishing = true
	for _, cancel := range c.requests {
		cancel()
	}
	c.serving.Unlock()
}

// take takes what the browser side sends.
func (c *served) take(k kind, id uint64, content []byte) error {
	switch k {
	case kindCancel:
		c.serving.Lock()
		cancel := c.requests[id]
		c.serving.Unlock()
		if cancel != nil {
			cancel()
		}
		return nil
	case kindRequest:
		m, err := parseMessage(content)
		if err != nil {
			return err
		}
		return c.begin(id, m)
	default:
		return errMessage
	}
}

// begin serves a request on a goroutine of its own.
func (c *served) begin(id uint64, m *message) error {
	ctx, cancel := context.WithCancel(context.Background())
	c.serving.Lock()
	defer c.serving.Unlock()
	switch _, twice := c.requests[id]; {
	case twice:
		cancel()
		return errMessage
	case c.finishing:
		cancel()
		// Not by the reader: those of both sides could wait for each other.
		c.aside.Go(func() { _ = c.send(kindAnswer, id, (&answer{says: saysFenced}).append) })
		return nil
	}
	busy := len(c.requests) >= heldPerConnection
	c.requests[id] = cancel
	c.handling.Go(func() {
		defer c.end(id)
		send := func(a *answer) { _ = c.send(kindAnswer, id, a.append) }
		if busy {
			send(&answer{says: saysFenced})
			return
		}
		c.server.serve(ctx, m, send)
	})
	return nil
}

func (c *served) end(id uint64) {
	c.serving.Lock()
	cancel := c.requests[id]
	delete(c.requests, id)
	c.serving.Unlock()
	cancel()
}

// finish waits until nothing is being served any more, at most until ctx ends, and closes the wire.
func (c *served) finish(ctx context.Context) error {
	c.serving.Lock()
	c.finishing = true
	c.serving.Unlock()
	idle := make(chan struct{})
	go func() { // ends with the requests, which end with the wire
		c.handling.Wait()
		c.flush()
		close(idle)
	}()
	select {
	case <-idle:
	case <-ctx.Done():
	}
	_ = c.close(errClosed)
	return ctx.Err()
}
