package sessionstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// flights records how a batcher flies; each flight lasts until it is told to land.
type flights struct {
	mu   sync.Mutex
	size []int
	land chan struct{}
}

func (f *flights) fly(batch []*call) {
	f.mu.Lock()
	f.size = append(f.size, len(batch))
	f.mu.Unlock()
	<-f.land
	for _, c := range batch {
		c.reply = "reply to " + c.key
	}
}

func (f *flights) want(t *testing.T, sizes ...int) {
	t.Helper()
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	if fmt.Sprint(f.size) != fmt.Sprint(sizes) {
		t.Errorf("flights of %v calls, want %v", f.size, sizes)
	}
}

// The first call flies alone and at once; those that come meanwhile share the next flight.
func TestBatcherGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flights{land: make(chan struct{})}
		b := newBatcher(f.fly)
		var calls sync.WaitGroup
		do := func(n int) {
			for i := range n {
				calls.Go(func() {
					c := call{key: fmt.Sprint(i)}
					b.do(t.Context(), &c)
					if c.err != nil || c.reply != "reply to "+c.key {
						t.Errorf("call %s: %v, %v", c.key, c.reply, c.err)
					}
				})
			}
			synctest.Wait()
		}
		do(1)
		f.want(t, 1)
		do(maxBatch + 44)
		f.want(t, 1)
		f.land <- struct{}{}
		f.want(t, 1, maxBatch)
		f.land <- struct{}{}
		f.want(t, 1, maxBatch, 44)
		f.land <- struct{}{}
		calls.Wait()
		if b.flights != 0 || len(b.pending) != 0 {
			t.Errorf("%d flights, %d pending at the end", b.flights, len(b.pending))
		}
		do(1)
		f.want(t, 1, maxBatch, 44, 1)
		f.land <- struct{}{}
		calls.Wait()
	})
}

// When round trips are long, calls do not wait for the one that is away, but only a few fly at a time.
func TestBatcherFliesSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flights{land: make(chan struct{})}
		b := newBatcher(f.fly)
		var calls sync.WaitGroup
		do := func() {
			calls.Go(func() { b.do(t.Context(), &call{}) })
			synctest.Wait()
		}
		do()
		do() // waits: the flight is young
		f.want(t, 1)
		time.Sleep(flightGap)
		do() // takes the waiting one along
		f.want(t, 1, 2)
		for range 4 {
			time.Sleep(flightGap)
			do()
		}
		f.want(t, 1, 2, 1, 1)
		close(f.land)
		calls.Wait()
		f.want(t, 1, 2, 1, 1, 2)
	})
}

// A call whose context ends is taken out if it still waits, and gets its reply if it does not.
func TestBatcherContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flights{land: make(chan struct{})}
		b := newBatcher(f.fly)
		var calls sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		flying, waiting, next := call{key: "flying"}, call{key: "waiting"}, call{key: "next"}
		calls.Go(func() { b.do(ctx, &flying) })
		synctest.Wait()
		calls.Go(func() { b.do(ctx, &waiting) })
		calls.Go(func() { b.do(t.Context(), &next) })
		synctest.Wait()
		cancel()
		synctest.Wait()
		if !errors.Is(waiting.err, context.Canceled) {
			t.Errorf("waiting: %v", waiting.err)
		}
		close(f.land)
		calls.Wait()
		f.want(t, 1, 1)
		if flying.err != nil || flying.reply == nil || next.err != nil || next.reply == nil {
			t.Errorf("flying %v, next %v", flying.err, next.err)
		}
		var late call
		b.do(ctx, &late)
		if !errors.Is(late.err, context.Canceled) {
			t.Errorf("late: %v", late.err)
		}
		b.close()
		late = call{}
		b.do(t.Context(), &late)
		if !errors.Is(late.err, errClosed) {
			t.Errorf("after close: %v", late.err)
		}
		f.want(t, 1, 1)
	})
}

// Under many callers, some of whom give up, each call that is not given up is carried out exactly once.
func TestBatcherUnderLoad(t *testing.T) {
	var mu sync.Mutex
	done := map[string]int{}
	b := newBatcher(func(batch []*call) {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range batch {
			done[c.key]++
			c.reply = c.key
		}
	})
	var callers sync.WaitGroup
	for i := range 32 {
		callers.Go(func() {
			for j := range 500 {
				ctx, cancel := context.WithCancel(t.Context())
				if j%7 == 3 {
					go cancel()
				}
				c := call{key: fmt.Sprintf("%d.%d", i, j)}
				b.do(ctx, &c)
				cancel()
				mu.Lock()
				n := done[c.key]
				mu.Unlock()
				if c.err == nil && (n != 1 || c.reply != c.key) || c.err != nil && n != 0 {
					t.Errorf("call %s: carried out %d times, reply %v, error %v", c.key, n, c.reply, c.err)
				}
			}
		})
	}
	callers.Wait()
	if b.flights != 0 || len(b.pending) != 0 {
		t.Errorf("%d flights, %d pending at the end", b.flights, len(b.pending))
	}
}
