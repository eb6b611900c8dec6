package bosh

import (
	"testing"
	"time"
)

// XEP-0124 §11, §12: overactivity and polling.

// blockedProbe is a session whose server does not acknowledge: nothing with a stanza is answered.
func blockedProbe(t *testing.T, changes ...func(*request)) *probe {
	p := managedProbe(t, changes...)
	p.deliver(0, "<m/>") // answers 1002
	return p
}

// Covers: BOSH-109.
func TestXEP0124_11_TooManyRequests(t *testing.T) {
	p := blockedProbe(t)
	x := p.send(1003, stanzas("<a/>"))
	y := p.send(1004, stanzas("<b/>"))
	p.open(x)
	p.open(y)
	z := p.send(1005, stanzas("<c/>"))
	p.expect(z, "terminate policy-violation")
	p.expect(x, "terminate other-request")
	p.expect(y, "terminate other-request")
	p.ended("policy-violation")
	p.sent("1001: <bind/>; 1003: <a/>; 1004: <b/>")
}

// A page that is loaded again while the server is slow leaves requests behind whose end may not be noticed.
//
// Covers: BOSH-109.
func TestXEP0124_11_OldRequestsThatTheServerDelaysDoNotCount(t *testing.T) {
	p := blockedProbe(t)
	p.send(1003, stanzas("<a/>"))
	p.pass(2 * time.Second)
	p.send(1004, stanzas("<b/>"))
	p.send(1005, stanzas("<c/>"))
	p.alive()
	p.expect(p.send(1006, stanzas("<d/>")), "terminate policy-violation")
}

// Covers: BOSH-110, BOSH-131.
func TestXEP0124_11_OneMoreForPauseAndTerminate(t *testing.T) {
	for _, change := range []func(*request){pausing(60), terminating} {
		p := blockedProbe(t)
		p.send(1003, stanzas("<a/>"))
		p.send(1004, stanzas("<b/>"))
		p.send(1005, change)
		p.alive()
		p.acked(2)
		if n := len(p.answers); n != 6 {
			t.Errorf("%d answers", n)
		}
	}
}

// The pause counts for itself, also if it comes before the request that it follows.
//
// Covers: BOSH-110.
func TestXEP0124_11_OneMoreForAPauseThatOvertakes(t *testing.T) {
	p := blockedProbe(t)
	p.send(1003, stanzas("<a/>"))
	p.send(1005, pausing(60))
	p.send(1004, stanzas("<b/>"))
	p.alive()
}

// Covers: BOSH-111.
func TestXEP0124_11_RepeatsAreNotNew(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	var x exchange
	for range 10 {
		x = p.send(1001)
	}
	p.open(x)
	p.alive()
}

// Covers: BOSH-112.
func TestXEP0124_11_TooManyEmptyRequests(t *testing.T) {
	for _, test := range []struct {
		name   string
		apart  time.Duration
		change func(*request)
		ends   bool
	}{
		{"soon", time.Second, func(*request) {}, true},
		{"later", 5 * time.Second, func(*request) {}, false},
		{"with payload", time.Second, stanzas("<a/>"), false},
		{"pause", time.Second, pausing(10), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newProbe(t, testConfig(), holding(2)).login()
			p.send(1001)
			p.send(1002)
			p.pass(test.apart)
			p.send(1004, test.change) // 1003 is missing: three have no answer
			if (p.end != nil) != test.ends {
				t.Errorf("ended: %+v", p.end)
			}
		})
	}
}

// A request that arrives late is not the last one.
//
// Covers: BOSH-112.
func TestXEP0124_11_LateEmptyRequest(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	p.send(1003, pausing(60))
	p.pass(time.Second)
	p.send(1001)
	p.send(1002, stanzas("<a/>"))
	p.alive()
}

// Covers: BOSH-112, BOSH-113.
func TestXEP0124_11_HoldBelowRequestsLeavesRoom(t *testing.T) {
	p := newProbe(t, testConfig(), holding(2)).login()
	x := p.send(1001)
	p.pass(time.Second)
	y := p.send(1002)
	p.pass(time.Second)
	z := p.send(1003)
	p.expect(x, "empty")
	p.open(y)
	p.open(z)
	p.alive()
}

