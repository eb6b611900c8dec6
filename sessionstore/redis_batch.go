package sessionstore

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Group commit. A round trip costs far more than what is said in it, so calls that come while one is on its way wait for
// it and then share the next. There is no goroutine for it: the caller that finds nobody flying takes off with what waits,
// and when it is back it hands what has gathered to the first of those that wait. A call alone is never delayed.
const (
	maxFlights = 4
	// flightGap is how long the last flight has to be away before another may start beside it. Next to the server flights
	// are shorter, and all calls share one at a time; far from it nobody waits much longer than a round trip of its own.
	flightGap = 500 * time.Microsecond
	// maxBatch is so large that what has gathered while flights were away fits into the next ones: else calls would wait for
	// several time-outs when the store stops answering. Scripts are short, so others get their turn between them.
	maxBatch = 4096 // calls
)

// call is one operation on the store.
type call struct {
	script *redis.Script
	key    string
	args   []any
	reply  any
	err    error

	// ready gets the batch that its caller has to fly with, its own call among them, or nil once reply and err are set.
	// Capacity 1, so that nobody who sends has to wait.
	ready chan []*call
}

// batcher gathers calls. Safe for concurrent use.
type batcher struct {
	fly func([]*call) // carries a batch out, in bounded time; sets reply and err of all

	mu sync.Mutex
	// guarded by mu
	pending []*call   // bounded by the number of callers
	flights int       // under way, or handed over to a caller
	took    time.Time // when the last one took off
	closed  bool
}

func newBatcher(fly func([]*call)) *batcher { return &batcher{fly: fly} }

// do returns once c has been carried out, or ctx has ended before it was begun.
func (b *batcher) do(ctx context.Context, c *call) {
	if c.err = ctx.Err(); c.err != nil {
		return
	}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		c.err = errClosed
		return
	}
	if b.flights == 0 || b.flights < maxFlights && time.Since(b.took) >= flightGap {
		b.flights++
		batch := []*call{c}
		if len(b.pending) > 0 {
			batch = append(batch, b.takeLocked(maxBatch-1)...)
		}
		b.took = time.Now()
		b.mu.Unlock()
		b.lead(batch, c)
		return
	}
	c.ready = make(chan []*call, 1)
	b.pending = append(b.pending, c)
	b.mu.Unlock()
	b.await(ctx, c)
}

// await waits for a flight with c in it, or for the order to make one.
func (b *batcher) await(ctx context.Context, c *call) {
	var batch []*call
	select {
	case batch = <-c.ready:
	case <-ctx.Done():
		if b.withdraw(c) {
			c.err = ctx.Err()
			return
		}
		batch = <-c.ready // under way: its end is near
	}
	if batch != nil {
		b.lead(batch, c)
	}
}

// withdraw takes c out of what waits. False: it is not there any more.
func (b *batcher) withdraw(c *call) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.pending, c)
	if i < 0 {
		return false
	}
	b.pending = slices.Delete(b.pending, i, i+1)
	return true
}

// lead flies with a batch and then passes the flight on.
func (b *batcher) lead(batch []*call, own *call) {
	b.fly(batch)
	b.mu.Lock()
	var next []*call
	if len(b.pending) > 0 {
		next = b.takeLocked(maxBatch)
		b.took = time.Now()
	} else {
		b.flights--
	}
	b.mu.Unlock()
	if next != nil {
		next[0].ready <- next
	}
	for _, c := range batch {
		if c != own {
			c.ready <- nil
		}
	}
}

// takeLocked takes at most n of what waits, oldest first.
func (b *batcher) takeLocked(n int) []*call {
	if len(b.pending) <= n {
		batch := b.pending
		b.pending = nil
		return batch
	}
	batch := slices.Clone(b.pending[:n])
	b.pending = slices.Delete(b.pending, 0, n)
	return batch
}

// close lets nothing more in.
func (b *batcher) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
}
