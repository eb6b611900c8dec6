package bosh

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"stanzagate/sessionstore"
)

// faultyStore is a store that fails as it is told.
type faultyStore struct {
	sessionstore.Store

	mu sync.Mutex
	// guarded by mu
	dead    bool                     // it does not answer, and nobody counts for how long
	away    time.Time                // since when it does not answer; zero: it does
	holds   map[string]chan struct{} // what waits until a channel is closed
	waiting map[string]int           // who waits so
	refusal error                    // of everything that needs a hold
	claimed func()                   // called after a claim, with mu; nil: nothing
	stored  []string                 // counters that Persist took
}

var errStoreAway = errors.Join(sessionstore.ErrUnavailable, errors.New("told to fail"))

func (f *faultyStore) set(change func(*faultyStore)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *faultyStore) goAway()   { f.set(func(f *faultyStore) { f.away = time.Now() }) }
func (f *faultyStore) comeBack() { f.set(func(f *faultyStore) { f.away = time.Time{} }) }

// persisted are the counters that were stored.
func (f *faultyStore) persisted() (all []string) {
	f.set(func(f *faultyStore) { all = slices.Clone(f.stored) })
	return all
}

// held has an operation wait until the test lets it go.
func (f *faultyStore) held(op string) (release func()) {
	gate := make(chan struct{})
	f.set(func(f *faultyStore) {
		if f.holds == nil {
			f.holds = map[string]chan struct{}{}
		}
		f.holds[op] = gate
	})
	return func() {
		f.set(func(f *faultyStore) { delete(f.holds, op) })
		close(gate)
	}
}

// waitingFor is how many operations wait to be let go.
func (f *faultyStore) waitingFor(op string) (n int) {
	f.set(func(f *faultyStore) { n = f.waiting[op] })
	return n
}

// fails waits as it is told, and is what an operation fails with then.
func (f *faultyStore) fails(op string, held bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if gate := f.holds[op]; gate != nil {
		if f.waiting == nil {
			f.waiting = map[string]int{}
		}
		f.waiting[op]++
		f.mu.Unlock()
		<-gate
		f.mu.Lock()
		f.waiting[op]--
	}
	switch {
	case f.dead, !f.away.IsZero():
		return errStoreAway
	case held:
		return f.refusal
	}
	return nil
}

func (f *faultyStore) Create(ctx context.Context, key sessionstore.Key, d sessionstore.Draft) (sessionstore.Hold, error) {
	if err := f.fails("create", false); err != nil {
		return sessionstore.Hold{}, err
	}
	return f.Store.Create(ctx, key, d)
}

func (f *faultyStore) Claim(ctx context.Context, key sessionstore.Key, c sessionstore.Claim) (sessionstore.Claimed, error) {
	if err := f.fails("claim", false); err != nil {
		return sessionstore.Claimed{}, err
	}
	got, err := f.Store.Claim(ctx, key, c)
	f.set(func(f *faultyStore) {
		if f.claimed != nil {
			f.claimed()
		}
	})
	return got, err
}

func (f *faultyStore) Persist(ctx context.Context, h sessionstore.Hold, c sessionstore.Counters) error {
	if err := f.fails("persist", true); err != nil {
		return err
	}
	err := f.Store.Persist(ctx, h, c)
	if err == nil {
		f.set(func(f *faultyStore) { f.stored = append(f.stored, c.Data) })
	}
	return err
}

func (f *faultyStore) Update(ctx context.Context, h sessionstore.Hold, static []byte, ttl time.Duration) error {
	if err := f.fails("update", true); err != nil {
		return err
	}
	return f.Store.Update(ctx, h, static, ttl)
}

func (f *faultyStore) Touch(ctx context.Context, h sessionstore.Hold, ttl time.Duration) error {
	if err := f.fails("touch", true); err != nil {
		return err
	}
	return f.Store.Touch(ctx, h, ttl)
}

func (f *faultyStore) Check(ctx context.Context, h sessionstore.Hold) error {
	if err := f.fails("check", true); err != nil {
		return err
	}
	return f.Store.Check(ctx, h)
}

func (f *faultyStore) Release(ctx context.Context, h sessionstore.Hold) error {
	if err := f.fails("release", true); err != nil {
		return err
	}
	return f.Store.Release(ctx, h)
}

func (f *faultyStore) Delete(ctx context.Context, h sessionstore.Hold) error {
	if err := f.fails("delete", true); err != nil {
		return err
	}
	return f.Store.Delete(ctx, h)
}

// fencedAfter is after how long without an answer a replica is fenced.
const fencedAfter = 2 * time.Second

func (f *faultyStore) Fenced() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dead || !f.away.IsZero() && time.Since(f.away) > fencedAfter || f.Store.Fenced()
}

func (f *faultyStore) Status() sessionstore.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.Store.Status()
	if !f.away.IsZero() {
		s.Away, s.Err = max(1, time.Since(f.away)), errStoreAway
	}
	return s
}

// since returns since when the store has been away; now if it has not.
func (f *faultyStore) since() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away.IsZero() {
		return time.Now()
	}
	return f.away
}
