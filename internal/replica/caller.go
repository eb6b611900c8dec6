package replica

import (
	"context"
	"crypto/tls"
	"sync"
)

// caller is the browser side's end of a wire. Safe for concurrent use.
type caller struct {
	*wire

	calling sync.Mutex
	// guarded by calling
	calls map[uint64]chan<- *answer // by number, of requests that wait
	last  uint64
}

func newCaller(conn *tls.Conn) *caller {
	return &caller{wire: newWire(conn), calls: map[uint64]chan<- *answer{}}
}

// run reads until the wire has ended.
func (c *caller) run() { _ = c.wire.run(c.take) }

// ask sends a request and waits for the answer. An error means that the wire or ctx has ended.
func (c *caller) ask(ctx context.Context, m *message) (*answer, error) {
	got := make(chan *answer, 1)
	c.calling.Lock()
	c.last++
	id := c.last
	c.calls[id] = got
	c.calling.Unlock()
	defer c.forget(id)
	if err := c.send(kindRequest, id, m.append); err != nil {
		return nil, err
	}
	select {
	case a := <-got:
		return a, nil
	case <-ctx.Done():
		_ = c.send(kindCancel, id, nil)
		return nil, ctx.Err()
	case <-c.gone:
	}
	select {
	case a := <-got: // it was the last
		return a, nil
	default:
		return nil, c.ended()
	}
}

func (c *caller) forget(id uint64) {
	c.calling.Lock()
	defer c.calling.Unlock()
	delete(c.calls, id)
}

// take takes what the owner sends.
func (c *caller) take(k kind, id uint64, content []byte) error {
	if k != kindAnswer {
		return errMessage
	}
	a, err := parseAnswer(content)
	if err != nil {
		return err
	}
	c.calling.Lock()
	got := c.calls[id]
	delete(c.calls, id)
	c.calling.Unlock()
	if got != nil {
		got <- a
	}
	return nil
}

// waiting returns how many requests wait.
func (c *caller) waiting() int {
	c.calling.Lock()
	defer c.calling.Unlock()
	return len(c.calls)
}
