package bosh

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stanzagate/internal/xmpptest"
)

// A replica that drains gives away what others can take: records first, streams cut, requests answered; the next request is
// a takeover. What others cannot take goes on until its time is over.
//
// Covers: BOSH-128.
func TestFailover_8_Drain(t *testing.T) {
	replicated(t, func(t *testing.T) {
		c, one, two := pair(t)
		alice := one.enter("alice", "")
		stays, created := one.open(defaultAttrs) // has not logged in
		server := c.xmpp.Session(aliceFull)
		held := alice.hold("", "")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		drained := make(chan error, 1)
		go func() { drained <- one.h.Drain(ctx) }()
		out := alice.get(held)
		if out.status != http.StatusOK || out.attr("type") != "" || len(out.Nodes) != 0 {
			t.Errorf("held request: %d %s", out.status, out.raw)
		}
		if alice.session() != nil || one.h.Sessions() != 1 || one.counts.tallied() != [4]int{3: 1} {
			t.Errorf("%d sessions, %v", one.h.Sessions(), one.counts.tallied())
		}
		c.xmpp.Deliver(aliceFull, chat("one"))
		moved := alice.to(two)
		if out := moved.say("", ""); strings.Count(out.raw, "one") != 1 {
			t.Errorf("elsewhere: %d %s", out.status, out.raw)
		}
		if strings.Contains(server.Received(), "</stream:stream>") || two.counts.tallied() != [4]int{0: 1} {
			t.Errorf("%v, server got %s", two.counts.tallied(), server.Received())
		}
		if out := alice.post(nil, alice.at(alice.rid+1, "", "")); out.status != http.StatusServiceUnavailable {
			t.Errorf("at the old place: %d %s", out.status, out.raw)
		}
		stays.until(created, "features")
		stays.until(stays.say("", plain("bob", "wrong")), "failure")
		began := time.Now()
		if err := <-drained; !errors.Is(err, context.DeadlineExceeded) || time.Since(began) < 20*time.Second {
			t.Errorf("drained: %v", err)
		}
	})
}

// While the store is away nothing can be given away; it is as soon as the store is back.
func TestFailover_8_DrainWaitsForTheStore(t *testing.T) {
	replicated(t, func(t *testing.T) {
		c, one, two := pair(t)
		b := one.enter("alice", "")
		one.store.goAway()
		drained := make(chan error, 1)
		go func() { drained <- one.h.Drain(t.Context()) }()
		time.Sleep(3 * time.Second)
		if one.h.Sessions() != 1 {
			t.Fatal("it has been given away without a record")
		}
		one.store.comeBack()
		if err := <-drained; err != nil {
			t.Error(err)
		}
		c.xmpp.Deliver(aliceFull, chat("one"))
		if out := b.to(two).say("", ""); strings.Count(out.raw, "one") != 1 {
			t.Errorf("elsewhere: %d %s", out.status, out.raw)
		}
	})
}

// A replica that drains takes no session over.
func TestFailover_8_DrainingReplicaTakesNothing(t *testing.T) {
	replicated(t, func(t *testing.T) {
		_, one, two := pair(t)
		b := one.enter("alice", "")
		one.kill()
		if err := two.h.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if out := b.to(two).say("", ""); out.status != http.StatusServiceUnavailable || two.counts.tallied() != [4]int{} {
			t.Errorf("got %d %s, %v", out.status, out.raw, two.counts.tallied())
		}
	})
}

// The browser ends its session: the server's session ends, the token is worth nothing, the user agent is free, and once
// nobody can ask for its last answer any more the record is gone.
//
// Covers: UP-094, BOSH-123.
func TestFailover_9_NothingIsLeftOfASession(t *testing.T) {
	replicated(t, func(t *testing.T) {
		c, one, _ := pair(t)
		b := one.enter("alice", "")
		last := b.next("type='terminate'", "<presence xmlns='jabber:client' type='unavailable'/>")
		out := b.post(nil, last)
		if out.attr("type") != "terminate" || out.attr("condition") != "" {
			t.Fatalf("got %s", out.raw)
		}
		time.Sleep(time.Second)
		if c.xmpp.Managed(aliceFull) || c.xmpp.Tokens("alice") != 0 || c.slotTaken(0) {
			t.Errorf("server has it %v, %d tokens, slot %v", c.xmpp.Managed(aliceFull), c.xmpp.Tokens("alice"), c.slotTaken(0))
		}
		if again := b.post(nil, last); again.raw != out.raw {
			t.Errorf("repeat: %s", again.raw)
		}
		time.Sleep(time.Minute)
		if c.recorded(b) || len(one.h.registry.all()) != 0 || one.counts.of("fast") != 0 {
			t.Errorf("record %v, %v", c.recorded(b), one.counts.classes)
		}
	})
}

// expiring is a server whose tokens end two hours after the beginning of a bubble.
func expiring() xmpptest.Options {
	xo := resumable()
	xo.SASL2.Expiry = "2000-01-01T02:00:00Z"
	return xo
}

// rest has the browser do nothing but poll for that long.
func (b *browser) rest(d time.Duration) {
	b.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		if out := b.say("", ""); out.status != http.StatusOK || out.attr("type") != "" {
			b.t.Fatalf("got %d %s", out.status, out.raw)
		}
	}
}

// A token is replaced when half of its life is over, and who takes the session over then has the new one.
//
// Covers: UP-091.
func TestFailover_9_TokenIsRenewed(t *testing.T) {
	replicated(t, func(t *testing.T) {
		c := newReplicas(t, expiring())
		one, two := c.join(), c.join()
		b := one.enter("alice", "")
		before := c.xmpp.Accepted()
		b.rest(80 * time.Minute)
		if n := c.xmpp.Accepted() - before; n != 1 {
			t.Errorf("%d connections for it", n)
		}
		one.kill()
		if out := b.to(two).say("", message("nobody@example.org", "up")); !strings.Contains(out.raw, "service-unavailable") {
			t.Errorf("elsewhere: %d %s", out.status, out.raw)
		}
	})
}

// A server that gives no other token is not asked all the time.
func TestFailover_9_TokenIsNotRenewed(t *testing.T) {
	replicated(t, func(t *testing.T) {
		c := newReplicas(t, expiring())
		one := c.join()
		b := one.enter("alice", "")
		c.xmpp.SetFaults(xmpptest.Faults{RefuseToken: "temporary-auth-failure"})
		before := c.xmpp.Accepted()
		b.rest(230 * time.Minute)
		if n := c.xmpp.Accepted() - before; n != 3 {
			t.Errorf("%d attempts in three hours", n)
		}
	})
}
