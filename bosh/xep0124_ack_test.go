package bosh

import (
	"testing"
	"time"
)

// XEP-0124 §9: acknowledgements.

// Covers: BOSH-082.
func TestXEP0124_9_1_AckStaysBelowAGap(t *testing.T) {
	p := newProbe(t, testConfig(), holding(2)).login()
	x := p.send(1001)
	p.send(1003)
	p.deliver(0, "<m/>")
	if r := p.answered(x); r.hasAck {
		t.Errorf("ack %d", r.ack)
	}
	p.send(1002)
	p.deliver(0, "<n/>")
	if r := p.answered(4); !r.hasAck || r.ack != 1003 {
		t.Errorf("ack %v %d", r.hasAck, r.ack)
	}
}

// Covers: BOSH-083.
func TestXEP0124_9_1_AckUnlessItIsTheAnsweredRid(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	x := p.send(1001)
	p.send(1002, stanzas("<a/>"))
	if r := p.answered(x); !r.hasAck || r.ack != 1002 {
		t.Errorf("held 1001, 1002 came: ack %v %d", r.hasAck, r.ack)
	}
	p.deliver(0, "<m/>")
	if r := p.answered(3); r.hasAck {
		t.Errorf("nothing newer: ack %d", r.ack)
	}
	p.send(1004)
	p.pass(3 * time.Second)
	if r := p.answered(4); !r.failed || !r.hasAck || r.ack != 1002 {
		t.Errorf("gap: %+v", r)
	}
}

// Covers: BOSH-085.
func TestXEP0124_9_1_AckIsForWhatTheServerHas(t *testing.T) {
	config := testConfig()
	config.managed, config.hold = true, 3
	p := newProbe(t, config, holding(3)).login()
	p.manage(true)
	p.deliver(0, "!<bound/>")
	x := p.send(1001)
	p.send(1002, stanzas("<a/>"))
	p.send(1003)
	if r := p.answered(x); r.hasAck {
		t.Errorf("ack %d before the server's", r.ack)
	}
	x = p.send(1004, stanzas("<b/>"))
	p.acked(1)
	p.deliver(0, "<m/>")
	if r := p.answered(3); !r.hasAck || r.ack != 1003 {
		t.Errorf("ack %v %d, the server has what came up to 1003", r.hasAck, r.ack)
	}
	p.open(x)
}

// Covers: BOSH-086.
func TestXEP0124_9_2_AckEmptiesTheBuffer(t *testing.T) {
	p := newProbe(t, testConfig(), confirming, holding(2)).login()
	for rid := uint64(1001); rid <= 1003; rid++ {
		x := p.send(rid, acking(1000))
		p.deliver(0, "<m/>")
		p.expect(x, "<m/>")
	}
	p.expect(p.send(1001), "<m/>")
	p.send(1004, acking(1002))
	p.expect(p.send(1003), "<m/>")
	p.expect(p.send(1002), "terminate item-not-found")
	p.alive()
}

// Covers: BOSH-087.
func TestXEP0124_9_2_NoAckMeansAll(t *testing.T) {
	p := newProbe(t, testConfig(), confirming).login()
	x := p.send(1001)
	p.deliver(0, "<m/>")
	p.expect(x, "<m/>")
	p.expect(p.send(1001), "<m/>")
	p.send(1002)
	p.expect(p.send(1001), "terminate item-not-found")
	p.alive()
}

// Covers: BOSH-088.
func TestXEP0124_9_2_AckOfABrowserThatDidNotAnnounceIt(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	x := p.send(1001)
	p.deliver(0, "<m/>")
	p.expect(x, "<m/>")
	p.send(1002, acking(1001))
	p.expect(p.send(1001), "<m/>")
	p.send(1003, acking(5))
	p.send(1004, acking(1<<40))
	p.alive()
}

// Covers: BOSH-089, BOSH-090.
func TestXEP0124_9_2_MissingResponseIsReported(t *testing.T) {
	for _, acks := range []bool{true, false} {
		config := testConfig()
		config.acks = acks
		p := newProbe(t, config, confirming).login()
		x := p.send(1001, acking(1000))
		p.deliver(0, "<m/>")
		p.expect(x, "<m/>")
		p.pass(3 * time.Second)
		y := p.send(1002, acking(1000))
		r := p.answered(y)
		if r.report != 1001 || r.since != 3*time.Second || len(r.payload) > 0 {
			t.Errorf("got report %d, since %v, %s", r.report, r.since, describe(p.answers[y]))
		}
		p.expect(p.send(1001), "<m/>")
		p.open(p.send(1003, acking(1002)))
	}
}

// Covers: BOSH-091.
func TestXEP0124_9_2_NoReportOfARace(t *testing.T) {
	p := newProbe(t, testConfig(), confirming).login()
	x := p.send(1001, acking(1000))
	p.deliver(0, "<m/>")
	p.expect(x, "<m/>")
	p.pass(1900 * time.Millisecond)
	y := p.send(1002, acking(1000))
	p.open(y)
	p.deliver(0, "<n/>")
	if r := p.answered(y); r.report != 0 {
		t.Errorf("report %d", r.report)
	}
}

// Covers: BOSH-091.
func TestXEP0124_9_2_ReportedTimeFitsTheSchema(t *testing.T) {
	config := testConfig()
	config.inactivity = 1000 * time.Second
	p := newProbe(t, config, confirming).login()
	p.send(1001, acking(1000))
	p.deliver(0, "<m/>")
	p.pass(100 * time.Second)
	if r := p.answered(p.send(1002, acking(1000))); r.report != 1001 || r.since != 65535*time.Millisecond {
		t.Errorf("got report %d, since %v", r.report, r.since)
	}
}

// Covers: BOSH-092.
func TestXEP0124_9_2_AckOfWhatWasNeverAnswered(t *testing.T) {
	for _, ack := range []uint64{1001, 1002, 1101} {
		p := newProbe(t, testConfig(), confirming).login()
		x := p.send(1001, acking(1000))
		y := p.send(1002, acking(ack))
		p.expect(y, "terminate bad-request")
		p.expect(x, "terminate other-request")
		p.ended("bad-request")
	}
}

// A browser that takes type=error for an answer acknowledges it like one.
//
// Covers: BOSH-134.
func TestXEP0124_9_2_AckOfARecoverableError(t *testing.T) {
	p := newProbe(t, testConfig(), confirming).login()
	x := p.send(1002, acking(1000), stanzas("<b/>"))
	p.pass(3 * time.Second)
	p.expect(x, "error")
	p.send(1001, acking(1002), stanzas("<a/>"))
	p.alive()
	p.sent("1001: <a/>; 1002: <b/>")
}
