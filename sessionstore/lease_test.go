package sessionstore

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A replica stops before the store gives up its lease, and counts from when the renewal was sent, not from when the
// answer came.
//
// Covers: UP-127.
func TestLeaseFences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lease
		l.init(3 * time.Second)
		if !l.fenced() {
			t.Error("not fenced before the first lease")
		}
		sent := time.Now()
		time.Sleep(time.Second)
		l.kept(sent, false)
		if l.fenced() {
			t.Error("fenced after a renewal")
		}
		time.Sleep(time.Second)
		if l.fenced() {
			t.Error("fenced 2 s after the renewal was sent")
		}
		time.Sleep(time.Nanosecond)
		if !l.fenced() {
			t.Error("not fenced more than 2 s after the renewal was sent")
		}
		l.kept(time.Now(), false)
		if l.fenced() {
			t.Error("fenced after a renewal")
		}
		l.replaced.Store(true)
		if s := l.status(); !l.fenced() || !s.Fenced || !s.Replaced || s.NotReady() == "" {
			t.Errorf("replaced: %+v", s)
		}
	})
}

// After the store was away its leases mean nothing for 6 s. A hiccup does not count.
func TestLeaseSettles(t *testing.T) {
	errAway := errors.New("away")
	synctest.Test(t, func(t *testing.T) {
		var l lease
		l.init(3 * time.Second)
		l.kept(time.Now(), false)
		if s := l.status(); s != (Status{}) {
			t.Errorf("at rest: %+v", s)
		}
		hiccup := func(away time.Duration) {
			if !l.missed(time.Now(), errAway) {
				t.Error("the first failure is not the first")
			}
			if l.missed(time.Now(), errAway) {
				t.Error("the second failure is the first")
			}
			time.Sleep(away)
			if s := l.status(); s.Away != away || !errors.Is(s.Err, errAway) || s.NotReady() == "" {
				t.Errorf("away: %+v", s)
			}
			l.kept(time.Now(), false)
			if s := l.status(); s.Away != 0 || s.Err != nil || s.NotReady() != "" {
				t.Errorf("back: %+v", s)
			}
		}
		hiccup(900 * time.Millisecond)
		if l.settling() != 0 {
			t.Error("settling after a hiccup")
		}
		hiccup(time.Second)
		if got := l.settling(); got != 6*time.Second {
			t.Errorf("settling for %s after the store was away, want 6s", got)
		}
		time.Sleep(6 * time.Second)
		if l.settling() != 0 {
			t.Error("still settling")
		}
		l.kept(time.Now(), true)
		if got := l.settling(); got != 6*time.Second {
			t.Errorf("settling for %s after the store lost data, want 6s", got)
		}
	})
}
