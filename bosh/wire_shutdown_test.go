package bosh

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What others cannot take ends with this replica, for its server too.
//
// Covers: BOSH-128, UP-131.
func TestFailover_8_Shutdown(t *testing.T) {
	replicated(t, func(t *testing.T) {
		c, one, _ := pair(t)
		b := one.enter("alice", "")
		b.isBehind()
		held := b.hold("", "")
		synctest.Wait()
		if err := one.h.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if out := b.get(held); out.attr("condition") != systemShutdown {
			t.Errorf("got %d %s", out.status, out.raw)
		}
		if c.xmpp.Managed(aliceFull) || c.xmpp.Tokens("alice") != 0 || c.slotTaken(0) || c.recorded(b) {
			t.Errorf("server has it %v, %d tokens, slot %v, record %v", c.xmpp.Managed(aliceFull), c.xmpp.Tokens("alice"), c.slotTaken(0), c.recorded(b))
		}
	})
}

// isBehind makes the session one that others cannot take: as if the server had been told of stanzas that the browser lacks.
func (b *browser) isBehind() {
	s := b.session()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.m.sm.ahead, s.m.sm.isAhead = s.m.sm.proved+1, true
}

// A second signal ends the drain before it has begun: what others can take is given away all the same.
//
// Covers: BOSH-128.
func TestFailover_8_ShutdownWithoutADrain(t *testing.T) {
	replicated(t, func(t *testing.T) {
		c, one, two := pair(t)
		b := one.enter("alice", "")
		held := b.hold("", "")
		synctest.Wait()
		if err := one.h.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if out := b.get(held); out.status != http.StatusOK || out.attr("type") != "" {
			t.Errorf("held request: %d %s", out.status, out.raw)
		}
		c.xmpp.Deliver(aliceFull, chat("one"))
		if out := b.to(two).say("", ""); strings.Count(out.raw, "one") != 1 {
			t.Errorf("elsewhere: %d %s", out.status, out.raw)
		}
	})
}

// The time for the drain is over and the store was away for all of it: whoever holds the record goes on with the session once
// the store is back, so its server must not hear that it has ended, and its browser neither.
//
// Covers: BOSH-017, BOSH-128, UP-127.
func TestFailover_8_ShutdownWithoutTheStore(t *testing.T) {
	for name, away := range map[string]time.Duration{"for a moment": 0, "until nothing is written any more": fencedAfter + time.Second} {
		t.Run(name, func(t *testing.T) {
			replicated(t, func(t *testing.T) {
				c, one, two := pair(t)
				b := one.enter("alice", "")
				server := c.xmpp.Session(aliceFull)
				lost := b.next("", message("nobody@example.org", "up"))
				one.store.goAway()
				time.Sleep(away)
				held := b.async(lost)
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				if err := one.h.Shutdown(ctx); err != nil {
					t.Error(err)
				}
				if out := b.get(held); out.status != http.StatusServiceUnavailable {
					t.Errorf("held request: %d %s", out.status, out.raw)
				}
				if strings.Contains(server.Received(), "</stream:stream>") || !c.xmpp.Managed(aliceFull) || c.xmpp.Tokens("alice") != 1 {
					t.Fatalf("%d tokens, the server got %s", c.xmpp.Tokens("alice"), server.Received())
				}
				one.kill()
				if out := b.to(two).post(nil, lost); strings.Count(out.raw, "service-unavailable") != 1 {
					t.Errorf("elsewhere: %d %s", out.status, out.raw)
				}
			})
		})
	}
}

// Another replica has taken the session, and this one is told to end before it has noticed.
//
// Covers: BOSH-128, UP-127.
func TestFailover_8_ShutdownOfWhatIsAnothers(t *testing.T) {
	for name, spoil := range map[string]func(b *browser){
		"could be given away": func(*browser) {},
		"goes on to the end":  (*browser).isBehind,
	} {
		t.Run(name, func(t *testing.T) {
			replicated(t, func(t *testing.T) {
				c, one, _ := pair(t)
				b := one.enter("alice", "")
				server := c.xmpp.Session(aliceFull)
				held := b.hold("", "")
				synctest.Wait()
				c.thief(b)
				spoil(b)
				if err := one.h.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				if out := b.get(held); out.err == nil && out.status != http.StatusServiceUnavailable {
					t.Errorf("held request: %d %s", out.status, out.raw)
				}
				if strings.Contains(server.Received(), "</stream:stream>") || !c.xmpp.Managed(aliceFull) || c.xmpp.Tokens("alice") != 1 || !c.recorded(b) {
					t.Errorf("%d tokens, record %v, the server got %s", c.xmpp.Tokens("alice"), c.recorded(b), server.Received())
				}
			})
		})
	}
}

// The browser has ended the session, and the store cannot be asked yet whether it is ours to end.
//
// Covers: UP-127.
func TestFailover_8_ShutdownBehindATerminate(t *testing.T) {
	replicated(t, func(t *testing.T) {
		c, one, _ := pair(t)
		b := one.enter("alice", "")
		server := c.xmpp.Session(aliceFull)
		one.store.goAway()
		end := b.hold("type='terminate'", "")
		time.Sleep(time.Second)
		if err := one.h.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if out := b.get(end); out.status != http.StatusServiceUnavailable {
			t.Errorf("got %d %s", out.status, out.raw)
		}
		if strings.Contains(server.Received(), "</stream:stream>") || c.xmpp.Tokens("alice") != 1 {
			t.Errorf("%d tokens, the server got %s", c.xmpp.Tokens("alice"), server.Received())
		}
	})
}

// A session that is just being taken over has nothing yet that could end: the next replica takes it.
//
// Covers: BOSH-128.
func TestFailover_8_ShutdownDuringATakeover(t *testing.T) {
	replicated(t, func(t *testing.T) {
		c, one, two := pair(t)
		three := c.join()
		b := one.enter("alice", "")
		one.kill()
		two.lines.sever(true)
		lost := b.next("", message("nobody@example.org", "up"))
		held := b.to(two).async(lost)
		time.Sleep(time.Second)
		if err := two.h.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if out := b.get(held); out.status != http.StatusServiceUnavailable {
			t.Errorf("got %d %s", out.status, out.raw)
		}
		if out := b.to(three).post(nil, lost); strings.Count(out.raw, "service-unavailable") != 1 {
			t.Errorf("elsewhere: %d %s", out.status, out.raw)
		}
	})
}
