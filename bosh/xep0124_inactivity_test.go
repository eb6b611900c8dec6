package bosh

import (
	"testing"
	"time"
)

// XEP-0124 §10: inactivity and pauses.

// Covers: BOSH-093, BOSH-094, BOSH-100.
func TestXEP0124_10_InactiveSessionEnds(t *testing.T) {
	p := newProbe(t, testConfig(), waiting(20)).login()
	x := p.send(1001)
	p.pass(20 * time.Second)
	p.expect(x, "empty")
	p.pass(29900 * time.Millisecond)
	p.alive()
	p.pass(100 * time.Millisecond)
	p.ended("")
	p.closed("0 clean")
	if !p.forgot {
		t.Error("later requests would not be answered as for an unknown session")
	}
	if n := len(p.answers); n != 2 {
		t.Errorf("%d answers", n)
	}
}

// Covers: BOSH-095.
func TestXEP0124_10_HeldRequestKeepsTheSession(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	x := p.send(1001)
	p.pass(59 * time.Second)
	p.open(x)
	p.alive()
}

// Covers: BOSH-095, BOSH-018.
func TestXEP0124_10_BrokenRequestDoesNot(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	x := p.send(1001)
	p.pass(10 * time.Second)
	p.took(p.m.gone(p.clock, x))
	p.deliver(0, "<m/>")
	p.open(x)
	p.pass(29 * time.Second)
	p.alive()
	p.pass(time.Second)
	p.ended("")
	p.open(x)
}

// Covers: BOSH-018.
func TestXEP0124_14_3_RepeatTakesThePlaceOfABrokenRequest(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	x := p.send(1001, stanzas("<a/>"))
	p.took(p.m.gone(p.clock, x))
	p.deliver(0, "<m/>")
	y := p.send(1001, stanzas("<a/>"))
	p.open(x)
	p.expect(y, "<m/>")
	p.sent("1001: <a/>")
	p.took(p.m.gone(p.clock, x)) // late
	p.took(p.m.gone(p.clock, y))
}

// Covers: BOSH-093.
func TestXEP0124_10_AnyRequestIsActivity(t *testing.T) {
	p := newProbe(t, testConfig(), holding(0)).login()
	p.send(1001)
	for range 20 {
		p.pass(25 * time.Second)
		p.send(1001) // a repeat
	}
	p.alive()
}

// Covers: BOSH-096, BOSH-097.
func TestXEP0124_10_InactivityIsAdvertised(t *testing.T) {
	if c := createdBy(t, testConfig()); c.inactivity != 30*time.Second {
		t.Errorf("got %v", c.inactivity)
	}
}

// Covers: BOSH-098.
func TestXEP0124_12_PollingSessionsGetMoreTime(t *testing.T) {
	for _, change := range []func(*request){waiting(0), holding(0)} {
		config := testConfig()
		if c := createdBy(t, config, change); c.inactivity <= config.inactivity+config.polling {
			t.Errorf("got %v", c.inactivity)
		}
	}
}

// Covers: BOSH-099.
func TestXEP0124_10_AnotherReplicaEndsTheSession(t *testing.T) {
	p := managedProbe(t)
	q := p.takeOver()
	q.resume(0)
	q.pass(29 * time.Second)
	q.alive()
	q.pass(time.Second)
	q.ended("")
	q.closed("0 clean")
}

// Covers: BOSH-101, BOSH-102, BOSH-103.
func TestXEP0124_10_Pause(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	x := p.send(1001)
	y := p.send(1002, pausing(100))
	p.expect(x, "empty")
	p.expect(y, "empty")
	p.deliver(0, "<a/>", "<b/>")
	p.pass(99 * time.Second)
	p.alive()
	z := p.send(1003)
	p.expect(z, "<a/> <b/>")
	p.pass(29 * time.Second)
	p.alive()
	p.pass(time.Second)
	p.ended("")
}

// Covers: BOSH-101.
func TestXEP0124_10_PauseEnds(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	p.send(1001, pausing(100))
	p.pass(99900 * time.Millisecond)
	p.alive()
	p.pass(100 * time.Millisecond)
	p.ended("")
}

// Covers: BOSH-102.
func TestXEP0124_10_PauseAnswerHasNoPayload(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	p.deliver(0, "<a/>", "<b/>")
	p.expect(p.send(1001, pausing(60)), "empty")
	p.expect(p.send(1002), "<a/> <b/>")
}

// Covers: BOSH-104.
func TestXEP0124_10_ShortPauses(t *testing.T) {
	for _, seconds := range []int{0, 1, 30, 120} {
		p := newProbe(t, testConfig()).login()
		x := p.send(1001)
		y := p.send(1002, pausing(seconds))
		p.expect(x, "empty")
		p.expect(y, "empty")
		p.pass(time.Duration(seconds)*time.Second - 1)
		if seconds > 0 {
			p.alive()
		}
		p.pass(2)
		p.ended("")
	}
}

// Covers: BOSH-105.
func TestXEP0124_10_PauseTooLong(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	p.expect(p.send(1001, pausing(121)), "terminate policy-violation")
	p.ended("policy-violation")
}

// Covers: BOSH-106.
func TestXEP0124_10_PauseNotOffered(t *testing.T) {
	config := testConfig()
	config.maxpause = 0
	p := newProbe(t, config).login()
	x := p.send(1001, pausing(500))
	p.open(x)
	p.deliver(0, "<m/>")
	p.expect(x, "<m/>")
	p.pass(30 * time.Second)
	p.ended("")
}

// Covers: BOSH-107, BOSH-135.
func TestXEP0124_14_3_PauseIsRepeatedEmpty(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	first := p.send(1001)
	p.deliver(0, "<m/>")
	p.expect(first, "<m/>")
	for range 2 {
		p.expect(p.send(1002, pausing(60)), "empty")
		p.deliver(0, "<n/>")
	}
	p.expect(p.send(1001), "<m/>")
	p.expect(p.send(1003), "<n/> <n/>")
}

// Covers: BOSH-108.
func TestXEP0124_10_PayloadOfAPauseGoesUpInOrder(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	p.send(1002, pausing(60), stanzas("<b/>"))
	p.send(1001, stanzas("<a/>"))
	p.sent("1001: <a/>; 1002: <b/>")
	p.pass(50 * time.Second)
	p.alive()
}

// Covers: BOSH-134.
func TestXEP0124_10_GapThatNeverClosesEndsTheSession(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	for range 12 {
		if p.end == nil {
			p.send(1002)
			p.pass(3 * time.Second)
		}
	}
	p.ended("")
	p.closed("0 clean")
}
