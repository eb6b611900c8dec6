package replica

import (
	"context"
	"time"

	"stanzagate/sessionstore"
)

// How counters get into the store (failover-design 2.3). There is no goroutine for it: whoever has a response to give calls
// Flush first, and so do the writing. Writes of one session overtake each other; that is what their numbers are for.

// saves is what is on its way to the store. Guarded by Record.mu.
type saves struct {
	newest  sessionstore.Counters // put last
	sent    uint64                // highest number that somebody writes, or has written
	stored  uint64                // highest number that is in the store
	told    uint64                // highest number that Holder.Stored was told of
	stuck   bool                  // the store could not take it; Member.catchUp tries again
	changed chan struct{}         // closed when one of those has changed; nil: nobody waits
}

// flushPatience is how long a response waits for the store before the browser is asked to repeat its request.
const flushPatience = 5 * time.Second

// Put sets what is to be stored next; n grows. It is written by Flush.
func (r *Record) Put(n uint64, counters string, ttl time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.newest = sessionstore.Counters{Seq: n, Data: counters, TTL: ttl}
	r.ttl = ttl
}

// Stored reports whether counters n, or newer ones, are in the store.
func (r *Record) Stored(n uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stored >= n
}

// Flush returns once counters n, or newer ones, are in the store; nil too when the store has been away for so long that
// sessions go on without it. Errors match those of sessionstore: ErrUnavailable if the store does not answer in time, which
// says nothing final; else the session is not ours.
func (r *Record) Flush(n uint64) error {
	begun := time.Now()
	var late <-chan time.Time
	for {
		r.mu.Lock()
		switch {
		case r.stored >= n:
			r.mu.Unlock()
			return nil
		case r.final != nil:
			err := r.final
			r.mu.Unlock()
			return err
		case r.m.lone.Load():
			tell := r.tellLocked(r.newest.Seq)
			newest := r.newest.Seq
			r.mu.Unlock()
			r.m.later(r)
			if tell {
				r.holder.Stored(newest)
			}
			return nil
		case r.sent < r.newest.Seq && !r.stuck:
			c, hold := r.takeLocked()
			r.mu.Unlock()
			r.write(hold, c)
			continue
		}
		if r.changed == nil {
			r.changed = make(chan struct{})
		}
		changed := r.changed
		r.mu.Unlock()
		if late == nil {
			timer := time.NewTimer(flushPatience - time.Since(begun))
			defer timer.Stop()
			late = timer.C
		}
		select {
		case <-changed:
		case <-late:
			return sessionstore.ErrUnavailable
		}
	}
}

// takeLocked takes what is to be written.
func (r *Record) takeLocked() (sessionstore.Counters, sessionstore.Hold) {
	r.sent = r.newest.Seq
	return r.newest, r.hold
}

// write writes one version of the counters.
func (r *Record) write(hold sessionstore.Hold, c sessionstore.Counters) {
	doubts, begun := r.m.doubts.Load(), time.Now()
	err := r.m.cfg.Store.Persist(context.Background(), hold, c) // bounded by the store itself
	if err != nil {
		r.unwritten(err)
		return
	}
	r.doubts.Store(doubts)
	r.mu.Lock()
	r.stored, r.stuck = max(r.stored, c.Seq), false
	r.renewedLocked(begun)
	tell := r.tellLocked(c.Seq)
	r.wakeLocked()
	r.mu.Unlock()
	if tell {
		r.holder.Stored(c.Seq)
	}
}

// tellLocked reports whether the Holder is to be told that counters n are stored.
func (r *Record) tellLocked(n uint64) bool {
	if r.quiet || n <= r.told {
		return false
	}
	r.told = n
	return true
}

// unwritten deals with a write that failed.
func (r *Record) unwritten(err error) {
	_ = r.found(err)
	r.mu.Lock()
	again := r.stored < r.newest.Seq && r.final == nil
	r.stuck = again
	r.mu.Unlock()
	if again {
		r.m.later(r)
	}
}

// retry writes what is not in the store yet.
func (r *Record) retry() {
	r.mu.Lock()
	if r.final != nil || r.stored >= r.newest.Seq {
		r.stuck = false
		r.mu.Unlock()
		return
	}
	c, hold := r.takeLocked()
	r.mu.Unlock()
	r.write(hold, c)
}

func (r *Record) wakeLocked() {
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}
