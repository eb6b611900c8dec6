package sessionstore_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stanzagate/sessionstore"
	"stanzagate/sessionstore/storetest"
)

// A store that keeps what it acknowledges is killed: everything is there again, and owners go on.
func TestStoreIsKilledAndKeepsAll(t *testing.T) {
	server := storetest.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	r := joinRedis(t, sessionstore.RedisConfig{URLs: []string{"redis://" + server.Addr()}, Lease: testLease})
	holds := make([]sessionstore.Hold, 20)
	acknowledged := make([]uint64, len(holds))
	var all atomic.Int64
	for i := range holds {
		holds[i] = createIn(t, r)
	}
	var writers sync.WaitGroup
	for i, h := range holds {
		writers.Go(func() {
			for n := uint64(1); ; n++ {
				if r.Persist(t.Context(), h, seq(n, fmt.Sprint(n))) != nil {
					return
				}
				acknowledged[i] = n
				all.Add(1)
			}
		})
	}
	storetest.Until(t, "writes", func() bool { return all.Load() > 500 })
	server.Kill()
	writers.Wait()
	server.Start(t)
	storetest.Until(t, "recovery", func() bool { return r.Status().NotReady() == "" && !r.Fenced() })
	for i, h := range holds {
		isError(t, "check", r.Check(t.Context(), h), nil)
		got, err := r.Claim(t.Context(), h.Key, sessionstore.Claim{Force: true})
		isError(t, "claim", err, nil)
		var n uint64
		_, _ = fmt.Sscan(got.Counters, &n) // "" is 0
		if n < acknowledged[i] {
			t.Errorf("session %d: the store has number %d, and had acknowledged %d", i, n, acknowledged[i])
		}
	}
}

// A store that comes back empty: sessions have no record, that is all.
func TestStoreIsRestartedEmpty(t *testing.T) {
	server := storetest.StartRedis(t)
	r := joinRedis(t, sessionstore.RedisConfig{URLs: []string{"redis://" + server.Addr()}})
	h := createIn(t, r)
	begun := time.Now()
	server.Kill()
	server.Start(t)
	storetest.Until(t, "new lease", func() bool { return server.Must(t, "DBSIZE") == ":1" })
	t.Logf("lease renewed %s after the kill", time.Since(begun))
	storetest.Until(t, "recovery", func() bool { return r.Status().NotReady() == "" })
	// It hears of the new lease a moment after that is there.
	storetest.Until(t, "settling, since the store has lost data", func() bool { return r.Status().Settling > 0 })
	isError(t, "check", r.Check(t.Context(), h), sessionstore.ErrNotFound)
	isError(t, "persist", r.Persist(t.Context(), h, seq(1, "")), sessionstore.ErrNotFound)
	isError(t, "delete", r.Delete(t.Context(), h), nil)
	again, err := r.Create(t.Context(), h.Key, sessionstore.Draft{TTL: time.Minute})
	isError(t, "create", err, nil)
	if again.Epoch <= h.Epoch {
		t.Errorf("epoch %d after %d", again.Epoch, h.Epoch)
	}
}

// A server that does not know the scripts (restarted, or promoted) gets them within the same calls.
func TestScriptsAreLoadedAgain(t *testing.T) {
	for name, urls := range map[string]func() []string{
		"single":  func() []string { return []string{"redis://" + storetest.StartRedis(t).Addr()} },
		"cluster": func() []string { return []string{"redis+cluster://" + storetest.StartCluster(t)[0].Addr()} },
	} {
		t.Run(name, func(t *testing.T) {
			r := joinRedis(t, sessionstore.RedisConfig{URLs: urls()})
			holds := make([]sessionstore.Hold, 100)
			for i := range holds {
				holds[i] = createIn(t, r)
			}
			for n := range uint64(5) {
				r.FlushScripts(t.Context())
				var calls sync.WaitGroup
				for _, h := range holds {
					calls.Go(func() { isError(t, "persist", r.Persist(t.Context(), h, seq(n+1, "")), nil) })
					calls.Go(func() { isError(t, "update", r.Update(t.Context(), h, nil, time.Minute), nil) })
				}
				calls.Wait()
			}
		})
	}
}

// A master dies and Sentinel promotes its replica: owners go on under their epochs.
func TestSentinelFailover(t *testing.T) {
	s := storetest.StartSentinels(t)
	r := joinRedis(t, sessionstore.RedisConfig{URLs: []string{"redis+sentinel://" + s.Sentinel.Addr() + "/" + s.Name}})
	h := createIn(t, r)
	for n := range uint64(100) {
		isError(t, "persist", r.Persist(t.Context(), h, seq(n+1, fmt.Sprint(n+1))), nil)
	}
	storetest.Until(t, "replication", func() bool {
		return s.Replica.Must(t, "HGET stanzagate:s:{"+string(h.Key)+"} c") == "100"
	})
	begun := time.Now()
	s.Master.Kill()
	storetest.Until(t, "fail-over", func() bool { return r.Persist(t.Context(), h, seq(101, "after")) == nil })
	t.Logf("writes work %s after the master was killed (down-after 1 s)", time.Since(begun))
	storetest.Until(t, "recovery", func() bool { return r.Status().NotReady() == "" && !r.Fenced() })
	got, err := r.Claim(t.Context(), h.Key, sessionstore.Claim{Force: true})
	isError(t, "claim", err, nil)
	if got.Counters != "after" || got.Hold.Epoch <= h.Epoch {
		t.Errorf("after the fail-over: %+v, epoch was %d", got, h.Epoch)
	}
	s.Master.Start(t) // comes back as a replica; nothing may be written to it
	isError(t, "persist", r.Persist(t.Context(), got.Hold, seq(1, "x")), nil)
}

// A slot moves from one node of a cluster to another under load: calls follow it.
func TestClusterSlotMoves(t *testing.T) {
	nodes := storetest.StartCluster(t)
	r := joinRedis(t, sessionstore.RedisConfig{URLs: []string{"redis+cluster://" + nodes[0].Addr()}})
	h := createIn(t, r)
	key := "stanzagate:s:{" + string(h.Key) + "}"
	storetest.MoveSlot(t, nodes, key)
	for n := range uint64(20) {
		isError(t, "persist", r.Persist(t.Context(), h, seq(n+1, fmt.Sprint(n+1))), nil)
	}
	got, err := r.Claim(t.Context(), h.Key, sessionstore.Claim{Force: true})
	isError(t, "claim", err, nil)
	if got.Counters != "20" {
		t.Errorf("counters %q", got.Counters)
	}
}
