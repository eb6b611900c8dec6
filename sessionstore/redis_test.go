package sessionstore_test

import (
	"strings"
	"testing"
	"time"

	"stanzagate/sessionstore"
	"stanzagate/sessionstore/storetest"
)

const testLease = 900 * time.Millisecond

// joinRedis returns the view of a new incarnation, once it has its lease.
func joinRedis(t testing.TB, cfg sessionstore.RedisConfig) *sessionstore.Redis {
	t.Helper()
	r := openRedis(t, cfg)
	storetest.Until(t, "lease", func() bool { return r.Status().NotReady() == "" && !r.Fenced() })
	return r
}

func openRedis(t testing.TB, cfg sessionstore.RedisConfig) *sessionstore.Redis {
	t.Helper()
	if cfg.Self.ID == "" {
		cfg.Self = storetest.Self("replica-" + sessionstore.NewIncarnation())
	}
	r, err := sessionstore.OpenRedis(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.Start()
	t.Cleanup(func() { _ = r.Close(t.Context()) }) // its store may be gone
	return r
}

func redisRig(urls ...string) storetest.Rig {
	prefix := "test-" + sessionstore.NewIncarnation() + ":"
	return storetest.Rig{
		Join: func(t *testing.T, id string, schema int) sessionstore.Store {
			return joinRedis(t, sessionstore.RedisConfig{URLs: urls, Self: storetest.Self(id), Prefix: prefix, Schema: schema, Lease: testLease})
		},
		Crash: func(t *testing.T, s sessionstore.Store) { s.(*sessionstore.Redis).Abandon() },
		Lease: testLease,
	}
}

func TestRedis(t *testing.T) {
	storetest.Run(t, redisRig("redis://"+storetest.StartRedis(t).Addr()))
}

func TestRedisCluster(t *testing.T) {
	nodes := storetest.StartCluster(t)
	t.Run("one seed", func(t *testing.T) { storetest.Run(t, redisRig("redis+cluster://"+nodes[0].Addr())) })
	t.Run("several addresses", func(t *testing.T) {
		storetest.Run(t, redisRig(nodes[0].Addr(), "redis://"+nodes[1].Addr(), nodes[2].Addr()))
	})
}

func TestRedisSentinel(t *testing.T) {
	s := storetest.StartSentinels(t)
	storetest.Run(t, redisRig("redis+sentinel://"+s.Sentinel.Addr()+"/"+s.Name))
}

// The store holds neither keys of its users nor more than it was given; every key has the prefix.
func TestRedisKeys(t *testing.T) {
	server := storetest.StartRedis(t)
	r := joinRedis(t, sessionstore.RedisConfig{URLs: []string{"redis://" + server.Addr()}, Prefix: "p:", Self: storetest.Self("rep")})
	if _, err := r.Create(t.Context(), "thekey", sessionstore.Draft{TTL: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.TakeSlot(t.Context(), "theaccount", "thekey"); err != nil {
		t.Fatal(err)
	}
	for key, within := range map[string]time.Duration{
		"p:s:{thekey}": time.Minute, "p:r:rep": 3 * time.Second, "p:ua:{theaccount}": sessionstore.SlotLife,
	} {
		ttl := server.Must(t, "PTTL "+key)
		left, err := time.ParseDuration(strings.TrimPrefix(ttl, ":") + "ms")
		if err != nil || left <= 0 || left > within {
			t.Errorf("%s lives for %s, want at most %s", key, ttl, within)
		}
	}
	if n := server.Must(t, "DBSIZE"); n != ":3" {
		t.Errorf("DBSIZE %s, want 3", n)
	}
}
