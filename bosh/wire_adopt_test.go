package bosh

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stanzagate/internal/xmpptest"
	"stanzagate/sessionstore"
)

// A request that reaches another replica when the owner is dead is answered there, within the same HTTP request; what the
// server has of it is not sent again, and repeats get the same answer.
//
// Covers: BOSH-136, BOSH-141, UP-122.
func TestFailover_7_RequestMovesToAnotherReplica(t *testing.T) {
	replicated(t, func(t *testing.T) {
		c, one, two := pair(t)
		b := one.enter("alice", "")
		defer one.store.held("persist")()
		before := c.xmpp.Count(aliceFull).Handled
		lost := b.next("", message("nobody@example.org", "one")+message("nobody@example.org", "two"))
		b.async(lost)
		synctest.Wait()
		if got := c.xmpp.Count(aliceFull).Handled - before; got != 2 {
			t.Fatalf("the server handled %d stanzas", got)
		}
		one.kill()
		moved := b.to(two)
		out := moved.post(nil, lost)
		if strings.Count(out.raw, "service-unavailable") != 2 {
			t.Errorf("got %d %s, %v", out.status, out.raw, out.err)
		}
		if got := c.xmpp.Count(aliceFull).Handled - before; got != 2 {
			t.Errorf("the server handled %d stanzas after the takeover", got)
		}
		if again := moved.post(nil, lost); again.raw != out.raw {
			t.Errorf("repeat: %s, want %s", again.raw, out.raw)
		}
		if two.counts.tallied() != [4]int{0: 1} || two.counts.of("fast") != 1 || two.h.Sessions() != 1 {
			t.Errorf("%v, %v, %d sessions", two.counts.tallied(), two.counts.classes, two.h.Sessions())
		}
	})
}

// A response that the dead replica gave is given once more, with the same stanzas and no others.
//
// Covers: BOSH-136, UP-125.
func TestFailover_7_RepeatOfAnAnswerOfTheDead(t *testing.T) {
	replicated(t, func(t *testing.T) {
		c, one, two := pair(t)
		b := one.enter("alice", "")
		lost := b.next("", "")
		held := b.async(lost)
		synctest.Wait()
		c.xmpp.Deliver(aliceFull, chat("one"))
		b.get(held)
		c.xmpp.Deliver(aliceFull, chat("two"))
		time.Sleep(time.Second)
		one.kill()
		moved := b.to(two)
		if out := moved.post(nil, lost); strings.Count(out.raw, "one") != 1 || strings.Contains(out.raw, "two") {
			t.Errorf("repeat: %d %s", out.status, out.raw)
		}
		if out := moved.say("", ""); strings.Contains(out.raw, "one") || strings.Count(out.raw, "two") != 1 {
			t.Errorf("next: %d %s", out.status, out.raw)
		}
	})
}

// What a replica claims and cannot use is a session that is lost: its browser is told soon, and nothing is left of it.
//
// Covers: BOSH-142.
func TestFailover_7_RecordsThatAreOfNoUse(t *testing.T) {
	for name, spoil := range map[string]func(static, counters string) (string, string){
		"of another transport":        func(s, c string) (string, string) { return strings.Replace(s, `"t":"bosh"`, `"t":"other"`, 1), c },
		"that cannot be read":         func(string, string) (string, string) { return "{", "c1" },
		"of a session before login":   func(_, c string) (string, string) { return `{"t":"bosh"}`, c },
		"with counters of the future": func(s, c string) (string, string) { return s, "c9" + c },
		"without settings":            func(s, c string) (string, string) { return strings.Replace(s, `"o":"`, `"o":"AAAA`, 1), c },
	} {
		t.Run(name, func(t *testing.T) {
			replicated(t, func(t *testing.T) {
				c, one, two := pair(t)
				b := one.enter("alice", "")
				one.kill()
				c.rewrite(b, spoil)
				moved := b.to(two)
				began := time.Now()
				if out := moved.say("", ""); out.attr("condition") != itemNotFound || time.Since(began) > time.Second {
					t.Errorf("got %d %s after %v", out.status, out.raw, time.Since(began))
				}
				time.Sleep(time.Minute)
				if c.recorded(b) || two.h.Sessions() != 0 || len(two.counts.losses()) != 1 || two.counts.losses()[0] != causeRecord {
					t.Errorf("record %v, %d sessions, lost %v", c.recorded(b), two.h.Sessions(), two.counts.losses())
				}
			})
		})
	}
}

