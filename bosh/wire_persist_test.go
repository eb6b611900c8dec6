package bosh

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stanzagate/sessionstore"
)

// A session is in the store before its browser knows the sid, so that no replica has to say that there is none.
//
// Covers: UP-126.
func TestFailover_5_RecordBeforeTheCreationResponse(t *testing.T) {
	replicated(t, func(t *testing.T) {
		c, one, _ := pair(t)
		one.store.set(func(f *faultyStore) { f.away = time.Now() })
		if _, out := one.open(defaultAttrs); out.status != http.StatusServiceUnavailable || one.h.Sessions() != 0 {
			t.Errorf("without a store: %d %s, %d sessions", out.status, out.raw, one.h.Sessions())
		}
		one.store.comeBack()
		b, out := one.open(defaultAttrs)
		if out.attr("sid") == "" || !c.recorded(b) {
			t.Errorf("no record of %s", out.raw)
		}
	})
}

// A response leaves once its record is stored, not before, and what it carries is acknowledged to the server later still.
//
// Covers: UP-126, UP-061.
func TestFailover_2_NothingLeavesBeforeItsRecord(t *testing.T) {
	replicated(t, func(t *testing.T) {
		c, one, _ := pair(t)
		b := one.enter("alice", "ack='1'")
		release := one.store.held("persist")
		held := b.hold("", "")
		synctest.Wait()
		c.xmpp.Deliver(aliceFull, chat("one"))
		time.Sleep(time.Second)
		synctest.Wait()
		select {
		case out := <-held:
			t.Fatalf("answered before it is stored: %s", out.raw)
		default:
		}
		release()
		if out := b.get(held); !strings.Contains(out.raw, "one") {
			t.Errorf("got %s", out.raw)
		}
		if n := c.xmpp.Count(aliceFull).Acked; n != 0 {
			t.Errorf("the server was told of %d stanzas that the browser may not have", n)
		}
		b.hold("", "") // says that the browser has it
		c.xmpp.Deliver(aliceFull, chat("two"))
		time.Sleep(time.Second)
		if n := c.xmpp.Count(aliceFull).Acked; n != 1 {
			t.Errorf("the server was told of %d stanzas, want 1", n)
		}
	})
}

