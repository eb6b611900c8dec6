package bosh

import (
	"fmt"
	"testing"
	"time"
)

// managedProbe is a session on a server that counts stanzas and lets another connection resume the stream. The browser
// has its bind result: rid 1002 proved that.
func managedProbe(t testing.TB, changes ...func(*request)) *probe {
	p := newProbe(t, managedConfig(), append([]func(*request){confirming}, changes...)...).login()
	p.send(1001, stanzas("<bind/>"))
	p.manage(true)
	p.deliver(0, "!<bound/>")
	p.send(1002)
	return p
}

// takeOver makes another replica's machine out of what the store has.
func (p *probe) takeOver() *probe {
	p.t.Helper()
	if len(p.records) == 0 {
		p.t.Fatal("nothing was saved")
	}
	q := idleProbe(p.t, p.config)
	q.clock, q.counted = p.clock, true
	m, e, err := restoreMachine(q.clock, &q.config, "sid", p.names, p.m.settings(), p.lastRecord())
	if err != nil {
		p.t.Fatal(err)
	}
	q.m = m
	q.took(e)
	return q
}

// resume reports that the stream goes on; the server has handled h stanzas.
func (p *probe) resume(h uint32) {
	p.t.Helper()
	p.m.resumeFrom()
	p.took(p.m.resumed(p.clock, h))
}

// restored is a replica that took over from p at rest.
func restored(t testing.TB, p *probe, h uint32) *probe {
	t.Helper()
	q := p.takeOver()
	q.resume(h)
	q.pass(time.Second)
	return q
}

// Covers: BOSH-136, UP-125.
func TestFailover_7_RepeatsGetTheSameStanzas(t *testing.T) {
	p := managedProbe(t)
	p.deliver(0, "<m1/>", "<m2/>") // 1002
	x := p.send(1003, acking(1001))
	p.deliver(0, "<m3/>")
	p.expect(x, "<m3/>")
	q := p.takeOver()
	lost := q.send(1002)
	q.open(lost)
	q.resume(0)
	q.open(lost)
	q.deliver(0, "<m1 again='1'/>")
	q.open(lost)
	q.deliver(0, "<m2/>", "<m3/>", "<m4/>")
	q.expect(lost, "<m1 again='1'/> <m2/>")
	q.expect(q.send(1002), "<m1 again='1'/> <m2/>")
	q.expect(q.send(1003, acking(1001)), "<m3/>")
	q.expect(q.send(1004, acking(1003)), "<m4/>")
}

// Covers: UP-122, BOSH-141.
func TestFailover_7_WhatTheServerHasIsSkipped(t *testing.T) {
	for handled := range 6 {
		t.Run(fmt.Sprint(handled), func(t *testing.T) {
			p := managedProbe(t)
			p.deliver(0, "<m/>")                         // 1002 is answered
			p.send(1003, stanzas("<a/>", "<b/>"))        // never answered
			p.send(1004, stanzas("<c/>"), csi("active")) // nor this
			q := p.takeOver()
			y := q.send(1004, stanzas("<c/>"), csi("active"))
			x := q.send(1003, stanzas("<a/>", "<b/>"))
			q.sent("")
			q.resume(uint32(handled))
			skip := func(n int) string {
				if n == 0 {
					return ""
				}
				return fmt.Sprintf(" skip %d", n)
			}
			q.sent(fmt.Sprintf("1003:%s <a/> <b/>; 1004:%s <c/> <active/>", skip(min(2, handled)), skip(min(1, max(0, handled-2)))))
			q.acked(3)
			q.expect(x, "empty")
			q.open(y)
			if q.m.sm.up != 3 {
				t.Errorf("%d stanzas counted", q.m.sm.up)
			}
		})
	}
}

