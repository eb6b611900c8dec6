package storetest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"stanzagate/sessionstore"
)

// wants fails the test if got is not the error.
func wants(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) || want == nil && got != nil {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// A record keeps what was written last, and another replica gets it.
func testRecords(t *testing.T, rig Rig) {
	a, b := rig.Join(t, newID(t), 1), rig.Join(t, newID(t), 1)
	h := create(t, a, "first \x00\xff{}")
	wants(t, "persist", a.Persist(t.Context(), h, counters(1, "one")), nil)
	wants(t, "persist", a.Persist(t.Context(), h, counters(2, "two")), nil)
	wants(t, "check", a.Check(t.Context(), h), nil)
	wants(t, "touch", a.Touch(t.Context(), h, long), nil)
	wants(t, "release", a.Release(t.Context(), h), nil)
	got := claim(t, b, h.Key, sessionstore.Claim{})
	if string(got.Static) != "first \x00\xff{}" || got.Counters != "two" {
		t.Errorf("record is %q, %q", got.Static, got.Counters)
	}
	wants(t, "update", b.Update(t.Context(), got.Hold, []byte("second"), long), nil)
	wants(t, "update", b.Update(t.Context(), got.Hold, nil, long), nil)
	wants(t, "update", b.Update(t.Context(), got.Hold, []byte("third"), long), nil)
	wants(t, "persist", b.Persist(t.Context(), got.Hold, counters(1, "")), nil)
	wants(t, "release", b.Release(t.Context(), got.Hold), nil)
	if got = claim(t, a, h.Key, sessionstore.Claim{}); string(got.Static) != "third" || got.Counters != "" {
		t.Errorf("record is %q, %q", got.Static, got.Counters)
	}
	wants(t, "delete", a.Delete(t.Context(), got.Hold), nil)
	wants(t, "delete again", a.Delete(t.Context(), got.Hold), nil)
	_, err := a.Claim(t.Context(), h.Key, sessionstore.Claim{})
	wants(t, "claim of nothing", err, sessionstore.ErrNotFound)
	wants(t, "check of nothing", a.Check(t.Context(), got.Hold), sessionstore.ErrNotFound)
	wants(t, "persist to nothing", a.Persist(t.Context(), got.Hold, counters(5, "x")), sessionstore.ErrNotFound)
	wants(t, "update of nothing", a.Update(t.Context(), got.Hold, nil, long), sessionstore.ErrNotFound)
	wants(t, "touch of nothing", a.Touch(t.Context(), got.Hold, long), sessionstore.ErrNotFound)
	wants(t, "release of nothing", a.Release(t.Context(), got.Hold), sessionstore.ErrNotFound)

	h = create(t, a, "")
	_, err = b.Create(t.Context(), h.Key, sessionstore.Draft{TTL: long})
	wants(t, "create twice", err, sessionstore.ErrExists)
}

// Epochs grow with each change of the owner, over deletion and expiry, and what is written under an old one is refused.
func testEpochs(t *testing.T, rig Rig) {
	a, b := rig.Join(t, newID(t), 1), rig.Join(t, newID(t), 1)
	first := create(t, a, "a")
	wants(t, "persist", a.Persist(t.Context(), first, counters(7, "seven")), nil)
	second := claim(t, b, first.Key, sessionstore.Claim{Force: true}).Hold
	if second.Epoch <= first.Epoch {
		t.Errorf("epoch %d after %d", second.Epoch, first.Epoch)
	}
	stale := func(h sessionstore.Hold) {
		t.Helper()
		wants(t, "stale persist", a.Persist(t.Context(), h, counters(8, "stale")), sessionstore.ErrNotOwner)
		wants(t, "stale update", a.Update(t.Context(), h, []byte("stale"), long), sessionstore.ErrNotOwner)
		wants(t, "stale touch", a.Touch(t.Context(), h, long), sessionstore.ErrNotOwner)
		wants(t, "stale check", a.Check(t.Context(), h), sessionstore.ErrNotOwner)
		wants(t, "stale release", a.Release(t.Context(), h), sessionstore.ErrNotOwner)
		wants(t, "stale delete", a.Delete(t.Context(), h), sessionstore.ErrNotOwner)
	}
	stale(first)
	wants(t, "persist", b.Persist(t.Context(), second, counters(1, "one")), nil) // numbers start anew
	wants(t, "release", b.Release(t.Context(), second), nil)
	stale(second)
	third := claim(t, a, first.Key, sessionstore.Claim{})
	if third.Hold.Epoch <= second.Epoch || third.Counters != "one" || string(third.Static) != "a" {
		t.Errorf("after %d: %+v", second.Epoch, third)
	}
	wants(t, "delete", a.Delete(t.Context(), third.Hold), nil)
	fourth, err := b.Create(t.Context(), first.Key, sessionstore.Draft{TTL: time.Millisecond})
	wants(t, "create", err, nil)
	if fourth.Epoch <= third.Hold.Epoch {
		t.Errorf("epoch %d after the deletion of %d", fourth.Epoch, third.Hold.Epoch)
	}
	Until(t, "expiry", func() bool { return errors.Is(b.Check(t.Context(), fourth), sessionstore.ErrNotFound) })
	fifth, err := b.Create(t.Context(), first.Key, sessionstore.Draft{TTL: long})
	wants(t, "create", err, nil)
	if fifth.Epoch <= fourth.Epoch {
		t.Errorf("epoch %d after the expiry of %d", fifth.Epoch, fourth.Epoch)
	}
	stale(fourth)
}

// A write that comes late does not take the place of a newer one, and may be repeated.
func testWrites(t *testing.T, rig Rig) {
	a := rig.Join(t, newID(t), 1)
	h := create(t, a, "")
	for _, seq := range []uint64{3, 2, 3, 1} {
		wants(t, "persist", a.Persist(t.Context(), h, counters(seq, strings.Repeat("x", int(seq)))), nil)
	}
	wants(t, "release", a.Release(t.Context(), h), nil)
	got := claim(t, a, h.Key, sessionstore.Claim{})
	if got.Counters != "xxx" {
		t.Errorf("counters are %q, want those of number 3", got.Counters)
	}
	wants(t, "persist", a.Persist(t.Context(), got.Hold, counters(1, "y")), nil)
	wants(t, "release", a.Release(t.Context(), got.Hold), nil)
	if got = claim(t, a, h.Key, sessionstore.Claim{}); got.Counters != "y" {
		t.Errorf("counters are %q, want those of the new epoch", got.Counters)
	}
}

// Records live as long as they are written to.
func testExpiry(t *testing.T, rig Rig) {
	const short = 400 * time.Millisecond
	a := rig.Join(t, newID(t), 1)
	writes := map[string]func(sessionstore.Hold) error{
		"touch": func(h sessionstore.Hold) error { return a.Touch(t.Context(), h, long) },
		"persist": func(h sessionstore.Hold) error {
			return a.Persist(t.Context(), h, sessionstore.Counters{Seq: 1, TTL: long})
		},
		"update": func(h sessionstore.Hold) error { return a.Update(t.Context(), h, nil, long) },
		"claim": func(h sessionstore.Hold) error {
			_, err := a.Claim(t.Context(), h.Key, sessionstore.Claim{Force: true})
			return err
		},
	}
	kept := map[string]sessionstore.Key{}
	for name, write := range writes {
		h, err := a.Create(t.Context(), NewKey(), sessionstore.Draft{TTL: short})
		wants(t, "create", err, nil)
		wants(t, name, write(h), nil)
		kept[name] = h.Key
	}
	checked, err := a.Create(t.Context(), NewKey(), sessionstore.Draft{TTL: short})
	wants(t, "create", err, nil)
	Until(t, "expiry, which checks do not delay", func() bool {
		return errors.Is(a.Check(t.Context(), checked), sessionstore.ErrNotFound)
	})
	for name, key := range kept {
		if _, err := a.Claim(t.Context(), key, sessionstore.Claim{Force: true}); err != nil {
			t.Errorf("expired in spite of a %s: %v", name, err)
		}
	}
}

// What cannot be stored is refused before the store is asked.
func testBounds(t *testing.T, rig Rig) {
	a := rig.Join(t, newID(t), 1)
	h := create(t, a, "")
	bad := func(what string, err error) {
		t.Helper()
		if err == nil || errors.Is(err, sessionstore.ErrUnavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, key := range []sessionstore.Key{"", "a b", "a}b", "{a", "a\nb", "ä", "a.b", sessionstore.Key(strings.Repeat("k", 65))} {
		_, err := a.Create(t.Context(), key, sessionstore.Draft{TTL: long})
		bad("create", err)
		_, err = a.Claim(t.Context(), key, sessionstore.Claim{})
		bad("claim", err)
		bad("check", a.Check(t.Context(), sessionstore.Hold{Key: key, Epoch: h.Epoch}))
		_, err = a.TakeSlot(t.Context(), sessionstore.Account(key), h.Key)
		bad("slot", err)
		_, err = a.TakeSlot(t.Context(), "account", key)
		bad("slot", err)
	}
	_, err := a.Create(t.Context(), NewKey(), sessionstore.Draft{})
	bad("no time to live", err)
	_, err = a.Create(t.Context(), NewKey(), sessionstore.Draft{TTL: long, Static: make([]byte, sessionstore.MaxStatic+1)})
	bad("static part too large", err)
	bad("static part too large", a.Update(t.Context(), h, make([]byte, sessionstore.MaxStatic+1), long))
	bad("counters too large", a.Persist(t.Context(), h, counters(1, strings.Repeat("c", sessionstore.MaxCounters+1))))
	bad("counters without number", a.Persist(t.Context(), h, counters(0, "")))
	bad("no time to live", a.Persist(t.Context(), h, sessionstore.Counters{Seq: 1}))
	wants(t, "largest counters", a.Persist(t.Context(), h, counters(1<<53-1, strings.Repeat("c", sessionstore.MaxCounters))), nil)
	wants(t, "largest static part", a.Update(t.Context(), h, make([]byte, sessionstore.MaxStatic), long), nil)
}
