package replica

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"stanzagate/sessionstore"
)

// What another replica needs to go on with a session is there for it.
func TestRecordPassesOn(t *testing.T) {
	c := join(t, nil)
	first, _ := c.create("s")
	if !first.Survives() || !first.Since().IsZero() || first.Loss() != sessionstore.LossNone {
		t.Error("a session that was made here seems to be taken over")
	}
	if _, slot, err := first.Agent(t.Context(), "a@one.example"); err != nil || slot != 0 {
		t.Errorf("slot %d, %v", slot, err)
	}
	put(first, 1)
	for _, err := range []error{
		first.Publish(t.Context(), []byte("upstream"), []byte("own")),
		first.Publish(t.Context(), []byte("newer"), nil), // Own stays
		first.Flush(1),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	got := c.steal(first)
	there, err := NewMember(MemberConfig{Store: c.other, Keys: sealKeys(t, 1)})
	if err != nil {
		t.Fatal(err)
	}
	second, static, err := there.Adopted("s", got, recordLife, &holder{})
	if err != nil || static.Transport != "test" || string(static.Upstream) != "newer" || string(static.Own) != "own" || got.Counters != "counters 1" {
		t.Errorf("%+v, %v", static, err)
	}
	// The credential that was sealed there opens here, and nowhere else.
	sealed, err := first.Sealer().Seal([]byte("token"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := second.Sealer().Open(sealed, nil); err != nil || string(b) != "token" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := c.m.NewRecord("another", &holder{}).Sealer().Open(sealed, nil); err == nil {
		t.Error("another session opens it")
	}
	// Its user-agent id is its own still, and free afterwards.
	if _, slot, err := second.Agent(t.Context(), "a@one.example"); err != nil || slot != 0 {
		t.Errorf("slot %d, %v", slot, err)
	}
	if err := second.FreeAgent(t.Context()); err != nil {
		t.Error(err)
	}
	other, _ := c.create("t")
	if _, slot, err := other.Agent(t.Context(), "a@one.example"); err != nil || slot != 0 {
		t.Errorf("slot %d, %v", slot, err)
	}
}

// A session whose replica died before it was complete, or whose record nobody understands, cannot go on. Its record can be
// deleted.
func TestRecordIsNotComplete(t *testing.T) {
	for name, content := range map[string]struct{ static, counters string }{
		"no state":    {`{"t":"test"}`, "counters 7"},
		"no counters": {`{"t":"test","u":"eA=="}`, ""},
		"garbage":     {`{`, "counters 7"},
	} {
		t.Run(name, func(t *testing.T) {
			c := join(t, nil)
			hold, err := c.other.Create(t.Context(), sessionstore.Key(c.m.keys.Load().RecordKey("s")),
				sessionstore.Draft{Static: []byte(content.static), TTL: recordLife})
			if err != nil {
				t.Fatal(err)
			}
			if content.counters != "" {
				if err := c.other.Persist(t.Context(), hold, sessionstore.Counters{Seq: 1, Data: content.counters, TTL: recordLife}); err != nil {
					t.Fatal(err)
				}
			}
			r, h, err := c.adopt("s", sessionstore.Claim{Force: true})
			if err == nil {
				t.Error("no error")
			}
			if err := r.End(t.Context()); err != nil {
				t.Error(err)
			}
			if _, err := c.other.Claim(t.Context(), r.key, sessionstore.Claim{}); !errors.Is(err, sessionstore.ErrNotFound) {
				t.Errorf("still there: %v", err)
			}
			if _, lost := h.told(); lost != nil {
				t.Errorf("told %v", lost)
			}
		})
	}
}

// A record lasts for as long as the session is here, whatever else is done with it, and also before its first counters.
func TestRecordIsKeptAlive(t *testing.T) {
	for name, begin := range map[string]func(*club) *Record{
		"made here": func(c *club) *Record { r, _ := c.create("s"); return r },
		"taken over at its last": func(c *club) *Record {
			c.foreign("s")
			time.Sleep(recordLife - time.Millisecond)
			r, _, err := c.adopt("s", sessionstore.Claim{Force: true})
			if err != nil {
				c.t.Fatal(err)
			}
			return r
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := join(t, nil)
				defer c.m.Close()
				r := begin(c)
				for range 20 {
					due := r.TouchDue()
					if left := time.Until(due); left <= 0 || left > recordLife/2 {
						t.Fatalf("touched in %s", left)
					}
					time.Sleep(time.Until(due) - time.Millisecond)
					c.m.hint(r.key) // wrong, and asked about, which renews nothing
					time.Sleep(beatEvery)
					if got := r.TouchDue(); got != due {
						t.Errorf("a question has put it off by %s", got.Sub(due))
					}
					if next := r.Touch(t.Context()); next != r.TouchDue() || time.Until(next) != recordLife/2 {
						t.Errorf("next in %s", time.Until(next))
					}
				}
				if n := c.store.count("check"); n != 20 {
					t.Errorf("%d questions", n)
				}
				put(r, 1)
				time.Sleep(time.Minute)
				if err := r.Flush(1); err != nil || time.Until(r.TouchDue()) != recordLife/2 {
					t.Errorf("%v; counters renew it too: touched in %s", err, time.Until(r.TouchDue()))
				}
				c.store.leave()
				if left := time.Until(r.Touch(t.Context())); left != touchAgain {
					t.Errorf("not reached, and tried again in %s", left)
				}
			})
		})
	}
}

