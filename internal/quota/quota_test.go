package quota

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	one   = netip.MustParseAddr("192.0.2.1")
	other = netip.MustParseAddr("192.0.2.2")
)

// mustAdmit takes n places.
func mustAdmit(t *testing.T, q *Quota, addr netip.Addr, n int) []*Place {
	t.Helper()
	var places []*Place
	for range n {
		p, err := q.Admit(addr)
		if err != nil {
			t.Fatalf("place %d: %v", len(places)+1, err)
		}
		places = append(places, p)
	}
	return places
}

func mustRefuse(t *testing.T, q *Quota, addr netip.Addr, want error) {
	t.Helper()
	if _, err := q.Admit(addr); !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
}

// Covers: BOSH-182.
func TestSessions(t *testing.T) {
	q := New(Config{Sessions: 3, SessionsPerAddress: 2})
	places := mustAdmit(t, q, one, 2)
	mustRefuse(t, q, one, ErrAddress)
	mustAdmit(t, q, other, 1)
	mustRefuse(t, q, other, ErrSessions)
	places[0].Release()
	places[0].Release() // only the first counts
	mustAdmit(t, q, one, 1)
	mustRefuse(t, q, one, ErrSessions)
}

// BOSH-052: a thousand creations at once from one address get what the rate allows, other addresses are not touched.
//
// Covers: BOSH-052.
func TestCreationRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Config{Creations: Rate{600, time.Minute}})
		admitted := 0
		for range 1000 {
			if p, err := q.Admit(one); err == nil {
				admitted++
				p.Release()
			} else if !errors.Is(err, ErrCreations) {
				t.Fatal(err)
			}
		}
		if admitted != 600 {
			t.Errorf("%d of 1000 admitted at once, want 600", admitted)
		}
		mustAdmit(t, q, other, 1)
		time.Sleep(time.Second) // virtual
		mustAdmit(t, q, one, 10)
		mustRefuse(t, q, one, ErrCreations)
		time.Sleep(time.Hour)
		mustAdmit(t, q, one, 600)
		mustRefuse(t, q, one, ErrCreations)
	})
}

func TestRefusalCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Config{Creations: Rate{2, time.Second}, Sessions: 1})
		places := mustAdmit(t, q, one, 1)
		for range 100 {
			mustRefuse(t, q, one, ErrSessions)
		}
		places[0].Release()
		mustAdmit(t, q, one, 1)
	})
}

func TestAuthFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Config{AuthFailures: Rate{3, time.Minute}})
		p := mustAdmit(t, q, one, 1)[0]
		for range 3 {
			p.AuthFailed()
		}
		mustRefuse(t, q, one, ErrAuthFailures)
		mustAdmit(t, q, other, 1)
		time.Sleep(20 * time.Second) // virtual: one is allowed again
		mustAdmit(t, q, one, 1)

		// The open session goes on guessing: that is paid back, but no longer than for a period.
		for range 1000 {
			p.AuthFailed()
		}
		time.Sleep(79 * time.Second)
		mustRefuse(t, q, one, ErrAuthFailures)
		time.Sleep(time.Second)
		mustAdmit(t, q, one, 1)
	})
}

func TestIPv6CountsPerNetwork(t *testing.T) {
	q := New(Config{SessionsPerAddress: 1})
	mustAdmit(t, q, netip.MustParseAddr("2001:db8:0:1::1"), 1)
	mustRefuse(t, q, netip.MustParseAddr("2001:db8:0:1:ffff::2"), ErrAddress)
	mustAdmit(t, q, netip.MustParseAddr("2001:db8:0:2::1"), 1)
	mustAdmit(t, q, one, 1)
	mustRefuse(t, q, netip.MustParseAddr("::ffff:192.0.2.1"), ErrAddress)
	mustAdmit(t, q, netip.Addr{}, 1)
	mustRefuse(t, q, netip.Addr{}, ErrAddress)
	mustAdmit(t, q, netip.MustParseAddr("fe80::1%eth0"), 1)
	mustRefuse(t, q, netip.MustParseAddr("fe80::2%eth1"), ErrAddress)
}

func TestNoLimits(t *testing.T) {
	var none *Quota
	for name, q := range map[string]*Quota{"nil": none, "zero": New(Config{})} {
		for range 5000 {
			p, err := q.Admit(one)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			p.AuthFailed()
			p.Release()
		}
	}
}

// remembered counts the addresses that the Quota knows.
func (q *Quota) remembered() (entries, idle int) {
	for i := range q.shards {
		s := &q.shards[i]
		s.mu.Lock()
		entries += len(s.entries)
		idle += s.idle
		s.mu.Unlock()
	}
	return entries, idle
}

// A flood of addresses is forgotten; who has sessions or owes for failed logins is not.
func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Config{SessionsPerAddress: 1, Creations: Rate{600, time.Minute}, AuthFailures: Rate{3, time.Minute}})
		mustAdmit(t, q, one, 1)
		guesser := mustAdmit(t, q, other, 1)[0]
		for range 6 {
			guesser.AuthFailed()
		}
		guesser.Release()
		const flood = shardCount * shardEntries * 5 / 4
		for i := range flood {
			var b [4]byte
			binary.BigEndian.PutUint32(b[:], 0x0a000000+uint32(i))
			p, err := q.Admit(netip.AddrFrom4(b))
			if err != nil {
				t.Fatal(err)
			}
			p.AuthFailed() // keeps the entry from being dropped at once
			p.Release()
		}
		entries, idle := q.remembered()
		if entries > shardCount*shardEntries+1 || entries != idle+1 {
			t.Errorf("%d addresses remembered, %d of them idle", entries, idle)
		}
		mustRefuse(t, q, one, ErrAddress)
		mustRefuse(t, q, other, ErrAuthFailures)
	})
}

func TestUnusedAddressesAreForgottenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Config{Creations: Rate{60, time.Minute}})
		p := mustAdmit(t, q, one, 1)[0]
		time.Sleep(time.Minute) // virtual
		p.Release()
		if entries, idle := q.remembered(); entries != 0 || idle != 0 {
			t.Errorf("%d remembered, %d idle", entries, idle)
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	q := New(Config{Sessions: 50, SessionsPerAddress: 10, Creations: Rate{1 << 30, time.Second}, AuthFailures: Rate{1 << 30, time.Second}})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 3)})
			for range 2000 {
				if p, err := q.Admit(addr); err == nil {
					p.AuthFailed()
					p.Release()
				}
			}
		})
	}
	wg.Wait()
	mustAdmit(t, q, one, 10)
	mustRefuse(t, q, one, ErrAddress)
}

func TestParseRate(t *testing.T) {
	for s, want := range map[string]Rate{"0": {}, "600/m": {600, time.Minute}, "1/s": {1, time.Second}, "5/h": {5, time.Hour}} {
		got, err := ParseRate(s)
		if err != nil || got != want || got.String() != s {
			t.Errorf("ParseRate(%q) = %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "600", "0/m", "-1/m", "1/d", "x/m", "1/m/s", "99999999999/s", " 1/m"} {
		if _, err := ParseRate(s); err == nil || !strings.Contains(err.Error(), "600/m") {
			t.Errorf("ParseRate(%q): %v", s, err)
		}
	}
}

func BenchmarkAdmit(b *testing.B) {
	q := New(Config{SessionsPerAddress: 1000, Creations: Rate{1 << 30, time.Second}, AuthFailures: Rate{60, time.Minute}})
	b.ReportAllocs()
	for b.Loop() {
		p, err := q.Admit(one)
		if err != nil {
			b.Fatal(err)
		}
		p.Release()
	}
}
