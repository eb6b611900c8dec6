package bosh

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// XEP-0124 §8: transfer of payloads.

// Covers: BOSH-025, BOSH-069.
func TestXEP0124_8_PayloadsGoUpAtOnceInDocumentOrder(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	p.send(1001, stanzas("<message/>", "<presence/>", "<iq/>", "<custom/>"))
	p.sent("1001: <message/> <presence/> <iq/> <custom/>")
}

// Covers: BOSH-070, BOSH-129, BOSH-133.
func TestXEP0124_14_2_PayloadsGoUpInRidOrder(t *testing.T) {
	orders := [][]uint64{{1001, 1002, 1003}, {1001, 1003, 1002}, {1002, 1001, 1003}, {1002, 1003, 1001}, {1003, 1001, 1002}, {1003, 1002, 1001}}
	for _, order := range orders {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			p := newProbe(t, testConfig(), holding(2)).login()
			for _, rid := range order {
				p.send(rid, stanzas(fmt.Sprintf("<m%d/>", rid-1000)))
			}
			p.sent("1001: <m1/>; 1002: <m2/>; 1003: <m3/>")
		})
	}
}

// Covers: BOSH-071, BOSH-072, BOSH-074.
func TestXEP0124_8_HeldAsLongAsWait(t *testing.T) {
	p := newProbe(t, testConfig(), waiting(20)).login()
	x := p.send(1001)
	p.pass(19900 * time.Millisecond)
	p.open(x)
	p.pass(100 * time.Millisecond)
	r := p.answered(x)
	if r.created != nil || len(r.payload) > 0 || r.terminate || r.hasAck {
		t.Errorf("got %+v", r)
	}
}

// Covers: BOSH-072, BOSH-113.
func TestXEP0124_8_HeldAsManyAsHold(t *testing.T) {
	for hold := 1; hold <= 3; hold++ {
		t.Run(fmt.Sprint(hold), func(t *testing.T) {
			config := testConfig()
			config.hold = 3
			p := newProbe(t, config, holding(hold)).login()
			var xs []exchange
			for i := range hold {
				xs = append(xs, p.send(1001+uint64(i)))
			}
			for _, x := range xs {
				p.open(x)
			}
			p.send(1001+uint64(hold), stanzas("<a/>"))
			p.expect(xs[0], "empty")
			for _, x := range xs[1:] {
				p.open(x)
			}
		})
	}
}

// Covers: BOSH-113.
func TestXEP0124_11_BrowserThatSpeaksOftenIsNeverTerminated(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	p.send(1001)
	for rid := uint64(1002); rid < 1052; rid++ {
		p.pass(10 * time.Millisecond)
		p.send(rid, stanzas("<m/>"))
	}
	p.alive()
	if n := len(p.answers); n != 51 {
		t.Errorf("%d answers", n)
	}
}

// Covers: BOSH-073, BOSH-075.
func TestXEP0124_8_StanzaGoesToTheOldestRequest(t *testing.T) {
	p := newProbe(t, testConfig(), holding(2)).login()
	x, y := p.send(1001), p.send(1002)
	p.deliver(0, "<m/>")
	p.expect(x, "<m/>")
	p.open(y)
	p.deliver(0, "<n/>")
	p.expect(y, "<n/>")
}

// Covers: BOSH-073.
func TestXEP0124_8_OlderRequestIsAnsweredWhenTheYoungerIsDue(t *testing.T) {
	p := newProbe(t, testConfig(), holding(2), waiting(20)).login()
	p.send(1001)
	y := p.send(1002)
	p.pass(15 * time.Second)
	x := p.send(1001) // again: its own time starts
	p.pass(5 * time.Second)
	p.expect(x, "empty")
	p.expect(y, "empty")
	if n := len(p.order); p.order[n-2] != x || p.order[n-1] != y {
		t.Errorf("order %v", p.order)
	}
}

// Covers: BOSH-076.
func TestXEP0124_8_StanzasWaitForTheNextRequest(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	p.deliver(0, "<a/>")
	p.deliver(0, "<b/>", "<c/>")
	p.expect(p.send(1001), "<a/> <b/> <c/>")
}

// Covers: BOSH-077.
func TestXEP0124_8_EmptyRequestIsHeldLikeAnyOther(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	x := p.send(1001)
	p.open(x)
	p.pass(10 * time.Second)
	y := p.send(1002, stanzas("<a/>"))
	p.expect(x, "empty")
	p.open(y)
}

// Covers: BOSH-078.
func TestXEP0124_8_AnswerOnlyWhenTheServerHasTheStanzas(t *testing.T) {
	p := newProbe(t, managedConfig()).login()
	p.manage(true)
	p.deliver(0, "!<bound/>")
	x := p.send(1001, stanzas("<a/>", "<b/>"))
	if f := p.forwards[0]; !f.sync {
		t.Error("no <r/> is asked for")
	}
	p.deliver(0, "<m/>")
	p.open(x)
	p.acked(1)
	p.open(x)
	p.acked(2)
	p.expect(x, "<bound/> <m/>")
}

