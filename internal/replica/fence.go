package replica

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"stanzagate/sessionstore"
)

// When a replica has to make sure that a session is still its own, beside each write of counters (failover-design 7.2, 7.4).

// Pauses between a claim, or the loss of a connection, and <resume/>: for what the dead owner's kernel still delivers. One
// server goes on handling it after it has computed its counter (failover-design 7.2).
const (
	pauseDead    = 30 * time.Millisecond
	pauseExpired = 200 * time.Millisecond
	pauseForced  = time.Second
)

func pauseOf(loss sessionstore.Loss) time.Duration {
	switch loss {
	case sessionstore.LossForced:
		return pauseForced
	case sessionstore.LossExpired:
		return pauseExpired
	case sessionstore.LossNone, sessionstore.LossReleased, sessionstore.LossDead:
	}
	return pauseDead
}

// askPause is how long to wait before the store is asked again, if it does not answer.
const askPause = 200 * time.Millisecond

// MayWrite reports whether something may be written to the server without Confirm.
func (r *Record) MayWrite() bool { return r.m.cfg.Alone || r.m.sure(r.doubts.Load()) }

// Confirm returns when it is sure that the session is ours, having asked the store: nil also when the store has been away
// for so long that sessions go on without it. An error is final, or that of ctx.
func (r *Record) Confirm(ctx context.Context) error {
	for !r.MayWrite() && !r.m.lone.Load() {
		if err := r.lost(); err != nil {
			return err
		}
		if r.m.cfg.Store.Fenced() || r.m.stale() {
			if err := wait(ctx, askPause); err != nil {
				return err
			}
			continue // nobody knows what has happened yet
		}
		if err := r.ask(ctx); err != nil && !r.alone(ctx, err) {
			return err
		}
	}
	return nil
}

// lost returns what is known for good: why the session is not ours; nil if it may be.
func (r *Record) lost() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.final
}

// alone reports whether that error of ask means that the store has been away for so long that it need not be waited for.
func (r *Record) alone(ctx context.Context, err error) bool {
	return ctx.Err() == nil && errors.Is(err, sessionstore.ErrUnavailable) && r.m.lone.Load()
}

// ask asks until the store answers, or is away for too long: ErrUnavailable then. nil: the session is ours.
func (r *Record) ask(ctx context.Context) error {
	for {
		r.mu.Lock()
		final, hold, ttl := r.final, r.hold, r.ttl
		r.mu.Unlock()
		if final != nil {
			return final
		}
		doubts, begun := r.m.doubts.Load(), time.Now()
		err := r.renewed(begun, r.m.cfg.Store.Touch(ctx, hold, ttl))
		switch {
		case err == nil && time.Since(begun) > frozenAfter:
			continue // this process may have slept over the answer
		case err == nil:
			r.doubts.Store(doubts)
			return nil
		case !errors.Is(err, sessionstore.ErrUnavailable), r.m.lone.Load():
			return err
		}
		if err := wait(ctx, askPause); err != nil {
			return err
		}
	}
}

// verify asks whether the session is ours, because somebody says that it is not.
func (r *Record) verify() {
	r.mu.Lock()
	hold := r.hold
	r.mu.Unlock()
	_ = r.found(r.m.cfg.Store.Check(context.Background(), hold)) // bounded by the store itself; whoever is to know is told
}

// Resuming is called right before the session's stream is resumed: after a claim, or on a new connection in place of one
// that broke. It waits for as long as the server may need to read what is still under way, and asks whether the session is
// ours. An error means that it must not be resumed; with one that matches sessionstore.ErrUnavailable it may be later.
func (r *Record) Resuming(ctx context.Context, first bool) error {
	pause := pauseDead
	if first {
		pause = pauseOf(r.loss) - time.Since(r.since)
	}
	if err := wait(ctx, pause); err != nil {
		return err
	}
	if r.m.cfg.Alone {
		return nil
	}
	err := r.ask(ctx)
	if err != nil && !first && r.alone(ctx, err) {
		// If we are the only one that does not reach the store another replica has the session by now, and the server has
		// ended our stream because of that. To resume it would take it from the rightful owner.
		return r.found(errPresumed)
	}
	return err
}

var errPresumed = fmt.Errorf("%w, presumably: the stream has ended, and the store cannot be asked", sessionstore.ErrNotOwner)

// TouchDue returns when Touch is to be called for a session whose counters are not written.
func (r *Record) TouchDue() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.m.cfg.Alone || r.final != nil {
		return time.Time{}
	}
	return r.written.Add(r.ttl / 2)
}

// Touch renews the record's expiry. It returns when to do so again.
func (r *Record) Touch(ctx context.Context) (next time.Time) {
	r.mu.Lock()
	hold, ttl := r.hold, r.ttl
	r.mu.Unlock()
	begun := time.Now()
	err := r.renewed(begun, r.m.cfg.Store.Touch(ctx, hold, ttl))
	if next = r.TouchDue(); err != nil && !next.IsZero() {
		next = time.Now().Add(min(ttl/8, touchAgain))
	}
	return next
}

const touchAgain = 5 * time.Second

// Pause waits for d, give or take a half so that not all who wait come back at once, or until ctx ends.
func Pause(ctx context.Context, d time.Duration) error { return wait(ctx, d/2+rand.N(d)) }

// wait waits for d, or until ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
