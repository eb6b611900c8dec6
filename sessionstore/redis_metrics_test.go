package sessionstore_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stanzagate/sessionstore"
	"stanzagate/sessionstore/storetest"
)

// tally counts what a store reports.
type tally struct {
	mu       sync.Mutex
	calls    map[string]int // by operation and outcome
	together int            // calls of all batches
	largest  int            // batch
}

func (m *tally) StoreCall(op string, took time.Duration, outcome string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if took <= 0 || !slices.Contains(sessionstore.Operations(), op) || !slices.Contains(sessionstore.Outcomes(), outcome) {
		outcome = fmt.Sprintf("BAD %s %s %s", op, took, outcome)
	}
	m.calls[op+" "+outcome]++
}

func (m *tally) StoreBatch(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.together += n
	m.largest = max(m.largest, n)
}

// Every call is counted, with what came of it; calls that come together share round trips.
func TestRedisMetrics(t *testing.T) {
	server := storetest.StartRedis(t)
	m := &tally{calls: map[string]int{}}
	r := joinRedis(t, sessionstore.RedisConfig{URLs: []string{"redis://" + server.Addr()}, Metrics: m})
	h := createIn(t, r)
	_, err := r.Create(t.Context(), h.Key, sessionstore.Draft{TTL: time.Minute})
	isError(t, "create", err, sessionstore.ErrExists)
	_, err = r.Claim(t.Context(), "nothing", sessionstore.Claim{})
	isError(t, "claim", err, sessionstore.ErrNotFound)
	const many = 500
	var all sync.WaitGroup
	for n := range many {
		all.Go(func() { isError(t, "persist", r.Persist(t.Context(), h, seq(uint64(n+1), "")), nil) })
	}
	all.Wait()
	isError(t, "delete", r.Delete(t.Context(), h), nil)
	isError(t, "persist", r.Persist(t.Context(), h, seq(many+1, "")), sessionstore.ErrNotFound)
	server.Kill()
	isError(t, "check", r.Check(t.Context(), h), sessionstore.ErrUnavailable)
	m.mu.Lock()
	defer m.mu.Unlock()
	for what, want := range map[string]int{
		"create ok": 1, "create refused": 1, "claim refused": 1, "persist ok": many, "persist refused": 1, "delete ok": 1, "check failed": 1,
	} {
		if m.calls[what] != want {
			t.Errorf("%s: %d, want %d", what, m.calls[what], want)
		}
	}
	if m.calls["lease ok"] == 0 || m.together != many+6 || m.largest < 2 {
		t.Errorf("%v, %d calls in batches, the largest of %d", m.calls, m.together, m.largest)
	}
}

// A connection is ready after one round trip, and the server is asked for nothing beside what the store needs.
func TestRedisConnections(t *testing.T) {
	server := storetest.StartRedis(t)
	r := joinRedis(t, sessionstore.RedisConfig{URLs: []string{"redis://" + server.Addr()}})
	h := createIn(t, r)
	isError(t, "persist", r.Persist(t.Context(), h, seq(1, "")), nil)
	stats := server.Must(t, "INFO commandstats")
	if !strings.Contains(stats, "cmdstat_hello:") || !strings.Contains(stats, "cmdstat_evalsha:") {
		t.Errorf("commands are not counted:\n%s", stats)
	}
	for _, c := range []string{"client", "command", "select", "cluster"} {
		if strings.Contains(stats, "cmdstat_"+c) {
			t.Errorf("%s was sent:\n%s", c, stats)
		}
	}
}