// Another replica has taken the session, and this one finds out by a write that is refused: nobody must notice.
//
// Covers: UP-127.
func TestFailover_7_RefusedWriteIsSilence(t *testing.T) {
	replicated(t, func(t *testing.T) {
		c, one, two := pair(t)
		b := one.enter("alice", "")
		server := c.xmpp.Session(aliceFull)
		held := b.hold("", "")
		synctest.Wait()
		c.thief(b)
		c.xmpp.Deliver(aliceFull, chat("one"))
		if out := b.get(held); out.err == nil {
			t.Errorf("answered: %d %s", out.status, out.raw)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if strings.Contains(server.Received(), "</stream:stream>") || !c.xmpp.Managed(aliceFull) {
			t.Error("the server's session has been ended")
		}
		if c.xmpp.Tokens("alice") != 1 || !c.slotTaken(0) || !c.recorded(b) {
			t.Errorf("%d tokens, slot taken %v, record %v", c.xmpp.Tokens("alice"), c.slotTaken(0), c.recorded(b))
		}
		if b.session() != nil || one.counts.tallied() != [4]int{2: 1} || one.h.Sessions() != 0 || one.counts.of("fast") != 0 {
			t.Errorf("still there: %v, %v", one.counts.tallied(), one.counts.classes)
		}
		if len(two.h.registry.all()) > 0 {
			t.Error("the other one has it without having been asked")
		}
	})
}

// The record is gone, so nobody can go on with the session: its end is a clean one, and its credential is of no more use.
//
// Covers: UP-094, UP-131.
func TestFailover_7_StoreHasLostTheSession(t *testing.T) {
	replicated(t, func(t *testing.T) {
		c, one, _ := pair(t)
		b := one.enter("alice", "")
		server := c.xmpp.Session(aliceFull)
		held := b.hold("", "")
		synctest.Wait()
		one.store.set(func(f *faultyStore) { f.refusal = sessionstore.ErrNotFound })
		c.xmpp.Deliver(aliceFull, chat("one"))
		if out := b.get(held); out.err == nil && out.status != http.StatusServiceUnavailable {
			t.Errorf("answered: %d %s", out.status, out.raw)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if !strings.Contains(server.Received(), "</stream:stream>") || c.xmpp.Managed(aliceFull) {
			t.Error("the server keeps a session that nobody can resume")
		}
		if c.xmpp.Tokens("alice") != 0 || c.slotTaken(0) {
			t.Errorf("%d tokens, slot taken %v", c.xmpp.Tokens("alice"), c.slotTaken(0))
		}
	})
}

// While the store is away requests get 503 after a while. The machine goes on, and repeats are answered once it is back.
//
// Covers: BOSH-017, BOSH-136.
func TestFailover_8_StoreAwayForAMoment(t *testing.T) {
	replicated(t, func(t *testing.T) {
		c, one, _ := pair(t)
		b := one.enter("alice", "")
		lost := b.next("", "")
		held := b.async(lost)
		synctest.Wait()
		one.store.goAway()
		c.xmpp.Deliver(aliceFull, chat("one"))
		began := time.Now()
		if out := b.get(held); out.status != http.StatusServiceUnavailable || out.header.Get("Retry-After") == "" {
			t.Errorf("got %d %s", out.status, out.raw)
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("after %v", took)
		}
		again := b.async(lost)
		time.Sleep(time.Second)
		one.store.comeBack()
		if out := b.get(again); strings.Count(out.raw, "one") != 1 {
			t.Errorf("repeat: %d %s", out.status, out.raw)
		}
		if out := b.say("", message("nobody@example.org", "up")); !strings.Contains(out.raw, "service-unavailable") {
			t.Errorf("afterwards: %d %s", out.status, out.raw)
		}
		if got := b.counted.endings(); len(got) > 0 {
			t.Errorf("ended: %v", got)
		}
	})
}

// After a minute without the store sessions go on as if there was none: they live, and the server is told what it may forget.
func TestFailover_8_StoreAwayForLong(t *testing.T) {
	replicated(t, func(t *testing.T) {
		c, one, _ := pair(t)
		b := one.enter("alice", "ack='1'")
		one.store.goAway()
		time.Sleep(62 * time.Second)
		for _, text := range []string{"one", "two", "three"} {
			held := b.hold("", message("nobody@example.org", text))
			if out := b.get(held); !strings.Contains(out.raw, "service-unavailable") {
				t.Fatalf("got %d %s", out.status, out.raw)
			}
		}
		time.Sleep(time.Second)
		if n := c.xmpp.Count(aliceFull); n.Acked != 2 {
			t.Errorf("the server was told of %d stanzas, and keeps %d", n.Acked, n.Queued)
		}
		stored := len(one.store.persisted())
		one.store.comeBack()
		time.Sleep(time.Second)
		if len(one.store.persisted()) == stored {
			t.Error("nothing is stored although the store is back")
		}
	})
}

// A session that ends while the store is away for long ends for the server too.
//
// Covers: UP-131.
func TestFailover_8_EndWithoutTheStore(t *testing.T) {
	replicated(t, func(t *testing.T) {
		c, one, _ := pair(t)
		b := one.enter("alice", "")
		one.store.goAway()
		time.Sleep(62 * time.Second)
		if out := b.say("type='terminate'", ""); out.attr("type") != "terminate" {
			t.Fatalf("got %d %s", out.status, out.raw)
		}
		time.Sleep(time.Second)
		if c.xmpp.Managed(aliceFull) {
			t.Error("the server keeps the session")
		}
	})
}

// What would end a session while nobody can say whose it is: the browser is asked to come again, and the session is there when
// the store is back.
//
// Covers: BOSH-017, UP-127.
func TestFailover_8_NothingEndsWithoutTheStore(t *testing.T) {
	for name, bad := range map[string]func(b *browser) string{
		"rid above the window": func(b *browser) string { return b.at(b.rid+100, "", "") },
		"cannot be read":       func(b *browser) string { return b.at(b.rid+1, "", "<message>") },
		"terminate":            func(b *browser) string { return b.at(b.rid+1, "type='terminate'", "") },
	} {
		t.Run(name, func(t *testing.T) {
			replicated(t, func(t *testing.T) {
				c, one, _ := pair(t)
				b := one.enter("alice", "")
				s, server := b.session(), c.xmpp.Session(aliceFull)
				one.store.goAway()
				time.Sleep(fencedAfter + time.Second)
				for range 4 { // longer than the session would repeat its last answer
					if out := b.post(nil, bad(b)); out.status != http.StatusServiceUnavailable || out.header.Get("Retry-After") == "" {
						t.Fatalf("got %d %s after %v", out.status, out.raw, time.Since(one.store.since()))
					}
					time.Sleep(5 * time.Second)
				}
				late := &waiter{done: make(chan struct{}, 1)} // of a request that had found the session before it was forgotten
				s.refuse(late, badRequest)
				if <-late.done; late.answer.kind != answerUnavailable {
					t.Errorf("a late one: %+v", late.answer)
				}
				if strings.Contains(server.Received(), "</stream:stream>") || !c.xmpp.Managed(aliceFull) || c.xmpp.Tokens("alice") != 1 {
					t.Errorf("%d tokens, the server got %s", c.xmpp.Tokens("alice"), server.Received())
				}
				one.store.comeBack()
				time.Sleep(time.Second)
				if out := b.say("", message("nobody@example.org", "up")); strings.Count(out.raw, "service-unavailable") != 1 {
					t.Errorf("afterwards: %d %s", out.status, out.raw)
				}
			})
		})
	}
}
