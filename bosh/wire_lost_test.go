package bosh

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stanzagate/sessionstore"
)

// Whatever waits to be written when the session turns out to be another replica's is not written any more.
//
// Covers: UP-127.
func TestFailover_7_NothingIsWrittenAfterTheLoss(t *testing.T) {
	replicated(t, func(t *testing.T) {
		c, one, _ := pair(t)
		b := one.enter("alice", "")
		server := c.xmpp.Session(aliceFull)
		release := one.lines.stall()
		first := b.hold("", message("nobody@example.org", "one"))
		synctest.Wait()
		second := b.hold("", message("nobody@example.org", "two"))
		synctest.Wait()
		c.thief(b) // the store tells of it
		began := time.Now()
		for _, held := range []<-chan reply{first, second} {
			if out := b.get(held); out.err == nil {
				t.Errorf("answered: %d %s", out.status, out.raw)
			}
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it stopped after %v", took)
		}
		release()
		time.Sleep(time.Minute)
		if got := server.Received(); strings.Contains(got, ">one<") || strings.Contains(got, ">two<") || strings.Contains(got, "</stream:stream>") {
			t.Errorf("the server got %s", got)
		}
	})
}

// The session is lost in the moment in which it is taken over: its new owner is left alone.
//
// Covers: UP-127.
func TestFailover_7_LostWhileTakenOver(t *testing.T) {
	for name, arm := range map[string]func(c *replicas, b *browser, two *oneReplica){
		"before it is known": func(c *replicas, b *browser, two *oneReplica) {
			two.store.set(func(f *faultyStore) { f.claimed = func() { f.claimed = nil; c.thief(b) } })
		},
		"while it is set up": func(c *replicas, b *browser, two *oneReplica) {
			two.counts.onStart = func() {
				c.thief(b)
				go two.h.registry.get(keyOf(b.sid)).Lost(sessionstore.ErrNotOwner)
			}
		},
		"before the stream is resumed": func(c *replicas, b *browser, two *oneReplica) {
			two.counts.onStart = func() { time.AfterFunc(10*time.Millisecond, func() { c.thief(b) }) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			replicated(t, func(t *testing.T) {
				c, one, two := pair(t)
				b := one.enter("alice", "")
				one.kill()
				arm(c, b, two)
				moved := b.to(two)
				out := moved.say("", message("nobody@example.org", "up"))
				if out.err == nil && out.status != http.StatusServiceUnavailable {
					t.Errorf("answered: %d %s", out.status, out.raw)
				}
				time.Sleep(3 * time.Minute)
				if two.h.Sessions() != 0 || len(two.h.registry.all()) != 0 || two.counts.of("fast") != 0 || two.counts.tallied() != [4]int{2: 1} {
					t.Errorf("%d sessions, %v, %v", two.h.Sessions(), two.counts.classes, two.counts.tallied())
				}
				if !c.xmpp.Managed(aliceFull) || c.xmpp.Tokens("alice") != 1 || !c.slotTaken(0) {
					t.Errorf("server has it %v, %d tokens, slot %v", c.xmpp.Managed(aliceFull), c.xmpp.Tokens("alice"), c.slotTaken(0))
				}
			})
		})
	}
}

// The session is lost while its end waits for the store: then there is no end (failover-design 6).
//
// Covers: UP-127.
func TestFailover_7_LostWhileItEnds(t *testing.T) {
	replicated(t, func(t *testing.T) {
		c, one, _ := pair(t)
		b := one.enter("alice", "")
		server := c.xmpp.Session(aliceFull)
		release := one.store.held("persist")
		end := b.hold("type='terminate'", "")
		time.Sleep(time.Second)
		c.thief(b)
		release()
		if out := b.get(end); out.err == nil {
			t.Errorf("answered: %d %s", out.status, out.raw)
		}
		time.Sleep(3 * time.Minute)
		if strings.Contains(server.Received(), "</stream:stream>") || c.xmpp.Tokens("alice") != 1 || !c.slotTaken(0) || !c.recorded(b) {
			t.Errorf("%d tokens, slot %v, record %v, server got %s", c.xmpp.Tokens("alice"), c.slotTaken(0), c.recorded(b), server.Received())
		}
		if got := one.counted.endings(); len(got) != 1 || one.h.Sessions() != 0 || one.counts.of("fast") != 0 {
			t.Errorf("counted %q, %v", got, one.counts.classes)
		}
	})
}