// rewrite changes a record whose owner is dead.
func (c *replicas) rewrite(b *browser, change func(static, counters string) (string, string)) {
	c.t.Helper()
	ctx := c.t.Context()
	view := c.view("vandal", "v1", "96")
	got, err := view.Claim(ctx, c.key(b), sessionstore.Claim{})
	if err != nil {
		c.t.Fatal(err)
	}
	static, counters := change(string(got.Static), got.Counters)
	if static == string(got.Static) && counters == got.Counters {
		c.t.Fatalf("nothing changed in %s, %s", static, counters)
	}
	if err := view.Update(ctx, got.Hold, []byte(static), time.Hour); err != nil {
		c.t.Fatal(err)
	}
	if err := view.Persist(ctx, got.Hold, sessionstore.Counters{Seq: 1, Data: counters, TTL: time.Hour}); err != nil {
		c.t.Fatal(err)
	}
	if err := view.Release(ctx, got.Hold); err != nil {
		c.t.Fatal(err)
	}
}

// A server that cannot be reached yet does not end the session that was taken over.
//
// Covers: UP-008, UP-070.
func TestFailover_7_ServerAwayDuringTheTakeover(t *testing.T) {
	replicated(t, func(t *testing.T) {
		_, one, two := pair(t)
		b := one.enter("alice", "")
		one.kill()
		two.lines.sever(true)
		moved := b.to(two)
		held := moved.hold("", message("nobody@example.org", "up"))
		time.Sleep(20 * time.Second)
		if n := two.lines.attempts(); n < 3 || n > 20 {
			t.Errorf("%d attempts", n)
		}
		two.lines.accept()
		if out := moved.get(held); !strings.Contains(out.raw, "service-unavailable") {
			t.Errorf("got %d %s", out.status, out.raw)
		}
	})
}

// The server does not let the new owner in, or has forgotten the session: it is lost, and its credential is of no more use.
//
// Covers: UP-069, UP-093, UP-094.
func TestFailover_7_ServerRefusesTheTakeover(t *testing.T) {
	for cause, fault := range map[string]xmpptest.Faults{
		causeServer: {RefuseResume: "<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"},
		causeSignIn: {RefuseToken: "credentials-expired"},
	} {
		t.Run(cause, func(t *testing.T) {
			replicated(t, func(t *testing.T) {
				c, one, two := pair(t)
				b := one.enter("alice", "")
				one.kill()
				c.xmpp.SetFaults(fault)
				moved := b.to(two)
				if out := moved.say("", ""); out.attr("condition") != itemNotFound {
					t.Errorf("got %d %s", out.status, out.raw)
				}
				if got := two.counts.losses(); len(got) != 1 || got[0] != cause {
					t.Errorf("causes %q", got)
				}
				time.Sleep(3 * time.Minute)
				if c.recorded(b) || c.slotTaken(0) || two.h.Sessions() != 0 || len(two.h.registry.all()) != 0 {
					t.Errorf("record %v, slot %v, %d sessions", c.recorded(b), c.slotTaken(0), two.h.Sessions())
				}
				if n := c.xmpp.Tokens("alice"); n != 0 && cause == causeServer {
					t.Errorf("%d tokens are left", n)
				}
			})
		})
	}
}

