package sessionstore_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"stanzagate/sessionstore"
	"stanzagate/sessionstore/storetest"
)

// pair is two replicas on one store: a reaches it through a proxy, b does not.
type pair struct {
	server *storetest.Server
	proxy  *proxy
	a, b   *sessionstore.Redis
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{server: storetest.StartRedis(t)}
	p.proxy = newProxy(t, p.server.Addr())
	join := func(url string) *sessionstore.Redis {
		return joinRedis(t, sessionstore.RedisConfig{URLs: []string{url}, Lease: testLease, Timeout: 500 * time.Millisecond})
	}
	p.a, p.b = join(p.proxy.url()), join("redis://"+p.server.Addr())
	return p
}

func createIn(t *testing.T, r *sessionstore.Redis) sessionstore.Hold {
	t.Helper()
	h, err := r.Create(t.Context(), storetest.NewKey(), sessionstore.Draft{Static: []byte("static"), TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func isError(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) || want == nil && got != nil {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func seq(n uint64, data string) sessionstore.Counters {
	return sessionstore.Counters{Seq: n, Data: data, TTL: time.Minute}
}

// A replica that is cut off from the store, as one that is frozen, fences itself before anybody can take its sessions;
// writes that it sent before arrive after the takeover and are refused.
//
// Covers: UP-127.
func TestCutOffReplicaIsFenced(t *testing.T) {
	p := newPair(t)
	h := createIn(t, p.a)
	isError(t, "persist", p.a.Persist(t.Context(), h, seq(1, "one")), nil)
	p.proxy.stall()
	begun := time.Now()
	var late sync.WaitGroup
	late.Go(func() {
		isError(t, "late persist", p.a.Persist(t.Context(), h, seq(2, "two")), sessionstore.ErrUnavailable)
	})
	var fencedAfter time.Duration
	late.Go(func() {
		storetest.Until(t, "fence", p.a.Fenced)
		fencedAfter = time.Since(begun)
	})
	var got sessionstore.Claimed
	storetest.Until(t, "takeover", func() bool {
		var err error
		got, err = p.b.Claim(t.Context(), h.Key, sessionstore.Claim{})
		isError(t, "claim", err, nil)
		return got.Hold.Epoch != 0
	})
	takenAfter := time.Since(begun)
	if !p.a.Fenced() {
		t.Error("the session was taken while its owner was not fenced")
	}
	late.Wait()
	t.Logf("lease %s: fenced after %s, taken after %s", testLease, fencedAfter, takenAfter)
	if got.Loss != sessionstore.LossExpired || got.Counters != "one" {
		t.Errorf("claimed %+v", got)
	}
	isError(t, "persist", p.b.Persist(t.Context(), got.Hold, seq(1, "b")), nil)
	if s := p.a.Status(); s.Away == 0 || s.NotReady() == "" {
		t.Errorf("cut off: %+v", s)
	}
	p.proxy.heal()
	storetest.Until(t, "recovery", func() bool { return !p.a.Fenced() })
	isError(t, "persist of the old owner", p.a.Persist(t.Context(), h, seq(3, "three")), sessionstore.ErrNotOwner)
	got, err := p.b.Claim(t.Context(), h.Key, sessionstore.Claim{Force: true})
	isError(t, "claim", err, nil)
	if got.Counters != "b" {
		t.Errorf("a delayed write of the old owner is in the store: %q", got.Counters)
	}
}

// Answers that are lost: what was asked for has been done, the caller does not know, and asking again does no harm.
func TestLostAnswers(t *testing.T) {
	p := newPair(t)
	h := createIn(t, p.a)
	// The server has to know the scripts: else what is lost is that it does not.
	known := createIn(t, p.b)
	isError(t, "persist", p.b.Persist(t.Context(), known, seq(1, "")), nil)
	isError(t, "release", p.b.Release(t.Context(), known), nil)
	_, err := p.b.Claim(t.Context(), known.Key, sessionstore.Claim{})
	isError(t, "claim", err, nil)
	lose := func(what string, call func() error) {
		t.Helper()
		p.proxy.before(string(h.Key), p.proxy.drop)
		isError(t, what, call(), sessionstore.ErrUnavailable)
		p.proxy.cut()
		p.proxy.heal()
		storetest.Until(t, "recovery", func() bool { return p.a.Status().NotReady() == "" && !p.a.Fenced() })
	}
	lose("persist", func() error { return p.a.Persist(t.Context(), h, seq(1, "one")) })
	isError(t, "persist again", p.a.Persist(t.Context(), h, seq(1, "one")), nil)
	lose("release", func() error { return p.a.Release(t.Context(), h) })
	isError(t, "persist after the release", p.a.Persist(t.Context(), h, seq(2, "two")), sessionstore.ErrNotOwner)
	lose("claim", func() error {
		_, err := p.a.Claim(t.Context(), h.Key, sessionstore.Claim{})
		return err
	})
	var got sessionstore.Claimed
	got, err = p.a.Claim(t.Context(), h.Key, sessionstore.Claim{})
	isError(t, "claim", err, nil)
	if got.Hold.Epoch != 0 || got.Owner != p.a.Self() {
		t.Errorf("what the lost claim took: %+v", got)
	}
	if got, err = p.a.Claim(t.Context(), h.Key, sessionstore.Claim{Force: true}); err != nil || got.Counters != "one" {
		t.Errorf("forced claim: %+v, %v", got, err)
	}
	isError(t, "persist", p.a.Persist(t.Context(), got.Hold, seq(1, "again")), nil)
}

// The owner's lease and the session are different keys. An owner whose lease comes back between the moment when a claimant
// saw it gone and the moment when it takes the session loses the session all the same, and notices.
func TestLeaseComesBackDuringClaim(t *testing.T) {
	p := newPair(t)
	h := createIn(t, p.b)
	lease := "stanzagate:r:" + p.b.Self().ID
	p.proxy.before(lease, func() {
		p.server.Must(t, "DEL "+lease)
		p.proxy.before("same", func() {
			storetest.Until(t, "lease of the owner", func() bool { return p.server.Must(t, "EXISTS "+lease) == ":1" })
		})
	})
	got, err := p.a.Claim(t.Context(), h.Key, sessionstore.Claim{})
	isError(t, "claim", err, nil)
	if got.Hold.Epoch == 0 || got.Loss != sessionstore.LossExpired || got.Owner != p.b.Self() {
		t.Errorf("claimed %+v", got)
	}
	isError(t, "persist of the owner", p.b.Persist(t.Context(), h, seq(1, "b")), sessionstore.ErrNotOwner)
	isError(t, "persist of the claimant", p.a.Persist(t.Context(), got.Hold, seq(1, "a")), nil)
}

// Somebody else takes the session in that same moment: the claimant starts anew and learns who has it.
func TestOwnerChangesDuringClaim(t *testing.T) {
	p := newPair(t)
	third := joinRedis(t, sessionstore.RedisConfig{URLs: []string{"redis://" + p.server.Addr()}, Lease: testLease})
	h := createIn(t, p.b)
	isError(t, "close", p.b.Close(t.Context()), nil)
	p.proxy.before("same", func() {
		got, err := third.Claim(t.Context(), h.Key, sessionstore.Claim{})
		isError(t, "claim of the third", err, nil)
		if got.Hold.Epoch == 0 {
			t.Errorf("the third: %+v", got)
		}
	})
	got, err := p.a.Claim(t.Context(), h.Key, sessionstore.Claim{})
	isError(t, "claim", err, nil)
	if got.Hold.Epoch != 0 || got.Owner != third.Self() {
		t.Errorf("claimed %+v", got)
	}
}

// A slot that changes hands between the moment when its session was found to have no record and the moment when it is
// taken stays with its new holder.
func TestSlotChangesHands(t *testing.T) {
	p := newPair(t)
	const account = "account"
	first, second, third := storetest.NewKey(), storetest.NewKey(), storetest.NewKey()
	take := func(r *sessionstore.Redis, session sessionstore.Key, want int) {
		t.Helper()
		n, err := r.TakeSlot(t.Context(), account, session)
		if err != nil || n != want {
			t.Errorf("slot %d, %v, want %d", n, err, want)
		}
	}
	age := func(slot string, session sessionstore.Key) {
		p.server.Must(t, "HSET stanzagate:ua:{account} "+slot+` "`+string(session)+` 1000"`)
	}
	take(p.a, first, 0)
	take(p.b, second, 1)
	hold, err := p.a.Create(t.Context(), second, sessionstore.Draft{TTL: time.Minute})
	isError(t, "create", err, nil)
	age("0", first) // no record: free
	age("1", second)
	p.proxy.before("dead", func() { take(p.b, third, 0) })
	take(p.a, storetest.NewKey(), 2)
	age("1", second)
	isError(t, "delete", p.a.Delete(t.Context(), hold), nil)
	take(p.a, storetest.NewKey(), 1)
}

// What a claim names as dead is taken at once even if the store has just come back; what is silent only is presumed to live.
func TestStoreIsAwayAndComesBack(t *testing.T) {
	p := newPair(t)
	silent, known := createIn(t, p.b), createIn(t, p.b)
	isError(t, "persist", p.b.Persist(t.Context(), silent, seq(1, "one")), nil)
	p.server.Freeze()
	storetest.Until(t, "absence", func() bool { return p.a.Fenced() && p.b.Fenced() })
	begun := time.Now()
	isError(t, "persist", p.b.Persist(t.Context(), silent, seq(2, "two")), sessionstore.ErrUnavailable)
	if took := time.Since(begun); took > 2*500*time.Millisecond+200*time.Millisecond {
		t.Errorf("a call took %s, want at most twice the time-out", took)
	}
	if s := p.b.Status(); s.Away == 0 || s.Err == nil || !strings.Contains(s.NotReady(), "store") {
		t.Errorf("away: %+v", s)
	}
	storetest.Until(t, "a long absence", func() bool { return p.a.Status().Away > testLease })
	p.b.Abandon() // nobody will renew this lease
	p.server.Thaw()
	storetest.Until(t, "recovery", func() bool { return p.a.Status().NotReady() == "" && !p.a.Fenced() })
	if p.a.Status().Settling == 0 {
		t.Error("the store is back and does not settle")
	}
	storetest.Until(t, "end of the lease", func() bool {
		return p.server.Must(t, "EXISTS stanzagate:r:"+p.b.Self().ID) == ":0"
	})
	got, err := p.a.Claim(t.Context(), silent.Key, sessionstore.Claim{})
	isError(t, "claim", err, nil)
	if p.a.Status().Settling > 0 && (got.Hold.Epoch != 0 || !got.Presumed || got.Owner != p.b.Self()) {
		t.Errorf("while the store settles: %+v", got)
	}
	got, err = p.a.Claim(t.Context(), known.Key, sessionstore.Claim{Dead: p.b.Self().Incarnation})
	isError(t, "claim", err, nil)
	if got.Loss != sessionstore.LossDead {
		t.Errorf("known to be dead: %+v", got)
	}
	storetest.Until(t, "end of settling", func() bool { return p.a.Status().Settling == 0 })
	got, err = p.a.Claim(t.Context(), silent.Key, sessionstore.Claim{})
	isError(t, "claim", err, nil)
	// The write that its sender gave up on is in the store, or is not.
	if got.Loss != sessionstore.LossExpired || got.Counters != "one" && got.Counters != "two" {
		t.Errorf("when the store has settled: %+v", got)
	}
}
