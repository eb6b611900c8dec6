package replica

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"stanzagate/sessionstore"
)

// flushed calls Flush and says how long it took.
func flushed(r *Record, n uint64) (time.Duration, error) {
	begun := time.Now()
	err := r.Flush(n)
	return time.Since(begun), err
}

// counters is what the store has of a record, read by taking it.
func (c *club) counters(r *Record) string {
	c.t.Helper()
	return c.steal(r).Counters
}

// All who wait for the same counters share one write.
func TestFlushIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := join(t, nil)
		defer c.m.Close()
		r, h := c.create("s")
		c.store.persist = func(uint64) error { time.Sleep(100 * time.Millisecond); return nil }
		put(r, 1)
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if took, err := flushed(r, 1); err != nil || took != 100*time.Millisecond {
					t.Errorf("%v after %s", err, took)
				}
			})
		}
		all.Wait()
		if took, err := flushed(r, 1); err != nil || took != 0 {
			t.Errorf("again: %v after %s", err, took)
		}
		if stored, lost := h.told(); c.store.count("persist") != 1 || !slices.Equal(stored, []uint64{1}) || lost != nil {
			t.Errorf("%d writes; told %v, %v", c.store.count("persist"), stored, lost)
		}
		if !r.Stored(1) || r.Stored(2) || c.counters(r) != "counters 1" {
			t.Error("what is stored is not what was put")
		}
	})
}

// Writes overtake each other: nobody waits for an older one, and an older one that lands late, or fails, changes nothing.
func TestFlushOvertakes(t *testing.T) {
	for name, late := range map[string]error{"lands": nil, "fails": sessionstore.ErrUnavailable} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := join(t, nil)
				defer c.m.Close()
				r, h := c.create("s")
				first := make(chan struct{})
				c.store.persist = func(n uint64) error {
					if n == 1 {
						<-first
						return late
					}
					return nil
				}
				put(r, 1)
				var writer, waiter sync.WaitGroup
				writer.Go(func() { _ = r.Flush(1) })
				synctest.Wait()
				waiter.Go(func() {
					if took, err := flushed(r, 1); err != nil || took != time.Second {
						t.Errorf("who waits for the first: %v after %s", err, took)
					}
				})
				time.Sleep(time.Second)
				put(r, 2)
				put(r, 3)
				if took, err := flushed(r, 2); err != nil || took != 0 { // the newest, which stands for all before
					t.Errorf("%v after %s", err, took)
				}
				waiter.Wait()
				close(first)
				writer.Wait()
				put(r, 4)
				if took, err := flushed(r, 4); err != nil || took != 0 {
					t.Errorf("after the late one: %v after %s", err, took)
				}
				if stored, lost := h.told(); !slices.Equal(stored, []uint64{3, 4}) || lost != nil {
					t.Errorf("told %v, %v", stored, lost)
				}
				if got := c.counters(r); got != "counters 4" {
					t.Errorf("stored %q", got)
				}
			})
		})
	}
}

// A write that the store did not take is made again, by nobody's doing, and who waits for it need not know.
func TestFlushOutlastsOneFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := join(t, nil)
		defer c.m.Close()
		r, h := c.create("s")
		fail := true
		c.store.persist = func(uint64) error {
			if fail {
				fail = false
				return sessionstore.ErrUnavailable
			}
			return nil
		}
		put(r, 1)
		if took, err := flushed(r, 1); err != nil || took > beatEvery {
			t.Errorf("%v after %s", err, took)
		}
		if stored, _ := h.told(); c.store.count("persist") != 2 || !slices.Equal(stored, []uint64{1}) {
			t.Errorf("%d writes, told %v", c.store.count("persist"), stored)
		}
	})
}

// While the store is away responses wait for five seconds, without pressing it; and then they are asked to come again.
// When it is back the newest counters are written by themselves.
func TestFlushWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := join(t, nil)
		defer c.m.Close()
		r, h := c.create("s")
		c.store.leave()
		c.store.persist = func(uint64) error { time.Sleep(time.Second); return nil } // the store's own patience
		put(r, 1)
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if took, err := flushed(r, 1); !errors.Is(err, sessionstore.ErrUnavailable) || took != flushPatience {
					t.Errorf("%v after %s", err, took)
				}
			})
		}
		all.Wait()
		put(r, 2)
		if took, err := flushed(r, 2); !errors.Is(err, sessionstore.ErrUnavailable) || took != flushPatience {
			t.Errorf("%v after %s", err, took)
		}
		if n := c.store.count("persist"); n != 1 {
			t.Errorf("%d writes while it is away", n)
		}
		if stored, lost := h.told(); stored != nil || lost != nil || r.Stored(1) {
			t.Errorf("told %v, %v", stored, lost)
		}
		c.store.comeBack()
		time.Sleep(2 * time.Second)
		if stored, lost := h.told(); !slices.Equal(stored, []uint64{2}) || lost != nil || !r.Stored(2) || c.counters(r) != "counters 2" {
			t.Errorf("told %v, %v", stored, lost)
		}
	})
}