// Covers: UP-122.
func TestFailover_7_SkippingGoesOneByOne(t *testing.T) {
	p := managedProbe(t)
	p.deliver(0, "<m/>")
	q := p.takeOver()
	q.slow = true
	q.send(1003, stanzas("<a/>", "<b/>"))
	q.send(1004, stanzas("<c/>"))
	q.resume(3)
	q.sent("1003: skip 2 <a/> <b/>")
	q.took(q.m.forwarded(q.clock, 1003, 1)) // one of them was answered by Admit
	q.sent("1003: skip 2 <a/> <b/>; 1004: skip 1 <c/>")
}

// Covers: BOSH-017.
func TestFailover_7_ResumptionThatTakesTooLong(t *testing.T) {
	p := managedProbe(t)
	p.deliver(0, "<m/>")
	q := p.takeOver()
	x, y := q.send(1002), q.send(1003, acking(1001))
	q.pass(70 * time.Second)
	q.expect(x, "503")
	q.expect(y, "503")
}

// Covers: XBOSH-019.
func TestFailover_7_ResumptionRefused(t *testing.T) {
	p := managedProbe(t)
	q := p.takeOver()
	x := q.send(1002)
	q.took(q.m.ended(q.clock, 0, cause{kind: causeLost}))
	q.expect(x, "terminate item-not-found")
	q.ended("item-not-found")
	q.expect(q.send(1003), "terminate item-not-found")
}

// Browsers that act on answers as they come get the old ones first.
//
// Covers: BOSH-073.
func TestFailover_12_NewStanzasWaitForRepeats(t *testing.T) {
	p := managedProbe(t)
	p.deliver(0, "<m/>") // 1002; whether it has arrived is not known
	q := p.takeOver()
	q.resume(0)
	q.deliver(0, "<m/>", "<n/>")
	x := q.send(1003, acking(1001))
	q.open(x)
	y := q.send(1002)
	q.expect(y, "<m/>")
	q.expect(x, "<n/>")

	q = p.takeOver()
	q.resume(0)
	q.deliver(0, "<m/>", "<n/>")
	x = q.send(1003, acking(1001))
	q.pass(990 * time.Millisecond)
	q.open(x)
	q.pass(10 * time.Millisecond)
	q.expect(x, "<n/>")
}

// Covers: UP-127.
func TestFailover_7_4_StandDownIsSilent(t *testing.T) {
	p := managedProbe(t)
	x := p.send(1003)
	p.took(p.m.standDown(p.clock))
	p.expect(x, "nothing")
	p.closed("0 cut")
	if !p.forgot || p.end == nil || !p.end.keep {
		t.Errorf("forgotten %v, end %+v", p.forgot, p.end)
	}

	p = managedProbe(t)
	x = p.send(1003, stanzas("<a/>"))
	p.unsaved = true
	p.acked(1)
	p.took(p.m.saved(p.clock, p.records[len(p.records)-1].n, false))
	p.closed("0 cut")
	if !p.forgot {
		t.Error("a refused record is not the end")
	}
	_ = x
}

// Covers: UP-067.
func TestFailover_7_CSIIsToldAgain(t *testing.T) {
	p := managedProbe(t)
	p.send(1003, csi("active"))
	p.send(1004, csi("inactive"))
	p.send(1005)
	q := p.takeOver()
	q.m.resumeFrom()
	if e := q.m.resumed(q.clock, 0); e.csi != csiInactive {
		t.Errorf("csi %v", e.csi)
	}
}

