package bosh

import (
	"testing"
	"time"
)

// XEP-0124 §13, §17.2: how sessions end.

// Covers: BOSH-119, BOSH-120.
func TestXEP0124_13_TerminateForwardsFirst(t *testing.T) {
	t.Run("with a held request", func(t *testing.T) {
		p := newProbe(t, testConfig()).login()
		x := p.send(1001)
		p.slow = true
		y := p.send(1002, terminating, stanzas("<presence/>"))
		p.sent("1002: <presence/>")
		p.closed("")
		p.open(x)
		p.wrote(p.forwards[0])
		p.expect(x, "terminate")
		p.expect(y, "empty")
		p.ended("")
		p.closed("0 clean")
	})
	t.Run("without", func(t *testing.T) {
		p := newProbe(t, testConfig()).login()
		p.expect(p.send(1001, terminating), "terminate")
		p.ended("")
		p.closed("0 clean")
	})
}

// Covers: BOSH-119.
func TestXEP0124_13_TerminateWaitsForTheServersAckButNotForEver(t *testing.T) {
	p := blockedProbe(t)
	x := p.send(1003, terminating, stanzas("<presence/>"))
	p.open(x)
	p.acked(1)
	p.expect(x, "terminate")
	p.closed("0 clean")

	p = blockedProbe(t)
	x = p.send(1003, terminating, stanzas("<presence/>"))
	p.pass(4900 * time.Millisecond)
	p.open(x)
	p.pass(100 * time.Millisecond)
	p.expect(x, "terminate")
	p.closed("0 clean")
}

// What was said before goes out first, also one by one after a takeover, and to a server that takes nothing for a while.
//
// Covers: BOSH-119.
func TestXEP0124_13_TerminateWaitsForAServerThatTakesNothing(t *testing.T) {
	begin := func(t *testing.T) (p *probe, x, y exchange) {
		p = managedProbe(t)
		p.deliver(0, "<m/>") // 1002
		p = p.takeOver()
		x = p.send(1003, stanzas("<one/>"))
		p.slow = true
		p.resume(1)
		y = p.send(1004, terminating, stanzas("<two/>"))
		p.sent("1003: skip 1 <one/>")
		return p, x, y
	}
	t.Run("that ends", func(t *testing.T) {
		p, x, y := begin(t)
		p.pass(29 * time.Second)
		p.closed("")
		p.wrote(p.forwards[len(p.forwards)-1])
		p.sent("1003: skip 1 <one/>; 1004: <two/>")
		p.pass(29 * time.Second)
		p.wrote(p.forwards[len(p.forwards)-1])
		p.pass(4900 * time.Millisecond)
		p.closed("")
		p.acked(2)
		p.expect(x, "empty")
		p.expect(y, "terminate")
		p.closed("0 clean")
	})
	t.Run("that does not", func(t *testing.T) {
		p, x, _ := begin(t)
		p.pass(30 * time.Second)
		p.expect(x, "terminate")
		p.closed("0 clean")
	})
}

// Covers: BOSH-121.
func TestXEP0124_13_EarlyTerminateWaits(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	x := p.send(1002, terminating, stanzas("<b/>"))
	p.sent("")
	p.alive()
	y := p.send(1001, stanzas("<a/>"))
	p.sent("1001: <a/>; 1002: <b/>")
	p.expect(y, "terminate")
	p.expect(x, "empty")
	p.closed("0 clean")
}

// Covers: BOSH-122, BOSH-123.
func TestXEP0124_13_AfterTermination(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	x := p.send(1001)
	p.send(1002, terminating)
	p.expect(x, "terminate")
	p.pass(29 * time.Second)
	p.expect(p.send(1002, terminating), "empty")
	p.expect(p.send(1001), "terminate")
	p.expect(p.send(1003), "terminate item-not-found")
	p.pass(time.Second)
	if !p.forgot {
		t.Error("still there")
	}
	if e := p.m.request(p.clock, 99, &request{rid: 1002}); len(e.answer) > 0 {
		t.Error("answers after it was forgotten")
	}
}

// Covers: BOSH-124, XBOSH-019.
func TestXEP0124_17_2_ServerClosesAfterStanzas(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	p.deliver(0, "<a/>", "<b/>", "<c/>")
	p.took(p.m.ended(p.clock, 0, cause{kind: causeClean}))
	p.ended("")
	p.expect(p.send(1001), "<a/> <b/> <c/>")
	p.expect(p.send(1002), "terminate")
	p.expect(p.send(1002), "terminate")
}