// After a refusal nothing is asked any more, whoever waits; and the session is told once, of the right error.
func TestFlushRefused(t *testing.T) {
	for name, how := range map[string]struct {
		want error
		lose func(*club, *Record)
	}{
		"taken": {sessionstore.ErrNotOwner, func(c *club, r *Record) { c.steal(r) }},
		"forgotten": {sessionstore.ErrNotFound, func(c *club, r *Record) {
			if err := c.other.Delete(c.t.Context(), c.steal(r).Hold); err != nil {
				c.t.Error(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := join(t, nil)
				defer c.m.Close()
				r, h := c.create("s")
				how.lose(c, r)
				c.store.persist = func(uint64) error { time.Sleep(10 * time.Millisecond); return nil }
				put(r, 1)
				var all sync.WaitGroup
				for range 20 {
					all.Go(func() {
						if took, err := flushed(r, 1); !errors.Is(err, how.want) || took != 10*time.Millisecond {
							t.Errorf("%v after %s", err, took)
						}
					})
				}
				all.Wait()
				put(r, 2)
				if took, err := flushed(r, 2); !errors.Is(err, how.want) || took != 0 {
					t.Errorf("again: %v after %s", err, took)
				}
				_ = r.Touch(t.Context())
				stored, lost := h.told()
				if c.store.count("persist") != 1 || stored != nil || len(lost) != 1 || !errors.Is(lost[0], how.want) {
					t.Errorf("%d writes; told %v, %v", c.store.count("persist"), stored, lost)
				}
				if !r.TouchDue().IsZero() {
					t.Error("it is still kept alive")
				}
			})
		})
	}
}

// After a minute without the store sessions go on (failover-design 8). When it is back it gets what it has missed, and
// responses depend on it again.
func TestLoneMode(t *testing.T) {
	for name, taken := range map[string]bool{"still ours": false, "taken": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := join(t, nil)
				defer c.m.Close()
				r, h := c.create("s")
				c.store.leave()
				if !c.m.Away() || c.m.Fenced() {
					t.Error("Away and Fenced right after the store went away")
				}
				time.Sleep(loneAfter - beatEvery)
				put(r, 1)
				if _, err := flushed(r, 1); err == nil { // begun before the minute is over
					t.Error("too early")
				}
				if c.m.Fenced() {
					t.Error("fenced, and sessions go on")
				}
				for n := uint64(2); n < 5; n++ {
					put(r, n)
					if took, err := flushed(r, n); err != nil || took != 0 {
						t.Errorf("alone: %v after %s", err, took)
					}
				}
				if n := c.store.count("persist"); n > 1 {
					t.Errorf("%d writes while it is away", n)
				}
				if stored, _ := h.told(); !slices.Equal(stored, []uint64{2, 3, 4}) || r.Stored(2) {
					t.Errorf("told %v", stored) // so that the session goes on, and ends
				}
				if taken {
					c.steal(r)
				}
				c.store.comeBack()
				time.Sleep(2 * beatEvery)
				stored, lost := h.told()
				if taken {
					if len(lost) != 1 || !errors.Is(lost[0], sessionstore.ErrNotOwner) || r.Stored(4) {
						t.Errorf("told %v, %v", stored, lost)
					}
					return
				}
				if !r.Stored(4) || lost != nil || len(stored) != 3 {
					t.Errorf("told %v, %v", stored, lost)
				}
				c.store.leave()
				put(r, 5)
				if _, err := flushed(r, 5); !errors.Is(err, sessionstore.ErrUnavailable) {
					t.Errorf("away again: %v", err)
				}
			})
		})
	}
}

