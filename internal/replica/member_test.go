package replica

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"stanzagate/sessionstore"
)

func TestMemberNeedsStoreAndKeys(t *testing.T) {
	if _, err := NewMember(MemberConfig{}); err == nil {
		t.Error("no error")
	}
}

// Who says that a session was taken may be right, wrong, or repeat himself.
func TestHints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := join(t, nil)
		defer c.m.Close()
		kept, keptHolder := c.create("kept")
		taken, takenHolder := c.create("taken")
		c.steal(taken) // by force, so the store tells
		for range 1000 {
			c.m.hint(kept.key)
			c.m.hint("nobody's")
		}
		c.m.mu.Lock()
		if len(c.m.hinted) > 2 {
			t.Errorf("%d are kept", len(c.m.hinted))
		}
		c.m.mu.Unlock()
		time.Sleep(2 * beatEvery)
		if _, lost := takenHolder.told(); len(lost) != 1 || !errors.Is(lost[0], sessionstore.ErrNotOwner) {
			t.Errorf("told %v", lost)
		}
		if _, lost := keptHolder.told(); lost != nil || !kept.MayWrite() {
			t.Errorf("told %v", lost)
		}
		asked := c.store.count("check")
		time.Sleep(time.Minute)
		if n := c.store.count("check"); n != asked || n > 2 {
			t.Errorf("%d questions, then %d", asked, n)
		}

		// While the store is away it is not asked; the fence is down then.
		c.store.leave()
		c.m.hint(kept.key)
		time.Sleep(time.Minute)
		if n := c.store.count("check"); n != asked {
			t.Error("asked a store that is away")
		}
	})
}

// One of the sessions that a replica has twice, as it claimed it again, is not forgotten with the other.
func TestRecordOfTheNewestClaim(t *testing.T) {
	c := join(t, nil)
	c.foreign("s")
	first, _, err := c.adopt("s", sessionstore.Claim{Force: true})
	if err != nil {
		t.Fatal(err)
	}
	second, h, err := c.adopt("s", sessionstore.Claim{Force: true})
	if err != nil {
		t.Fatal(err)
	}
	first.Drop()
	c.steal(second) // tells
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	if len(c.m.records) != 1 || len(c.m.hinted) != 1 || c.m.hinted[0] != second {
		t.Errorf("%d records, %d hinted, %v", len(c.m.records), len(c.m.hinted), h)
	}
}

// visitors are no sessions at all.
type visitors struct{}

func (visitors) Has(sessionstore.Key) bool { return false }
func (visitors) Adopt(sessionstore.Key, sessionstore.Claimed) {
	panic("a replica that drains has taken a session")
}

// A replica that drains takes no session. What it had to claim to find that out it gives back, and the time that has to pass
// because of how the session was lost passes here, as whoever takes it next does not know.
func TestDrainingDeclines(t *testing.T) {
	for name, p := range map[string]struct {
		lose func(*club, sessionstore.Hold) error
		wait time.Duration
	}{
		"released": {func(c *club, h sessionstore.Hold) error { return c.other.Release(c.t.Context(), h) }, 0},
		"expired":  {func(c *club, _ sessionstore.Hold) error { return c.other.Close(c.t.Context()) }, pauseExpired},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := join(t, nil)
				defer c.m.Close()
				if err := p.lose(c, c.foreign("s")); err != nil {
					t.Fatal(err)
				}
				c.m.Drain()
				begun := time.Now()
				r := httptest.NewRequest(http.MethodPost, "/", nil).WithContext(t.Context())
				if got := c.m.Route(Request{W: httptest.NewRecorder(), R: r}, "s", visitors{}); got != Unavailable {
					t.Errorf("result %d", got)
				}
				if took := time.Since(begun); took != p.wait {
					t.Errorf("took %s", took)
				}
				got, err := c.store.Claim(t.Context(), sessionstore.Key(c.m.keys.Load().RecordKey("s")), sessionstore.Claim{})
				if err != nil || got.Loss != sessionstore.LossReleased || got.Counters != "counters 7" {
					t.Errorf("%+v, %v", got, err)
				}
			})
		})
	}
	// By force: what lives, and has not been reached for five seconds.
	synctest.Test(t, func(t *testing.T) {
		c := join(t, nil)
		defer c.m.Close()
		c.foreign("s")
		got, err := c.store.Claim(t.Context(), sessionstore.Key(c.m.keys.Load().RecordKey("s")), sessionstore.Claim{Force: true})
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if err := c.m.router.decline(got); !errors.Is(err, errDraining) || time.Since(begun) != pauseForced {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
	})
}

// A request finds its session under the name that it had under older keys.
func TestRouteKnowsOlderKeys(t *testing.T) {
	c := join(t, nil)
	if err := c.other.Release(t.Context(), c.foreign("s")); err != nil {
		t.Fatal(err)
	}
	c.m.SetKeys(sealKeys(t, 3, 2, 1))
	n := &node{sessions: map[sessionstore.Key]sessionstore.Claimed{}}
	r := httptest.NewRequest(http.MethodPost, "/", nil).WithContext(t.Context())
	if got := c.m.Route(Request{W: httptest.NewRecorder(), R: r}, "s", n); got != Here || n.adopted.Load() != 1 {
		t.Errorf("result %d, %d taken", got, n.adopted.Load())
	}
	if got := c.m.Route(Request{W: httptest.NewRecorder(), R: r}, "other", n); got != NoSession {
		t.Errorf("result %d", got)
	}
}

// Many sessions come and go while the store comes and goes; nothing is left of them.
func TestNothingIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := join(t, nil)
		defer c.m.Close()
		for i := range 200 {
			if i%50 == 0 {
				c.store.leave()
				time.Sleep(100 * time.Millisecond)
				c.store.comeBack()
			}
			r, _ := c.create(fmt.Sprint("s", i))
			put(r, 1)
			if i%3 == 0 {
				c.m.later(r)
			}
			c.m.hint(r.key)
			if i%2 == 0 {
				r.Drop()
				c.m.later(r) // a write that ends late
			} else if err := r.End(t.Context()); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Second)
		c.m.mu.Lock()
		defer c.m.mu.Unlock()
		if len(c.m.records) != 0 || len(c.m.unsaved) != 0 || len(c.m.hinted) != 0 {
			t.Errorf("%d records, %d to be written, %d hinted", len(c.m.records), len(c.m.unsaved), len(c.m.hinted))
		}
	})
}