// The session is lost while its first record that others could use is being written.
func TestFailover_7_LostWhileLoggingIn(t *testing.T) {
	replicated(t, func(t *testing.T) {
		c, one, _ := pair(t)
		b, out := one.open(defaultAttrs)
		b.signIn("alice", out)
		release := one.store.held("update")
		held := b.hold("", bindRequest)
		synctest.Wait()
		c.thief(b)
		time.Sleep(time.Second)
		release()
		if out := b.get(held); out.err == nil {
			t.Errorf("answered: %d %s", out.status, out.raw)
		}
		time.Sleep(time.Minute)
		if one.h.Sessions() != 0 || len(one.h.registry.all()) != 0 || one.counts.of("fast")+one.counts.of("none") != 0 {
			t.Errorf("%d sessions, %v", one.h.Sessions(), one.counts.classes)
		}
	})
}

// A session that ends while it is decided what it is worth does not count as one.
func TestFailover_3_EndedWhileLoggingIn(t *testing.T) {
	replicated(t, func(t *testing.T) {
		c, one, _ := pair(t)
		b, out := one.open(defaultAttrs)
		b.signIn("alice", out)
		release := one.store.held("update")
		held := b.hold("", bindRequest)
		synctest.Wait()
		if out := b.post(nil, b.at(b.rid+100, "", "")); out.attr("condition") != itemNotFound {
			t.Errorf("got %s", out.raw)
		}
		b.get(held)
		release()
		time.Sleep(time.Minute)
		if one.counts.of("fast") != 0 || c.xmpp.Managed(aliceFull) || c.xmpp.Tokens("alice") != 0 || c.slotTaken(0) || c.recorded(b) {
			t.Errorf("%v, server has it %v, %d tokens, slot %v, record %v", one.counts.classes, c.xmpp.Managed(aliceFull), c.xmpp.Tokens("alice"), c.slotTaken(0), c.recorded(b))
		}
	})
}

// A creation request that meets the end of the service is to be tried elsewhere.
//
// Covers: BOSH-017.
func TestShutdownMeetsACreation(t *testing.T) {
	replicated(t, func(t *testing.T) {
		l := &secretLog{}
		c, one, _ := pair(t, func(cfg *Config) { cfg.Log = l.logger() })
		one.counts.onStart = func() {
			for _, s := range one.h.registry.all() {
				s.shutdown()
			}
		}
		b, out := one.open(defaultAttrs)
		if out.status != http.StatusServiceUnavailable {
			t.Errorf("got %d %s", out.status, out.raw)
		}
		time.Sleep(time.Second)
		if strings.Contains(l.String(), panicMessage+`"`) {
			t.Errorf("logged %s", l.String())
		}
		if one.h.Sessions() != 0 || len(one.h.registry.all()) != 0 || b.sid != "" || c.xmpp.Accepted() != 0 {
			t.Errorf("%d sessions, %d connections", one.h.Sessions(), c.xmpp.Accepted())
		}
	})
}

// The server learns, with the last words, what the browser has, so that it delivers nothing of that again elsewhere.
//
// Covers: UP-065.
func TestFailover_6_LastWords(t *testing.T) {
	replicated(t, func(t *testing.T) {
		c, one, _ := pair(t)
		b := one.enter("alice", "ack='1'")
		server := c.xmpp.Session(aliceFull)
		held := b.hold("", "")
		synctest.Wait()
		c.xmpp.Deliver(aliceFull, chat("one"))
		b.get(held)
		if out := b.say("type='terminate'", ""); out.attr("type") != "terminate" {
			t.Errorf("got %s", out.raw)
		}
		time.Sleep(time.Second)
		if got := server.Received(); !strings.HasSuffix(got, " h='1'/></stream:stream>") {
			t.Errorf("the server got %s", got)
		}
	})
}
