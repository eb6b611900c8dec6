package bosh

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stanzagate/internal/xmpptest"
	"stanzagate/upstream"
)

// The connection to the server breaks, and the browser does not notice: what came meanwhile is delivered, once.
//
// Covers: UP-068, UP-072.
func TestFailover_7_ResumedInPlace(t *testing.T) {
	replicated(t, func(t *testing.T) {
		c, one, _ := pair(t)
		b := one.enter("alice", "")
		held := b.hold("", "")
		synctest.Wait()
		c.xmpp.Deliver(aliceFull, chat("one"))
		if out := b.get(held); !strings.Contains(out.raw, "one") {
			t.Fatalf("got %s", out.raw)
		}
		held = b.hold("", "")
		synctest.Wait()
		one.lines.sever(true)
		synctest.Wait()
		c.xmpp.Deliver(aliceFull, chat("two"))
		time.Sleep(20 * time.Second)
		one.lines.accept()
		if out := b.get(held); strings.Count(out.raw, "two") != 1 || strings.Contains(out.raw, "one") {
			t.Errorf("got %d %s", out.status, out.raw)
		}
		if got := one.counts.tallied(); got != [4]int{1: 1} || len(one.counts.losses()) > 0 || one.counts.of("fast") != 1 {
			t.Errorf("%v, %v, %v", got, one.counts.losses(), one.counts.classes)
		}
		if got := c.xmpp.Session(aliceFull).Received(); strings.Contains(got, "<presence") || strings.Contains(got, "<iq") {
			t.Errorf("more than was asked for: %s", got)
		}
	})
}

// What was being written when the connection broke is written again as far as the server lacks it.
//
// Covers: UP-063, UP-067, UP-122.
func TestFailover_7_WrittenOnceInPlace(t *testing.T) {
	for name, fault := range map[string]xmpptest.Faults{"the server has it": {NoAcks: true}, "it was not written": {}} {
		t.Run(name, func(t *testing.T) {
			replicated(t, func(t *testing.T) {
				c, one, _ := pair(t)
				b := one.enter("alice", "")
				before := c.xmpp.Count(aliceFull).Handled
				c.xmpp.SetFaults(fault)
				release := func() {}
				if !fault.NoAcks {
					release = one.lines.stall()
				}
				first := b.hold("", message("nobody@example.org", "one"))
				synctest.Wait()
				second := b.hold("", message("nobody@example.org", "two")+message("nobody@example.org", "three"))
				synctest.Wait()
				one.lines.sever(false)
				c.xmpp.SetFaults(xmpptest.Faults{})
				release()
				answers := b.get(first).raw
				if strings.Count(answers, "service-unavailable") < 3 {
					answers += b.get(second).raw
				}
				if got := strings.Count(answers, "service-unavailable"); got != 3 {
					t.Errorf("%d answers in %s", got, answers)
				}
				if got := c.xmpp.Count(aliceFull).Handled - before; got != 3 {
					t.Errorf("the server handled %d stanzas", got)
				}
			})
		})
	}
}

// A server forgets the state of the client with its connection, so it is told again.
func TestFailover_7_ClientStateIsToldAgain(t *testing.T) {
	replicated(t, func(t *testing.T) {
		c, one, two := pair(t)
		b := one.enter("alice", "")
		b.hold("", "<inactive xmlns='urn:xmpp:csi:0'/>")
		synctest.Wait()
		held := b.hold("", "") // has the state stored, as it is answered later
		synctest.Wait()
		one.lines.sever(false)
		time.Sleep(time.Second)
		server := c.xmpp.Session(aliceFull)
		c.xmpp.Deliver(aliceFull, chat("one"))
		b.get(held)
		if strings.Count(server.Received(), "<inactive xmlns='urn:xmpp:csi:0'/>") != 1 {
			t.Errorf("in place: the server got %s", server.Received())
		}
		one.kill()
		b.to(two).hold("", "")
		time.Sleep(time.Second)
		if server := c.xmpp.Session(aliceFull); strings.Count(server.Received(), "<inactive xmlns='urn:xmpp:csi:0'/>") != 1 {
			t.Errorf("elsewhere: the server got %s", server.Received())
		}
	})
}

// The server has forgotten the session when its connection broke: the browser has to log in again, and nothing is left.
//
// Covers: UP-069, UP-094.
func TestFailover_7_NotResumedInPlace(t *testing.T) {
	replicated(t, func(t *testing.T) {
		c, one, _ := pair(t)
		b := one.enter("alice", "")
		held := b.hold("", "")
		synctest.Wait()
		c.xmpp.Forget(aliceFull)
		one.lines.sever(false)
		if out := b.get(held); out.attr("type") != "terminate" || out.attr("condition") != itemNotFound {
			t.Errorf("got %d %s", out.status, out.raw)
		}
		time.Sleep(time.Minute)
		if got := one.counts.losses(); len(got) != 1 || got[0] != causeServer || c.xmpp.Tokens("alice") != 0 || c.slotTaken(0) || c.recorded(b) {
			t.Errorf("%v, %d tokens, slot %v, record %v", got, c.xmpp.Tokens("alice"), c.slotTaken(0), c.recorded(b))
		}
	})
}

// A write that fails late, when the stream goes on over another connection, does not turn the flow control off.
//
// Covers: BOSH-080.
func TestFailover_7_LateFailureOfAWrite(t *testing.T) {
	replicated(t, func(t *testing.T) {
		_, one, _ := pair(t)
		b := one.enter("alice", "")
		f := b.session().feedOf(0)
		one.lines.sever(true)
		time.Sleep(time.Second)
		err := f.stream.Send([]byte("<message xmlns='jabber:client'/>"))
		if !errors.Is(err, upstream.ErrInterrupted) {
			t.Fatal(err)
		}
		one.lines.accept()
		time.Sleep(time.Minute)
		f.fail(err)
		b.session().mu.Lock()
		defer b.session().mu.Unlock()
		if f.failed {
			t.Error("the new connection counts as broken")
		}
	})
}
