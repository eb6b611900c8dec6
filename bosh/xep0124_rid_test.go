package bosh

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// XEP-0124 §14: request ids, order, repeats.

// Covers: BOSH-131.
func TestXEP0124_14_2_Window(t *testing.T) {
	for hold := range 3 {
		t.Run(fmt.Sprint(hold), func(t *testing.T) {
			p := newProbe(t, testConfig(), holding(hold)).login()
			w := uint64(p.m.set.requests)
			x := p.send(1000+w, stanzas("<m/>"))
			p.open(x)
			p.sent("")
			p.alive()
		})
	}
}

// Covers: BOSH-131.
func TestXEP0124_14_2_OneMoreForPauseAndTerminate(t *testing.T) {
	for _, change := range []func(*request){pausing(60), terminating} {
		p := newProbe(t, testConfig()).login()
		p.open(p.send(1003, change))
		p.alive()
	}
}

// Covers: BOSH-132.
func TestXEP0124_14_2_RidBeyondWindow(t *testing.T) {
	for _, rid := range []uint64{1003, 1004, 1 << 40} {
		p := newProbe(t, testConfig()).login()
		p.expect(p.send(rid, stanzas("<m/>")), "terminate item-not-found")
		p.ended("item-not-found")
		p.sent("")
		p.closed("0 clean")
	}
}

// Covers: BOSH-133.
func TestXEP0124_14_2_RequestAfterAGapIsParked(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	y := p.send(1002, stanzas("<b/>"))
	p.deliver(0, "<m/>")
	p.pass(time.Second)
	p.open(y)
	p.sent("")
	x := p.send(1001, stanzas("<a/>"))
	p.sent("1001: <a/>; 1002: <b/>")
	p.expect(x, "<m/>")
	p.open(y)
}

// Covers: BOSH-134, BOSH-167, BOSH-168.
func TestXEP0124_14_2_ParkedRequestIsToldOfTheGap(t *testing.T) {
	for _, repeats := range []bool{true, false} {
		t.Run(fmt.Sprint("repeats ", repeats), func(t *testing.T) {
			p := newProbe(t, testConfig(), holding(2)).login()
			y := p.send(1002, stanzas("<b/>"))
			p.pass(2900 * time.Millisecond)
			p.open(y)
			p.pass(100 * time.Millisecond)
			p.expect(y, "error")
			if repeats {
				y = p.send(1002, stanzas("<b/>"))
				p.open(y)
			}
			x := p.send(1001, stanzas("<a/>"))
			p.sent("1001: <a/>; 1002: <b/>")
			p.deliver(0, "<m/>")
			p.expect(x, "<m/>")
			p.deliver(0, "<n/>")
			if !repeats {
				y = p.send(1002, stanzas("<b/>"))
			}
			p.expect(y, "<n/>")
			p.sent("1001: <a/>; 1002: <b/>")
		})
	}
}

// Covers: BOSH-134.
func TestXEP0124_14_2_ShortWaitShortensTheGapToo(t *testing.T) {
	p := newProbe(t, testConfig(), waiting(1)).login()
	y := p.send(1002)
	p.pass(time.Second)
	p.expect(y, "error")
}

// Covers: BOSH-135.
func TestXEP0124_14_3_LastAnswersAreKept(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	for rid := uint64(1001); rid <= 1005; rid++ {
		x := p.send(rid)
		p.deliver(0, fmt.Sprintf("<m%d/>", rid))
		p.expect(x, fmt.Sprintf("<m%d/>", rid))
	}
	for rid := uint64(1004); rid <= 1005; rid++ {
		p.expect(p.send(rid), fmt.Sprintf("<m%d/>", rid))
	}
}

// With acknowledgements all answers without one are kept, within bounds of number and of memory.
//
// Covers: BOSH-135, BOSH-182.
func TestXEP0124_14_3_UnacknowledgedAnswersAreKept(t *testing.T) {
	p := newProbe(t, testConfig(), confirming).login()
	rid := uint64(1001)
	for ; rid <= 1006; rid++ {
		p.send(rid, acking(1000))
		p.deliver(0, fmt.Sprintf("<m%d/>", rid))
	}
	for r := uint64(1001); r < rid; r++ {
		p.expect(p.send(r), fmt.Sprintf("<m%d/>", r))
	}
	for ; rid <= 1300; rid++ {
		p.send(rid, acking(1000))
		p.deliver(0, "<m/>")
	}
	p.expect(p.send(1300-keepAcked), "terminate item-not-found")
	p.expect(p.send(1301-keepAcked), "<m/>")
	if n := len(p.m.replay.ring); n > 2*keepAcked {
		t.Errorf("%d places", n)
	}
	large := "<m>" + strings.Repeat("x", p.m.config.queueBytes/4) + "</m>"
	for ; rid <= 1310; rid++ {
		p.send(rid, acking(1000))
		p.deliver(0, large)
	}
	p.expect(p.send(1304), "terminate item-not-found")
	p.expect(p.send(1305), large)
}

