package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"stanzagate/sessionstore"
)

// Who may take a session, and what he learns (failover-design 7.1).
func testClaims(t *testing.T, rig Rig) {
	id := newID(t)
	a, b := rig.Join(t, id, 1), rig.Join(t, newID(t), 1)
	h := create(t, a, "static")
	wants(t, "persist", a.Persist(t.Context(), h, counters(1, "counters")), nil)

	for _, claim := range []sessionstore.Claim{{}, {Dead: "somebody-else"}, {Dead: b.Self().Incarnation}} {
		got, err := b.Claim(t.Context(), h.Key, claim)
		wants(t, "claim", err, nil)
		if got.Hold.Epoch != 0 || got.Loss != sessionstore.LossNone || got.Owner != a.Self() || got.Presumed || got.Static != nil {
			t.Errorf("claim %+v of what a living replica owns: %+v", claim, got)
		}
	}
	got, err := a.Claim(t.Context(), h.Key, sessionstore.Claim{})
	wants(t, "own claim", err, nil)
	if got.Hold.Epoch != 0 || got.Owner != a.Self() {
		t.Errorf("claim of one's own: %+v", got)
	}
	wants(t, "check", a.Check(t.Context(), h), nil)

	check := func(got sessionstore.Claimed, loss sessionstore.Loss, owner sessionstore.Replica) {
		t.Helper()
		if got.Loss != loss || got.Owner != owner || string(got.Static) != "static" || got.Counters != "counters" || got.Presumed {
			t.Errorf("%+v, want loss %d of %+v", got, loss, owner)
		}
	}
	got = claim(t, b, h.Key, sessionstore.Claim{Dead: a.Self().Incarnation})
	check(got, sessionstore.LossDead, a.Self())
	wants(t, "check", a.Check(t.Context(), h), sessionstore.ErrNotOwner)
	got = claim(t, a, h.Key, sessionstore.Claim{Force: true})
	check(got, sessionstore.LossForced, b.Self())
	got = claim(t, a, h.Key, sessionstore.Claim{Force: true})
	check(got, sessionstore.LossForced, a.Self()) // what this replica has lost
	wants(t, "release", a.Release(t.Context(), got.Hold), nil)
	got = claim(t, b, h.Key, sessionstore.Claim{})
	check(got, sessionstore.LossReleased, sessionstore.Replica{})
	wants(t, "release", b.Release(t.Context(), got.Hold), nil)
	got = claim(t, b, h.Key, sessionstore.Claim{Force: true, Dead: "x"})
	check(got, sessionstore.LossReleased, sessionstore.Replica{})
}

// A lease stands for one incarnation, and ends with a crash, with Close, or with a successor.
func testLeases(t *testing.T, rig Rig) {
	id := newID(t)
	a, b := rig.Join(t, id, 1), rig.Join(t, newID(t), 1)
	if a.Fenced() || a.Status().NotReady() != "" {
		t.Errorf("a new replica: %+v", a.Status())
	}
	left, crashed, orphan := create(t, a, ""), create(t, a, ""), create(t, b, "")

	wants(t, "close", b.Close(t.Context()), nil)
	if !b.Fenced() || b.Status().NotReady() == "" {
		t.Error("a closed replica is not fenced")
	}
	wants(t, "persist after close", b.Persist(t.Context(), orphan, counters(1, "")), sessionstore.ErrUnavailable)
	got, err := a.Claim(t.Context(), orphan.Key, sessionstore.Claim{})
	wants(t, "claim", err, nil)
	if got.Loss != sessionstore.LossExpired || got.Owner != b.Self() {
		t.Errorf("at once after a close: %+v", got)
	}

	rig.Crash(t, a)
	c := rig.Join(t, newID(t), 1)
	Until(t, "end of the lease", func() bool {
		got, err = c.Claim(t.Context(), crashed.Key, sessionstore.Claim{})
		wants(t, "claim", err, nil)
		return got.Hold.Epoch != 0
	})
	if got.Loss != sessionstore.LossExpired || got.Owner != a.Self() {
		t.Errorf("after a crash: %+v", got)
	}

	// A restarted process: same name, another incarnation.
	again := rig.Join(t, id, 1)
	got, err = c.Claim(t.Context(), left.Key, sessionstore.Claim{})
	wants(t, "claim", err, nil)
	if got.Loss != sessionstore.LossDead || got.Owner != a.Self() {
		t.Errorf("after a restart: %+v", got)
	}
	mine := create(t, again, "")
	if got, err = c.Claim(t.Context(), mine.Key, sessionstore.Claim{}); err != nil || got.Owner != again.Self() {
		t.Errorf("what the restarted process owns: %+v, %v", got, err)
	}

	// The same name twice: the later process has it, the earlier one stands down for good.
	third := rig.Join(t, id, 1)
	Until(t, "standing down", again.Fenced)
	if s := again.Status(); !s.Replaced || s.NotReady() == "" {
		t.Errorf("replaced: %+v", s)
	}
	if third.Fenced() {
		t.Error("the later process is fenced")
	}
	_, err = again.Create(t.Context(), NewKey(), sessionstore.Draft{TTL: long})
	wants(t, "create while fenced", err, sessionstore.ErrUnavailable)
	_, err = again.Claim(t.Context(), left.Key, sessionstore.Claim{})
	wants(t, "claim while fenced", err, sessionstore.ErrUnavailable)
}

