package sessionstore

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// lease is what a replica knows of its own lease: the part of it that has nothing to do with where it is kept. Safe for
// concurrent use.
type lease struct {
	// immutable after init
	length time.Duration
	base   time.Time // what renewed counts from; its monotonic part is what matters: wall clocks may jump

	renewed  atomic.Int64 // when the last renewal that succeeded was sent, since base; negative: never
	replaced atomic.Bool  // by another process of our name, for good

	poke chan struct{} // capacity 1: wakes the keeper; nothing is lost when it is full

	mu sync.Mutex
	// guarded by mu
	away    time.Time // when the first of the renewals that failed was sent; zero: the last one succeeded
	err     error     // of the last one that failed, while away
	settled time.Time // until when the store counts as just back
}

func (l *lease) init(length time.Duration) {
	l.length, l.base = length, time.Now()
	l.poke = make(chan struct{}, 1)
	l.renewed.Store(-1)
}

// The rhythm of a lease. It is renewed three times in its length, and its holder gives up a third before the store does,
// so that nobody else can have taken its sessions before it has stopped (failover-design 7.4).
func (l *lease) interval() time.Duration { return l.length / 3 }
func (l *lease) retry() time.Duration    { return l.length / 12 }
func (l *lease) patience() time.Duration { return 2 * l.length / 3 }

// settling is how long no session is taken from a silent owner after the store came back (failover-design 8): twice what
// all owners need to renew their leases.
func (l *lease) settlingTime() time.Duration { return 2 * l.length }

// fenced reports whether the holder has to stop: it could not renew for too long.
func (l *lease) fenced() bool {
	at := l.renewed.Load()
	return at < 0 || time.Since(l.base)-time.Duration(at) > l.patience() || l.replaced.Load()
}

// kept notes a renewal that was sent at that time. lost: the store had no lease of ours although it should have.
func (l *lease) kept(sent time.Time, lost bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if lost || !l.away.IsZero() && sent.Sub(l.away) >= l.interval() {
		l.settled = time.Now().Add(l.settlingTime())
	}
	l.away, l.err = time.Time{}, nil
	l.renewed.Store(int64(sent.Sub(l.base)))
}

// missed notes a renewal that failed. It reports whether it is the first one.
func (l *lease) missed(sent time.Time, err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := l.away.IsZero()
	if first {
		l.away = sent
	}
	l.err = err
	return first
}

// end makes the holder fenced: it has given the lease up.
func (l *lease) end() { l.renewed.Store(-1) }

// doubt has the lease renewed now instead of later, because a call has failed: the sooner it is known whether the store is
// there, the better.
func (l *lease) doubt(err error) {
	if errors.Is(err, context.Canceled) {
		return // the caller's affair
	}
	select {
	case l.poke <- struct{}{}:
	default:
	}
}

// settling returns for how long the store still counts as just back.
func (l *lease) settling() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.settlingLocked()
}

func (l *lease) settlingLocked() time.Duration { return max(0, time.Until(l.settled)) }

func (l *lease) status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Status{Fenced: l.fenced(), Replaced: l.replaced.Load(), Settling: l.settlingLocked()}
	if !l.away.IsZero() {
		s.Away, s.Err = max(time.Since(l.away), 1), l.err
	}
	return s
}