// Covers: BOSH-136, BOSH-019.
func TestXEP0124_14_3_RepeatGetsTheSameBody(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	first := p.answered(1)
	again := p.answered(p.send(1000))
	if again.created == nil || *again.created != *first.created || again.from != first.from || again.authID != first.authID ||
		describe(answer{response: again}) != describe(answer{response: first}) || again.ack != first.ack {
		t.Errorf("creation: first %+v, then %+v", first, again)
	}
	p.send(1001, stanzas("<a/>"))
	x := p.send(1002, stanzas("<b/>"))
	p.deliver(0, "<m/>", "<n/>")
	for range 3 {
		y := p.send(1002, stanzas("<b/>"))
		p.expect(y, "<m/> <n/>")
		if a, b := p.answered(x), p.answered(y); a.ack != b.ack || a.hasAck != b.hasAck {
			t.Errorf("ack %d, then %d", a.ack, b.ack)
		}
		if r := p.answered(p.send(1001, stanzas("<a/>"))); r.ack != 1002 {
			t.Errorf("ack %d, at first it was 1002", r.ack)
		}
	}
	p.sent("1001: <a/>; 1002: <b/>")
}

// Covers: BOSH-137.
func TestXEP0124_14_3_RepeatOfAnUnansweredRequest(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	x := p.send(1001, stanzas("<a/>"))
	p.pass(50 * time.Second)
	y := p.send(1001, stanzas("<a/>"))
	p.expect(x, "error")
	p.pass(50 * time.Second)
	p.open(y)
	p.deliver(0, "<m/>")
	p.expect(y, "<m/>")
	p.sent("1001: <a/>")
}

// Covers: BOSH-137.
func TestXEP0124_14_3_RepeatOfAParkedRequest(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	x := p.send(1002, stanzas("<b/>"))
	p.pass(time.Second)
	y := p.send(1002, stanzas("<b/>"))
	p.expect(x, "error")
	p.pass(2900 * time.Millisecond)
	p.open(y)
	p.send(1001)
	p.deliver(0, "<m/>")
	p.expect(y, "<m/>")
	p.sent("1002: <b/>")
}

// Covers: BOSH-139, BOSH-143.
func TestXEP0124_14_3_RepeatThatIsTooOld(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	for rid := uint64(1001); rid <= 1020; rid++ {
		p.send(rid, stanzas("<m/>"))
	}
	old := p.answered(p.send(1003))
	never := p.answered(p.send(1))
	p.alive() // it may come out of a dead connection
	high := p.answered(p.send(1 << 30))
	for _, r := range []response{old, never} {
		if fmt.Sprint(r) != fmt.Sprint(high) {
			t.Errorf("too old: %+v, too high: %+v", r, high)
		}
	}
}

// Covers: BOSH-140.
func TestXEP0124_14_3_RepeatWithAnotherBody(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	p.send(1001, stanzas("<a/>"))
	p.send(1001, stanzas("<bb/>"))
	if p.e.note == "" {
		t.Error("nothing to log")
	}
	p.deliver(0, "<m/>")
	p.expect(p.send(1001, stanzas("<ccc/>")), "<m/>")
	if p.e.note == "" {
		t.Error("nothing to log")
	}
	p.sent("1001: <a/>")
	p.send(1001, stanzas("<a/>"))
	if p.e.note != "" {
		t.Error("same body, but noted")
	}
}

// Covers: BOSH-142.
func TestXEP0124_17_2_UnknownSidAfterTheEnd(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	p.send(5000)
	p.expect(p.send(1001), "terminate item-not-found")
	p.expect(p.send(1000), "terminate item-not-found")
}

// An abandoned request is passed over when a later one can be answered; a late repeat of it gets an empty answer, so that
// nothing overtakes.
//
// Covers: BOSH-073, BOSH-076.
func TestXEP0124_8_AbandonedRequestIsPassedOver(t *testing.T) {
	p := newProbe(t, testConfig(), holding(2)).login()
	p.took(p.m.gone(p.clock, p.send(1001)))
	y := p.send(1002)
	p.open(y)
	p.deliver(0, "<m/>")
	p.expect(y, "<m/>")
	p.deliver(0, "<n/>")
	p.expect(p.send(1001), "empty")
	p.expect(p.send(1003), "<n/>")
}

// Covers: BOSH-017.
func TestXEP0124_8_RequestThatTheServerDelaysGets503(t *testing.T) {
	p := blockedProbe(t)
	x := p.send(1003, stanzas("<a/>"))
	p.pass(69900 * time.Millisecond)
	p.open(x)
	p.pass(100 * time.Millisecond)
	p.expect(x, "503")
	x = p.send(1003, stanzas("<a/>"))
	p.open(x)
	p.acked(1)
	p.deliver(0, "<n/>")
	p.expect(x, "<n/>")
	p.sent("1001: <bind/>; 1003: <a/>")
}

// Covers: BOSH-177.
func TestXEP0124_19_1_SessionStaysOnTLS(t *testing.T) {
	p := newProbe(t, testConfig(), func(r *request) { r.secure = true }).login()
	x := p.send(1001, func(r *request) { r.secure = true })
	y := p.send(1002, stanzas("<a/>"))
	p.expect(y, "nothing")
	p.open(x)
	p.alive()
	p.sent("")
	p.send(1002, stanzas("<b/>"), func(r *request) { r.secure = true })
	p.sent("1002: <b/>")
}

// Covers: BOSH-175.
func TestXEP0252_4_ScriptAndPostDoNotMix(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	p.expect(p.send(1001, func(r *request) { r.script = true }), "terminate bad-request")
	p.ended("bad-request")
}