// After forget nothing has effects any more.
//
// Covers: BOSH-122.
func TestEventsAfterForget(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	p.pass(31 * time.Second)
	if !p.forgot {
		t.Fatal("not forgotten")
	}
	m, now := p.m, p.clock
	for i, e := range []effects{
		m.request(now, 9, &request{rid: 1001}), m.refused(now, 9, "bad-request"), m.gone(now, 1), m.opened(now, 0, streamHeader{}),
		m.openFailed(now, 0, ""), m.delivered(now, 0, []element{{raw: []byte("<m/>")}}), m.forwarded(now, 1001, 1), m.acked(now, 1),
		m.ackRequested(now), m.enabled(now, true), m.saved(now, 1, false), m.resumed(now, 1), m.ended(now, 0, cause{}), m.tick(now),
		m.drain(now), m.shutdown(now), m.standDown(now),
	} {
		if len(e.answer)+len(e.forward)+len(e.open)+len(e.close)+len(e.bounce) > 0 || e.save != nil || e.end != nil || e.forget ||
			e.ackUpstream || !e.next.IsZero() {
			t.Errorf("event %d has effects: %+v", i, e)
		}
	}
}

// Covers: UP-061.
func TestFailover_7_NothingIsAcknowledgedWhileResuming(t *testing.T) {
	p := managedProbe(t)
	p.deliver(0, "<m/>")
	p.m.resumeFrom()
	p.send(1003)
	p.deliver(0, "<n/>") // answers 1003; the store knows that <m/> has arrived
	p.took(p.m.ackRequested(p.clock))
	if len(p.acks) > 0 {
		t.Fatalf("acks %v", p.acks)
	}
	p.took(p.m.resumed(p.clock, 0))
	if len(p.acks) != 1 || p.acks[0] != 1 {
		t.Fatalf("acks %v", p.acks)
	}
}

// A request without payload in front of one that is to be skipped in part.
//
// Covers: UP-122.
func TestFailover_7_SkippingBehindAnEmptyRequest(t *testing.T) {
	p := managedProbe(t)
	p.deliver(0, "<m/>")
	q := p.takeOver()
	q.send(1004, stanzas("<a/>"), acking(1002))
	q.resume(1)
	q.send(1003, acking(1002))
	q.sent("1004: skip 1 <a/>")
}

// A copy that was stuck in a frozen replica comes late and takes the place of the request that the browser waits for: that one
// must not get what browsers take for an answer, or they never ask for what they miss.
//
// Covers: BOSH-137, UP-125.
func TestFailover_6_OlderCopiesTakeNoAnswerAway(t *testing.T) {
	before := newProbe(t, managedConfig()).login()
	x := before.send(1001)
	y := before.send(1001)
	before.expect(x, "503")
	before.deliver(0, "<challenge/>")
	before.expect(y, "<challenge/>")

	p := managedProbe(t)
	x = p.m.win.at(1002).x
	p.send(1002)
	p.expect(x, "503")

	p.deliver(0, "<m/>", "<n/>") // into 1002
	q := p.takeOver()
	x = q.send(1002)
	y = q.send(1002)
	q.expect(x, "503")
	q.resume(0)
	q.deliver(0, "<m/>")
	q.open(y)
	q.deliver(0, "<n/>")
	q.expect(y, "<m/> <n/>")
}

// What waits behind a gap is in this replica alone, so its browser has to repeat it: 503, which nobody takes for an answer.
//
// Covers: BOSH-134, UP-122.
func TestFailover_6_GapsAreNoAnswers(t *testing.T) {
	p := managedProbe(t)
	x := p.send(1004, stanzas("<a/>"))
	p.pass(p.m.set.wait - time.Second)
	p.open(x)
	p.pass(time.Second)
	p.expect(x, "503")
	y := p.send(1004, stanzas("<a/>"))
	p.open(y)
	p.send(1003)
	p.sent("1001: <bind/>; 1004: <a/>")
}

// Covers: XBOSH-019.
func TestFailover_7_RepeatsOfASessionThatIsLost(t *testing.T) {
	p := managedProbe(t)
	p.deliver(0, "<m/>")
	q := p.takeOver()
	x := q.send(1002)
	q.took(q.m.ended(q.clock, 0, cause{kind: causeLost}))
	q.expect(x, "terminate item-not-found")
	q.expect(q.send(1002), "terminate item-not-found")
	q.expect(q.send(1003), "terminate item-not-found")
}