// Covers: BOSH-079.
func TestXEP0124_8_ResponsesAreBounded(t *testing.T) {
	t.Run("count", func(t *testing.T) {
		config := testConfig()
		config.responseMax = 3
		p := newProbe(t, config).login()
		p.deliver(0, "<a/>", "<b/>", "<c/>", "<d/>", "<e/>", "<f/>", "<g/>")
		p.expect(p.send(1001), "<a/> <b/> <c/>")
		p.expect(p.send(1002), "<d/> <e/> <f/>")
		p.expect(p.send(1003), "<g/>")
	})
	t.Run("bytes", func(t *testing.T) {
		config := testConfig()
		config.responseBytes = 10
		p := newProbe(t, config).login()
		p.deliver(0, "<aaa/>", "<b/>", "<c/>", "<ddddddddddddddd/>", "<e/>")
		p.expect(p.send(1001), "<aaa/> <b/>")
		p.expect(p.send(1002), "<c/>")
		p.expect(p.send(1003), "<ddddddddddddddd/>")
		p.expect(p.send(1004), "<e/>")
	})
	t.Run("many", func(t *testing.T) {
		config := testConfig()
		config.queueBytes = 1 << 20
		p := newProbe(t, config).login()
		for i := range 10_000 {
			p.deliver(0, fmt.Sprintf("<m n='%d'/>", i))
		}
		var got []string
		for rid := uint64(1001); len(got) < 10_000; rid++ {
			r := p.answered(p.send(rid))
			if n := len(r.payload); n == 0 || n > config.responseMax {
				t.Fatalf("%d elements in one response", n)
			}
			for _, el := range r.payload {
				got = append(got, string(el.raw))
			}
		}
		for i, el := range got {
			if el != fmt.Sprintf("<m n='%d'/>", i) {
				t.Fatalf("element %d is %s", i, el)
			}
		}
	})
}

// Covers: BOSH-080.
func TestXEP0124_8_FullQueueStopsReading(t *testing.T) {
	config := testConfig()
	config.queueBytes = 1000
	p := newProbe(t, config).login()
	n := 0
	for p.m.wantsMore() {
		p.deliver(0, "<"+strings.Repeat("m", 97)+"/>")
		if n++; n > 20 {
			t.Fatal("never enough")
		}
	}
	if n != 10 {
		t.Errorf("stopped after %d elements of 100 bytes, 1000 bytes may wait", n)
	}
	if r := p.answered(p.send(1001)); len(r.payload) != 10 {
		t.Errorf("%d elements", len(r.payload))
	}
	if !p.m.wantsMore() {
		t.Error("reading does not go on")
	}
	p.alive()
}

// tightProbe is a managed session of which no more than 100 bytes may wait. It gets its bind result next.
func tightProbe(t testing.TB) *probe {
	config := managedConfig()
	config.queueBytes = 100
	p := newProbe(t, config).login()
	p.manage(true)
	return p
}

// The <a/> that an answer needs stands behind the stanzas that wait to be read: reading has to go on.
//
// Covers: BOSH-080.
func TestXEP0124_8_FullQueueDoesNotHideAcks(t *testing.T) {
	p := tightProbe(t)
	p.deliver(0, "!<bound/>", "<"+strings.Repeat("m", 200)+"/>")
	if p.m.wantsMore() {
		t.Fatal("wants more although nothing is blocked")
	}
	x := p.send(1001, stanzas("<a/>"))
	p.open(x)
	if !p.m.wantsMore() {
		t.Fatal("does not read the <a/>")
	}
	p.acked(1)
	if len(p.answered(x).payload) == 0 {
		t.Error("nothing delivered")
	}
}

// If the <a/> is nowhere near, the answer leaves without it, and the session cannot be taken over until it has come.
//
// Covers: BOSH-080.
func TestXEP0124_8_ChokedSessionAnswersWithoutAck(t *testing.T) {
	p := tightProbe(t)
	p.deliver(0, "!<bound/>")
	p.send(1001)
	x := p.send(1002, stanzas("<a/>"))
	for n := 0; p.m.wantsMore(); n++ {
		if n > 100 {
			t.Fatal("no bound")
		}
		p.deliver(0, "<"+strings.Repeat("m", 20<<10)+"/>")
	}
	if len(p.answered(x).payload) == 0 {
		t.Error("nothing delivered")
	}
	if c := p.lastRecord(); c != "" {
		t.Errorf("record %q", c)
	}
	p.acked(1)
	p.send(1003)
	if p.lastRecord() == "" {
		t.Error("void after the ack")
	}
	p.alive()
}

// Covers: BOSH-080.
func TestXEP0124_8_ChokedSessionWhoseStreamIsResumedTooEarlyIsLost(t *testing.T) {
	p := tightProbe(t)
	p.deliver(0, "!<bound/>")
	p.send(1001)
	p.send(1002, stanzas("<a/>"))
	for p.m.wantsMore() {
		p.deliver(0, "<"+strings.Repeat("m", 20<<10)+"/>")
	}
	p.m.resumeFrom()
	p.took(p.m.resumed(p.clock, 0))
	p.ended("item-not-found")
}

// Covers: BOSH-081.
func TestXEP0124_8_FirstStanzaIsNotDelayed(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	x := p.send(1001)
	p.pass(7 * time.Second)
	p.deliver(0, "<m/>")
	p.expect(x, "<m/>")
}

// Admit's answers to what the browser sends are not read from the server: a browser that sends and does not read would
// pile them up without end.
//
// Covers: BOSH-182.
func TestXEP0124_8_BrowserThatDoesNotReadIsThrownOut(t *testing.T) {
	config := testConfig()
	config.queueBytes = 1000
	p := newProbe(t, config).login()
	for range 400 {
		p.deliver(0, "!<"+strings.Repeat("x", 10<<10)+"/>")
	}
	p.ended("policy-violation")
}
