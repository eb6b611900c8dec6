package sessionstore_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"stanzagate/sessionstore"
	"stanzagate/sessionstore/storetest"
)

func TestMemory(t *testing.T) {
	m := sessionstore.NewMemory(sessionstore.MemoryConfig{})
	storetest.Run(t, storetest.Rig{
		Join: func(t *testing.T, id string, schema int) sessionstore.Store {
			r, err := m.Join(storetest.Self(id), schema)
			if err != nil {
				t.Fatal(err)
			}
			return r
		},
		Crash: func(t *testing.T, s sessionstore.Store) { s.(*sessionstore.MemoryReplica).Abandon() },
	})
}

func joinMemory(t *testing.T, cfg sessionstore.MemoryConfig) *sessionstore.MemoryReplica {
	t.Helper()
	r, err := sessionstore.NewMemory(cfg).Join(storetest.Self("a"), 1)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A full store takes no more until something expires or is deleted.
func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := joinMemory(t, sessionstore.MemoryConfig{Sessions: 3})
		var holds []sessionstore.Hold
		for i := range 3 {
			h, err := r.Create(t.Context(), storetest.NewKey(), sessionstore.Draft{TTL: time.Duration(i+1) * time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			holds = append(holds, h)
		}
		full := func(want error) {
			t.Helper()
			_, err := r.Create(t.Context(), storetest.NewKey(), sessionstore.Draft{TTL: time.Hour})
			if !errors.Is(err, want) || want == nil && err != nil {
				t.Errorf("%v, want %v", err, want)
			}
		}
		full(sessionstore.ErrFull)
		time.Sleep(time.Minute)
		full(nil)
		full(sessionstore.ErrFull)
		if err := r.Delete(t.Context(), holds[2]); err != nil {
			t.Error(err)
		}
		full(nil)
		full(sessionstore.ErrFull)
	})
}

// Slots are free again when the session has had no record for longer than the grace.
func TestMemorySlotsEndWithSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := joinMemory(t, sessionstore.MemoryConfig{})
		slot := func(session sessionstore.Key, want int) {
			t.Helper()
			if n, err := r.TakeSlot(t.Context(), "account", session); err != nil || n != want {
				t.Errorf("slot %d, %v, want %d", n, err, want)
			}
		}
		lives, dies := storetest.NewKey(), storetest.NewKey()
		slot(lives, 0)
		slot(dies, 1)
		if _, err := r.Create(t.Context(), lives, sessionstore.Draft{TTL: time.Hour}); err != nil {
			t.Fatal(err)
		}
		slot(storetest.NewKey(), 2)
		time.Sleep(sessionstore.SlotGrace)
		slot(storetest.NewKey(), 1)
		slot(storetest.NewKey(), 2)
		slot(lives, 0)
		time.Sleep(time.Hour)
		slot(storetest.NewKey(), 0)
	})
}

// What was never given back is forgotten in time.
func TestMemoryForgetsAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := sessionstore.NewMemory(sessionstore.MemoryConfig{})
		r, err := m.Join(storetest.Self("a"), 1)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 2000 {
			account := sessionstore.Account(fmt.Sprint(i))
			if _, err := r.TakeSlot(t.Context(), account, storetest.NewKey()); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Create(t.Context(), storetest.NewKey(), sessionstore.Draft{TTL: time.Minute}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
		}
		if records, accounts := m.Sizes(); records > 200 || accounts > 200 {
			t.Errorf("%d records and %d accounts are kept", records, accounts)
		}
	})
}

func TestMemoryReplicaIsChecked(t *testing.T) {
	m := sessionstore.NewMemory(sessionstore.MemoryConfig{})
	for _, self := range []sessionstore.Replica{
		{ID: "", Incarnation: "i", Address: "h:1"},
		{ID: "a/b", Incarnation: "i", Address: "h:1"},
		{ID: "a", Incarnation: "i.", Address: "h:1"},
		{ID: "a", Incarnation: "i", Address: "h"},
		{ID: "a", Incarnation: "i", Address: "h 1:1"},
		{ID: "a", Incarnation: "i", Address: ":1"},
	} {
		if _, err := m.Join(self, 1); err == nil {
			t.Errorf("%+v is accepted", self)
		}
	}
}