// Whoever waits learns that the session is not here any more. The session has ended it by itself, so it is told nothing,
// and nothing is kept of it.
func TestGivenUp(t *testing.T) {
	for name, how := range map[string]struct {
		give  func(*Record, *testing.T) error
		owner bool  // it still has an owner
		want  error // of a claim
	}{
		"Drop":    {func(r *Record, _ *testing.T) error { r.Drop(); return nil }, true, nil},
		"Release": {func(r *Record, t *testing.T) error { return r.Release(t.Context()) }, false, nil},
		"End":     {func(r *Record, t *testing.T) error { return r.End(t.Context()) }, false, sessionstore.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := join(t, nil)
				defer c.m.Close()
				r, h := c.create("s")
				late := make(chan struct{})
				c.store.persist = func(n uint64) error {
					if n == 1 {
						return sessionstore.ErrUnavailable
					}
					<-late
					return nil
				}
				put(r, 1)
				var all sync.WaitGroup
				for range 3 {
					all.Go(func() {
						if took, err := flushed(r, 1); !errors.Is(err, sessionstore.ErrNotOwner) || took != 0 {
							t.Errorf("%v after %s", err, took)
						}
					})
				}
				synctest.Wait()
				put(r, 2)
				r.mu.Lock()
				r.stuck = false // so that the second is under way when the session is given up
				r.mu.Unlock()
				all.Go(func() { _ = r.Flush(2) })
				synctest.Wait()
				if err := how.give(r, t); err != nil {
					t.Error(err)
				}
				synctest.Wait()
				close(late)
				all.Wait()
				time.Sleep(time.Second)
				if stored, lost := h.told(); stored != nil || lost != nil {
					t.Errorf("told %v, %v", stored, lost)
				}
				got, err := c.other.Claim(t.Context(), r.key, sessionstore.Claim{})
				if !errors.Is(err, how.want) || got.Owner.ID != "" != how.owner {
					t.Errorf("claim: %+v, %v", got, err)
				}
				c.m.mu.Lock()
				defer c.m.mu.Unlock()
				if len(c.m.records) != 0 || len(c.m.unsaved) != 0 {
					t.Errorf("%d records and %d to be written are kept", len(c.m.records), len(c.m.unsaved))
				}
			})
		})
	}
}

// What is put before there is a record goes nowhere, and is not tried again and again.
func TestBeforeCreate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := join(t, nil)
		defer c.m.Close()
		h := &holder{}
		r := c.m.NewRecord("s", h)
		put(r, 1)
		if err := r.Flush(1); !errors.Is(err, sessionstore.ErrUnavailable) {
			t.Error(err)
		}
		time.Sleep(10 * time.Second)
		if n := c.store.count("persist"); n != 1 {
			t.Errorf("%d writes", n)
		}
		if err := r.End(t.Context()); err != nil {
			t.Error(err)
		}
		if stored, lost := h.told(); stored != nil || lost != nil {
			t.Errorf("told %v, %v", stored, lost)
		}
	})
}

// When the store is back all sessions are written, a bounded number at a time.
func TestCatchingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := join(t, nil)
		defer c.m.Close()
		const many = 1000
		var all sync.WaitGroup
		var records []*Record
		for i := range many {
			r, _ := c.create(fmt.Sprint("s", i))
			records = append(records, r)
		}
		c.store.leave()
		for _, r := range records {
			put(r, 1)
			all.Go(func() { _ = r.Flush(1) })
		}
		all.Wait()
		c.store.set(func() {
			c.store.busiest = 0
			c.store.persist = func(uint64) error { time.Sleep(time.Millisecond); return nil }
		})
		before := c.store.count("persist")
		c.store.comeBack()
		time.Sleep(beatEvery + many*time.Millisecond/errands*2)
		for i, r := range records {
			if !r.Stored(1) {
				t.Fatalf("session %d is not written", i)
			}
		}
		if n := c.store.count("persist") - before; n != many || c.store.busiest != errands {
			t.Errorf("%d writes, %d at a time", n, c.store.busiest)
		}
	})
}

// A store that goes away again while it is being caught up with does not keep the process from ending.
func TestCloseWhileCatchingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := join(t, nil)
		for i := range 1000 {
			r, _ := c.create(fmt.Sprint("s", i))
			put(r, 1)
			c.m.later(r)
		}
		c.store.set(func() {
			c.store.persist = func(uint64) error { time.Sleep(time.Second); return sessionstore.ErrUnavailable }
		})
		time.Sleep(beatEvery + time.Millisecond)
		begun := time.Now()
		c.m.Close()
		c.m.Close() // says nothing new
		if took := time.Since(begun); took > time.Second {
			t.Errorf("Close took %s", took)
		}
	})
}