// What a newer gateway has written is left alone; what it takes over is its own from then on.
func testSchemas(t *testing.T, rig Rig) {
	older, newer := rig.Join(t, newID(t), 1), rig.Join(t, newID(t), 2)
	h := create(t, newer, "new")
	for _, c := range []sessionstore.Claim{{}, {Force: true}, {Dead: newer.Self().Incarnation}} {
		_, err := older.Claim(t.Context(), h.Key, c)
		wants(t, "claim of a newer record", err, sessionstore.ErrNewer)
	}
	wants(t, "check", newer.Check(t.Context(), h), nil)
	h = create(t, older, "old")
	wants(t, "release", older.Release(t.Context(), h), nil)
	got := claim(t, newer, h.Key, sessionstore.Claim{})
	wants(t, "release", newer.Release(t.Context(), got.Hold), nil)
	_, err := older.Claim(t.Context(), h.Key, sessionstore.Claim{})
	wants(t, "claim of what was a newer gateway's", err, sessionstore.ErrNewer)
}

// Many claim at once: one gets it. Many write at once under many epochs: the newest wins.
func testRaces(t *testing.T, rig Rig) {
	const replicas, sessions = 5, 40
	owner := rig.Join(t, newID(t), 1)
	stores := make([]sessionstore.Store, replicas)
	for i := range stores {
		stores[i] = rig.Join(t, newID(t), 1)
	}
	holds := make([]sessionstore.Hold, sessions)
	for i := range holds {
		holds[i] = create(t, owner, fmt.Sprint(i))
	}
	won := make([]atomic.Int32, sessions)
	var all sync.WaitGroup
	for _, s := range stores {
		for i := range holds {
			all.Go(func() {
				got, err := s.Claim(t.Context(), holds[i].Key, sessionstore.Claim{Dead: owner.Self().Incarnation})
				if err != nil {
					t.Errorf("claim: %v", err)
					return
				}
				if got.Hold.Epoch == 0 {
					return
				}
				won[i].Add(1)
				if string(got.Static) != fmt.Sprint(i) {
					t.Errorf("session %d: record %q", i, got.Static)
				}
				if err := s.Persist(t.Context(), got.Hold, counters(1, s.Self().ID)); err != nil {
					t.Errorf("persist of the winner: %v", err)
				}
			})
		}
	}
	all.Go(func() {
		for i, h := range holds {
			err := owner.Persist(t.Context(), h, counters(uint64(i+1), "owner"))
			if err != nil && !errors.Is(err, sessionstore.ErrNotOwner) {
				t.Errorf("persist of the owner: %v", err)
			}
		}
	})
	all.Wait()
	for i := range won {
		if n := won[i].Load(); n != 1 {
			t.Errorf("session %d: %d winners", i, n)
		}
		got := claim(t, owner, holds[i].Key, sessionstore.Claim{Force: true})
		if got.Counters != got.Owner.ID {
			t.Errorf("session %d: the owner is %s, the counters are from %q", i, got.Owner.ID, got.Counters)
		}
	}
}

// Who loses a session by force is told.
func testNotices(t *testing.T, rig Rig) {
	a, b := rig.Join(t, newID(t), 1), rig.Join(t, newID(t), 1)
	told := make(chan sessionstore.Key, 100)
	stop := a.Watch(func(k sessionstore.Key) { told <- k })
	defer stop()
	b.Watch(func(k sessionstore.Key) { t.Errorf("the wrong replica was told of %s", k) })
	// Notices may be lost, above all the first ones: the store may not be listening yet.
	taken := map[sessionstore.Key]bool{}
	Until(t, "a notice", func() bool {
		h := create(t, a, "")
		taken[h.Key] = true
		claim(t, b, h.Key, sessionstore.Claim{Force: true})
		select {
		case k := <-told:
			if !taken[k] {
				t.Errorf("told of %s, which nobody took", k)
			}
			return true
		default:
			return false
		}
	})
}

// Calls end with their context, and with the store.
func testEnds(t *testing.T, rig Rig) {
	a := rig.Join(t, newID(t), 1)
	h := create(t, a, "")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	err := a.Persist(ended, h, counters(1, ""))
	wants(t, "persist", err, sessionstore.ErrUnavailable)
	wants(t, "persist", err, context.Canceled)
	wants(t, "close", a.Close(t.Context()), nil)
	wants(t, "close again", a.Close(t.Context()), nil)
	_, err = a.TakeSlot(t.Context(), "account", h.Key)
	wants(t, "after close", err, sessionstore.ErrUnavailable)
}
