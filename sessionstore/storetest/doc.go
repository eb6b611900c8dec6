// Package storetest holds what every session store has to do, as one suite of tests, and starts the Redis servers that
// tests run it against. It is for tests only.
package storetest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"stanzagate/sessionstore"
)

// Rig makes replicas on one store under test.
type Rig struct {
	// Join returns the view of a new incarnation of a replica, with its lease. It ends with the test.
	Join func(t *testing.T, id string, schema int) sessionstore.Store
	// Crash ends a view as kill -9 does: the lease is not given up.
	Crash func(t *testing.T, s sessionstore.Store)
	// Lease is how long leases last after a crash.
	Lease time.Duration
}

// Run runs the suite. Stores may be shared by its tests: each uses keys of its own.
func Run(t *testing.T, rig Rig) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Rig)
	}{
		{"records", testRecords},
		{"epochs", testEpochs},
		{"writes", testWrites},
		{"expiry", testExpiry},
		{"bounds", testBounds},
		{"claims", testClaims},
		{"leases", testLeases},
		{"schemas", testSchemas},
		{"races", testRaces},
		{"slots", testSlots},
		{"notices", testNotices},
		{"ends", testEnds},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, rig) })
	}
}

var names atomic.Uint64

// NewKey returns a key that no other test uses.
func NewKey() sessionstore.Key {
	return sessionstore.Key(fmt.Sprintf("key-%d-%s", names.Add(1), sessionstore.NewIncarnation()))
}

// newID returns a name for a replica.
func newID(t *testing.T) string {
	return fmt.Sprintf("replica.%d-%s", names.Add(1), sessionstore.NewIncarnation())
}

// Self returns a replica with that name and a new incarnation.
func Self(id string) sessionstore.Replica {
	return sessionstore.Replica{ID: id, Incarnation: sessionstore.NewIncarnation(), Address: "192.0.2.1:9281"}
}

// patience is how long anything that has to happen may take.
const patience = 20 * time.Second

// Until waits for a condition.
func Until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

const long = time.Minute // a time to live that does not end during a test

// create makes a record.
func create(t *testing.T, s sessionstore.Store, static string) sessionstore.Hold {
	t.Helper()
	h, err := s.Create(t.Context(), NewKey(), sessionstore.Draft{Static: []byte(static), TTL: long})
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	if h.Epoch == 0 {
		t.Fatal("create: epoch 0")
	}
	return h
}

func counters(seq uint64, data string) sessionstore.Counters {
	return sessionstore.Counters{Seq: seq, Data: data, TTL: long}
}

// claim takes a session that can be taken.
func claim(t *testing.T, s sessionstore.Store, key sessionstore.Key, c sessionstore.Claim) sessionstore.Claimed {
	t.Helper()
	got, err := s.Claim(t.Context(), key, c)
	if err != nil {
		t.Fatalf("claim: %v", err)
	}
	if got.Hold.Epoch == 0 {
		t.Fatalf("claim: still owned by %+v", got.Owner)
	}
	return got
}
