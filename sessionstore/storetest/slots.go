package storetest

import (
	"sync"
	"testing"

	"stanzagate/sessionstore"
)

// Slots are the lowest free numbers of an account (failover-design 9.2).
func testSlots(t *testing.T, rig Rig) {
	a, b := rig.Join(t, newID(t), 1), rig.Join(t, newID(t), 1)
	account, other := sessionstore.Account(NewKey()), sessionstore.Account(NewKey())
	take := func(s sessionstore.Store, account sessionstore.Account, session sessionstore.Key, want int) {
		t.Helper()
		got, err := s.TakeSlot(t.Context(), account, session)
		if err != nil || got != want {
			t.Errorf("slot %d, %v, want %d", got, err, want)
		}
	}
	var sessions []sessionstore.Key
	for i := range 4 {
		sessions = append(sessions, NewKey())
		take([]sessionstore.Store{a, b}[i%2], account, sessions[i], i)
	}
	take(b, account, sessions[2], 2) // asked again
	take(a, other, NewKey(), 0)
	wants(t, "free", a.FreeSlot(t.Context(), account, 1, sessions[1]), nil)
	wants(t, "free again", a.FreeSlot(t.Context(), account, 1, sessions[1]), nil)
	wants(t, "free of another's", a.FreeSlot(t.Context(), account, 0, sessions[1]), nil)
	wants(t, "free of nothing", a.FreeSlot(t.Context(), sessionstore.Account(NewKey()), 0, sessions[1]), nil)
	take(b, account, NewKey(), 1)
	take(b, account, NewKey(), 4)

	// Many logins at once.
	account = sessionstore.Account(NewKey())
	const many = 64
	var mu sync.Mutex
	got := map[int]bool{}
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			n, err := []sessionstore.Store{a, b}[i%2].TakeSlot(t.Context(), account, NewKey())
			mu.Lock()
			defer mu.Unlock()
			if err != nil || got[n] || n >= many {
				t.Errorf("slot %d, %v", n, err)
			}
			got[n] = true
		})
	}
	all.Wait()

	// The bound.
	for range 16 {
		all.Go(func() {
			for range (sessionstore.MaxSlots - many) / 16 {
				if _, err := a.TakeSlot(t.Context(), account, NewKey()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	_, err := a.TakeSlot(t.Context(), account, NewKey())
	wants(t, "one too many", err, sessionstore.ErrFull)
}
