package sessionstore_test

import (
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"stanzagate/sessionstore"
	"stanzagate/sessionstore/storetest"
)

// stores are those that benchmarks compare.
func stores(b *testing.B, run func(*testing.B, sessionstore.Store)) {
	b.Run("memory", func(b *testing.B) {
		r, err := sessionstore.NewMemory(sessionstore.MemoryConfig{}).Join(storetest.Self("a"), 1)
		if err != nil {
			b.Fatal(err)
		}
		run(b, r)
	})
	b.Run("redis", func(b *testing.B) {
		run(b, joinRedis(b, sessionstore.RedisConfig{URLs: []string{"redis://" + storetest.StartRedis(b).Addr()}}))
	})
	b.Run("cluster", func(b *testing.B) {
		run(b, joinRedis(b, sessionstore.RedisConfig{URLs: []string{"redis+cluster://" + storetest.StartCluster(b)[0].Addr()}}))
	})
}

// benchSessions makes sessions with records of the usual size.
func benchSessions(b *testing.B, s sessionstore.Store) []sessionstore.Hold {
	b.Helper()
	holds := make([]sessionstore.Hold, 500)
	for i := range holds {
		h, err := s.Create(b.Context(), storetest.NewKey(), sessionstore.Draft{Static: make([]byte, 700), TTL: time.Hour})
		if err != nil {
			b.Fatal(err)
		}
		holds[i] = h
	}
	return holds
}

// cpu is what this process has used.
func cpu() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // cannot fail
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkPersist: one caller, and as many as there are responses at a time under load.
func BenchmarkPersist(b *testing.B) {
	data := strings.Repeat("9", 80)
	stores(b, func(b *testing.B, s sessionstore.Store) {
		holds := benchSessions(b, s)
		var seq atomic.Uint64
		persist := func(b *testing.B) {
			n := seq.Add(1)
			if err := s.Persist(b.Context(), holds[n%uint64(len(holds))], sessionstore.Counters{Seq: n, Data: data, TTL: time.Hour}); err != nil {
				b.Error(err)
			}
		}
		b.Run("callers=1", func(b *testing.B) {
			b.ReportAllocs()
			begun := cpu()
			for b.Loop() {
				persist(b)
			}
			b.ReportMetric(float64(cpu()-begun)/float64(b.N), "cpu-ns/op")
		})
		b.Run("callers=64", func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(32) // times two processors, usually
			begun := cpu()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					persist(b)
				}
			})
			b.ReportMetric(float64(cpu()-begun)/float64(b.N), "cpu-ns/op")
		})
	})
}

// BenchmarkClaim: of what a living replica owns, and of what was given away.
func BenchmarkClaim(b *testing.B) {
	stores(b, func(b *testing.B, s sessionstore.Store) {
		holds := benchSessions(b, s)
		b.Run("take", func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				h := &holds[i%len(holds)]
				got, err := s.Claim(b.Context(), h.Key, sessionstore.Claim{Force: true})
				if err != nil {
					b.Fatal(err)
				}
				*h = got.Hold
			}
		})
	})
}