// The store goes away between the claim and <resume/>, for so long that sessions go on without it: the session is not lost.
//
// Covers: UP-127.
func TestFailover_8_StoreAwayDuringTheTakeover(t *testing.T) {
	replicated(t, func(t *testing.T) {
		_, one, two := pair(t)
		b := one.enter("alice", "")
		one.kill()
		two.store.set(func(f *faultyStore) { f.claimed = func() { f.away, f.claimed = time.Now(), nil } })
		moved := b.to(two)
		lost := moved.next("", message("nobody@example.org", "up"))
		held := moved.async(lost)
		for time.Since(two.store.since()) < 90*time.Second { // what goes on without the store begins meanwhile
			if out := moved.get(held); out.err == nil && out.status != http.StatusServiceUnavailable {
				t.Fatalf("got %d %s after %v, %v %v", out.status, out.raw, time.Since(two.store.since()), two.counts.losses(), two.counts.tallied())
			}
			time.Sleep(time.Second)
			held = moved.async(lost)
		}
		two.store.comeBack()
		if out := moved.get(held); !strings.Contains(out.raw, "service-unavailable") {
			t.Errorf("got %d %s", out.status, out.raw)
		}
	})
}

// Covers: BOSH-183.
func TestFailover_7_SameAddress(t *testing.T) {
	replicated(t, func(t *testing.T) {
		_, one, two := pair(t, func(cfg *Config) { cfg.SameAddress = true })
		b := one.enter("alice", "")
		one.kill()
		moved := b.to(two)
		stranger := moved.altered(from("192.0.2.77"))
		if out := stranger.say("", message("nobody@example.org", "evil")); out.err == nil {
			t.Errorf("a stranger got %d %s", out.status, out.raw)
		}
		if out := moved.say("", message("nobody@example.org", "up")); strings.Count(out.raw, "service-unavailable") != 1 {
			t.Errorf("got %d %s", out.status, out.raw)
		}
	})
}

// Covers: BOSH-177.
func TestFailover_7_SecureSessionsStaySecure(t *testing.T) {
	replicated(t, func(t *testing.T) {
		_, one, two := pair(t)
		b := one.loginWith((&browser{rig: one.rig}).altered(encrypted).client, "alice", defaultAttrs)
		one.kill()
		moved := b.to(two)
		if out := moved.to(two).say("", message("nobody@example.org", "evil")); out.err == nil {
			t.Errorf("in the clear: %d %s", out.status, out.raw)
		}
		if out := moved.altered(encrypted).say("", message("nobody@example.org", "up")); strings.Count(out.raw, "service-unavailable") != 1 {
			t.Errorf("got %d %s", out.status, out.raw)
		}
	})
}

// A session that is taken over may open further streams. What others can listen to they still can.
//
// Covers: UP-051.
func TestFailover_7_ExposedSessionsStayExposed(t *testing.T) {
	replicated(t, func(t *testing.T) {
		_, one, two := pair(t)
		far := from("192.0.2.77")
		b, out := one.openWith((&browser{rig: one.rig}).altered(far).client, defaultAttrs)
		b.scram("alice", out)
		one.kill()
		moved := b.to(two).altered(far)
		if out := moved.say("", message("nobody@example.org", "up")); !strings.Contains(out.raw, "service-unavailable") {
			t.Fatalf("got %d %s", out.status, out.raw)
		}
		if !moved.session().exposed {
			t.Error("what is said in the clear counts as secret")
		}
	})
}

// scram logs in without a password that others could read.
func (b *browser) scram(user string, out reply) {
	b.t.Helper()
	sasl := func(name, more, text string) string {
		return "<" + name + " xmlns='urn:ietf:params:xml:ns:xmpp-sasl'" + more + ">" + base64.StdEncoding.EncodeToString([]byte(text)) + "</" + name + ">"
	}
	b.until(out, "features")
	b.until(b.say("", sasl("auth", " mechanism='SCRAM-SHA-1'", "n,,n="+user+",r=x")), "challenge")
	b.until(b.say("", sasl("response", "", "c=biws,r=x,p=x")), "success")
	b.until(b.say(restartAttrs, ""), "features")
	b.bind()
}