// A credential may be renewed while the session is being taken over, and sealed anew right after it, before there are
// counters (UP-091, failover-design 9.3).
func TestPublishBeforeCounters(t *testing.T) {
	c := join(t, nil)
	c.foreign("s")
	r, _, err := c.adopt("s", sessionstore.Claim{Force: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Publish(t.Context(), []byte("newer"), nil); err != nil {
		t.Error(err)
	}
	if got := c.steal(r); string(got.Static) != `{"t":"test","u":"bmV3ZXI="}` || got.Counters != "counters 7" {
		t.Errorf("%s %q", got.Static, got.Counters)
	}
	if err := r.Publish(t.Context(), []byte("late"), nil); !errors.Is(err, sessionstore.ErrNotOwner) {
		t.Error(err)
	}
}

// failover-design 9.2: one user-agent id for each concurrent session of an account, used again.
func TestAgents(t *testing.T) {
	c := join(t, nil)
	agent := func(r *Record, jid string) (string, int) {
		t.Helper()
		id, slot, err := r.Agent(t.Context(), jid)
		if err != nil {
			t.Fatal(err)
		}
		return id, slot
	}
	a, _ := c.create("a")
	b, _ := c.create("b")
	firstID, first := agent(a, "u@one.example")
	secondID, second := agent(b, "u@one.example")
	againID, again := agent(a, "u@one.example")
	if first != 0 || second != 1 || again != 0 || firstID == secondID || firstID != againID {
		t.Errorf("slots %d %d %d, ids %s %s %s", first, second, again, firstID, secondID, againID)
	}
	// Before the account is known each session has an id of its own.
	unknownA, _ := agent(a, "")
	unknownB, _ := agent(b, "")
	if unknownA == unknownB || unknownA == firstID {
		t.Errorf("ids %s and %s", unknownA, unknownB)
	}
	// A login as somebody else gives the first account's back.
	otherID, other := agent(a, "v@one.example")
	d, _ := c.create("d")
	if _, n := agent(d, "u@one.example"); n != 0 || other != 0 || otherID == firstID {
		t.Errorf("slots %d and %d, id %s", n, other, otherID)
	}
	if err := b.FreeAgent(t.Context()); err != nil {
		t.Error(err)
	}
	if err := b.FreeAgent(t.Context()); err != nil { // it has none any more
		t.Error(err)
	}
	e, _ := c.create("e")
	if _, n := agent(e, "u@one.example"); n != 1 {
		t.Errorf("slot %d", n)
	}
	before := c.store.count("slot")
	if err := b.KeepAgent(t.Context()); err != nil || c.store.count("slot") != before {
		t.Errorf("kept what it does not have: %v", err)
	}
	if err := e.KeepAgent(t.Context()); err != nil || c.store.count("slot") != before+1 {
		t.Errorf("not kept: %v", err)
	}
	c.store.leave()
	if _, _, err := e.Agent(t.Context(), "u@one.example"); !errors.Is(err, sessionstore.ErrUnavailable) {
		t.Error(err)
	}
}

// New keys name and seal what begins from then on; what is there goes on under its name.
func TestSetKeys(t *testing.T) {
	c := join(t, nil)
	old, _ := c.create("old")
	if old.IsOutdated() {
		t.Error("outdated from the start")
	}
	sealed, err := old.Sealer().Seal([]byte("token"), nil)
	if err != nil {
		t.Fatal(err)
	}
	c.m.SetKeys(sealKeys(t, 2, 1))
	if !old.IsOutdated() {
		t.Error("not outdated")
	}
	if b, err := old.Sealer().Open(sealed, nil); err != nil || string(b) != "token" {
		t.Errorf("%q, %v", b, err)
	}
	if fresh, _ := c.create("new"); fresh.IsOutdated() {
		t.Error("a new session is outdated")
	}
	put(old, 1)
	if err := old.Flush(1); err != nil {
		t.Error(err)
	}
}

// Without a key of the operator's no credential leaves the process.
func TestUnsealed(t *testing.T) {
	c := join(t, func(cfg *MemberConfig) { cfg.Unsealed = true })
	r, _ := c.create("s")
	if r.Survives() || r.Sealer() != nil || !c.m.Shared() || r.TouchDue().IsZero() {
		t.Errorf("Survives %t, Shared %t", r.Survives(), c.m.Shared())
	}
}