// Covers: BOSH-114.
func TestXEP0124_11_NoPollingNoLimit(t *testing.T) {
	config := testConfig()
	config.polling = 0
	p := newProbe(t, config, holding(0)).login()
	for rid := uint64(1001); rid < 1050; rid++ {
		p.send(rid)
	}
	p.alive()
}

// Covers: BOSH-115, BOSH-117.
func TestXEP0124_12_PollingTooOften(t *testing.T) {
	for _, test := range []struct {
		name   string
		apart  time.Duration
		first  string // delivered before the first request
		change func(*request)
		ends   bool
	}{
		{"soon", time.Second, "", func(*request) {}, true},
		{"a little early", 4600 * time.Millisecond, "", func(*request) {}, false},
		{"too early", 4400 * time.Millisecond, "", func(*request) {}, true},
		{"first had payload", time.Second, "<m/>", func(*request) {}, false},
		{"second has payload", time.Second, "", stanzas("<a/>"), false},
		{"second pauses", time.Second, "", pausing(10), false},
		{"second terminates", time.Second, "", terminating, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newProbe(t, testConfig(), holding(0)).login()
			if test.first != "" {
				p.deliver(0, test.first)
			}
			p.send(1001)
			p.pass(test.apart)
			x := p.send(1002, test.change)
			if killed := p.answered(x).condition == "policy-violation"; killed != test.ends {
				t.Errorf("answer %s", describe(p.answers[x]))
			}
		})
	}
}

// Covers: BOSH-116.
func TestXEP0124_12_RequestsIsNeverOne(t *testing.T) {
	config := testConfig()
	config.hold = 0
	if c := createdBy(t, config, holding(1)); c.hold != 0 || c.requests != 2 {
		t.Errorf("got hold %d, requests %d", c.hold, c.requests)
	}
}

// Covers: BOSH-138, BOSH-111.
func TestXEP0124_14_3_TooManyRepeats(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	for range 100 {
		p.send(1001)
		p.pass(10 * time.Millisecond)
		if p.end != nil {
			break
		}
	}
	p.ended("policy-violation")
}

// Covers: BOSH-138.
func TestXEP0124_14_3_PatientRepeatsAreFine(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	for range 500 {
		p.send(1001)
		p.pass(time.Second)
	}
	p.alive()
}

// A browser whose server is slow may go away and come back again and again; what it left behind is bounded.
//
// Covers: BOSH-182.
func TestXEP0124_11_AbandonedRequestsAreBounded(t *testing.T) {
	t.Run("the server has them", func(t *testing.T) {
		p := newProbe(t, testConfig()).login()
		for rid := uint64(1001); rid < 1100; rid++ {
			p.took(p.m.gone(p.clock, p.send(rid, stanzas("<a/>"))))
		}
		p.alive()
		if n := len(p.m.win.slots); n > 8 {
			t.Errorf("%d slots", n)
		}
	})
	t.Run("the server does not take them", func(t *testing.T) {
		p := newProbe(t, testConfig()).login()
		p.slow = true
		for rid := uint64(1001); rid < 1100 && p.end == nil; rid++ {
			p.took(p.m.gone(p.clock, p.send(rid, stanzas("<a/>"))))
		}
		p.ended("policy-violation")
	})
	t.Run("too many bytes", func(t *testing.T) {
		config := testConfig()
		config.queueBytes = 10
		p := newProbe(t, config).login()
		p.slow = true
		for rid := uint64(1001); rid <= 1004; rid++ {
			p.took(p.m.gone(p.clock, p.send(rid, stanzas("<aaaaaaaaaa/>"))))
		}
		p.expect(p.send(1005, stanzas("<a/>")), "503")
		p.alive()
		for _, f := range p.forwards {
			p.wrote(f)
		}
		x := p.send(1005, stanzas("<a/>"))
		p.open(x)
		if p.forwards[len(p.forwards)-1].rid != 1005 {
			t.Error("not forwarded")
		}
	})
}