// Covers: BOSH-125.
func TestXEP0124_17_2_TerminalBodyWaitsForTheNextRequest(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	p.took(p.m.ended(p.clock, 0, cause{kind: causeError, raw: []byte("<stream:error/>")}))
	p.pass(29 * time.Second)
	p.expect(p.send(1001), "<stream:error/> terminate remote-stream-error")
	p.pass(20 * time.Second)
	p.expect(p.send(1001), "<stream:error/> terminate remote-stream-error")
	p.expect(p.send(1002), "<stream:error/> terminate remote-stream-error")
	p.pass(10 * time.Second)
	if !p.forgot {
		t.Error("still there")
	}

	p = newProbe(t, testConfig()).login()
	p.took(p.m.ended(p.clock, 0, cause{kind: causeClean}))
	p.pass(30 * time.Second)
	if !p.forgot {
		t.Error("still there after its inactivity time")
	}
}

// Covers: BOSH-126.
func TestXEP0124_17_2_OtherRequests(t *testing.T) {
	p := newProbe(t, testConfig(), holding(2)).login()
	x, y := p.send(1001), p.send(1002)
	z := p.send(1004, stanzas("<a/>")) // parked
	p.expect(p.send(5000), "terminate item-not-found")
	for _, x := range []exchange{x, y, z} {
		p.expect(x, "terminate other-request")
	}
}

// Covers: BOSH-127.
func TestXEP0124_17_2_ConditionOfTheBrowserMeansNothing(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	p.expect(p.send(1001, terminating, func(r *request) { r.condition = "undefined-condition" }), "terminate")
	p.ended("")
}

// Covers: BOSH-128.
func TestXEP0124_17_2_Drain(t *testing.T) {
	p := managedProbe(t)
	if p.slow = true; len(p.answers) == 0 {
		t.Fatal("no answers")
	}
	y := p.send(1003, stanzas("<a/>"))
	p.took(p.m.drain(p.clock))
	p.expect(4-1, "empty") // rid 1002, held
	p.expect(y, "503")
	if p.end == nil || !p.end.keep {
		t.Errorf("end %+v", p.end)
	}
	p.closed("0 cut")
	if !p.forgot {
		t.Error("not given away")
	}
	q := restored(t, p, 1)
	y = q.send(1003, stanzas("<a/>"))
	q.sent("1003: skip 1 <a/>")
	q.open(y)
}

// Covers: BOSH-128.
func TestXEP0124_17_2_DrainOfASessionThatNobodyElseCanTake(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	x := p.send(1001)
	p.took(p.m.drain(p.clock))
	p.open(x)
	p.alive()
	p.deliver(0, "<m/>")
	p.expect(x, "<m/>")
}

// Covers: BOSH-128, BOSH-162.
func TestXEP0124_17_2_Shutdown(t *testing.T) {
	p := newProbe(t, testConfig(), holding(2)).login()
	x, y := p.send(1001), p.send(1002)
	p.took(p.m.shutdown(p.clock))
	p.expect(x, "terminate system-shutdown")
	p.expect(y, "terminate system-shutdown")
	p.ended("system-shutdown")
	p.closed("0 clean")
	p.expect(p.send(1003), "terminate system-shutdown")
}

// A frozen owner that wakes must not end a session that is another replica's by now: the store is asked first.
//
// Covers: BOSH-128.
func TestFailover_6_NoEndWithoutACheck(t *testing.T) {
	ends := map[string]func(p *probe){
		"request":    func(p *probe) { p.send(5000) },
		"terminate":  func(p *probe) { p.send(1003, terminating) },
		"inactivity": func(p *probe) { p.took(p.m.gone(p.clock, 3)); p.pass(30 * time.Second) },
		"shutdown":   func(p *probe) { p.took(p.m.shutdown(p.clock)) },
		"refused":    func(p *probe) { p.x++; p.took(p.m.refused(p.clock, p.x, "bad-request")) },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			p := managedProbe(t)
			p.unsaved = true
			n := len(p.records)
			end(p)
			if len(p.records) != n+1 || p.end == nil {
				t.Fatalf("%d records, end %+v", len(p.records)-n, p.end)
			}
			p.closed("")
			p.took(p.m.saved(p.clock, p.records[n].n, true))
			p.closed("0 clean")
			p.pass(time.Hour)
			if !p.forgot {
				t.Error("still there")
			}
		})
		t.Run(name+", refused", func(t *testing.T) {
			p := managedProbe(t)
			p.unsaved = true
			end(p)
			p.took(p.m.saved(p.clock, p.records[len(p.records)-1].n, false))
			p.closed("0 cut")
			if !p.forgot {
				t.Error("still there")
			}
		})
		t.Run(name+", store away", func(t *testing.T) {
			p := managedProbe(t)
			p.unsaved = true
			end(p)
			p.pass(time.Hour)
			p.closed("0 cut")
			if !p.forgot {
				t.Error("still there")
			}
		})
	}
}
