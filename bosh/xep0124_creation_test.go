package bosh

import (
	"fmt"
	"testing"
	"time"
)

// XEP-0124 §7: creation. The machine's part; the rest is in the handler's tests.

// Covers: BOSH-033.
func TestXEP0124_7_1_SidNeverCreates(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	x := p.send(1001, to("other.org"), waiting(5), holding(3))
	p.open(x)
	if len(p.opened) != 1 {
		t.Errorf("opened %v", p.opened)
	}
	p.pass(61 * time.Second)
	if r := p.answered(x); r.created != nil {
		t.Error("creation attributes in the answer to a later request")
	}
}

// Covers: BOSH-039, BOSH-040, BOSH-036, XBOSH-006, XBOSH-008.
func TestXEP0124_7_1_OpeningTakesWhatTheBrowserSays(t *testing.T) {
	p := newProbe(t, testConfig(), func(r *request) {
		r.from, r.lang, r.route, r.xmppVersion = "juliet@example.org", "de", "xmpp:host:5222", "1.0"
	})
	want := opening{to: "example.org", from: "juliet@example.org", lang: "de", route: "xmpp:host:5222", version: "1.0"}
	if len(p.opened) != 1 || p.opened[0] != want {
		t.Errorf("got %+v, want %+v", p.opened, want)
	}
}

// Covers: BOSH-041, BOSH-059.
func TestXEP0124_7_2_Ver(t *testing.T) {
	for _, test := range []struct{ asked, granted version }{
		{version{1, 6}, version{1, 6}},
		{version{1, 10}, version{1, 10}},
		{version{1, 11}, version{1, 11}},
		{version{1, 20}, version{1, 11}},
		{version{2, 0}, version{1, 11}},
		{version{0, 99}, version{0, 99}},
	} {
		t.Run(fmt.Sprint(test.asked), func(t *testing.T) {
			c := createdBy(t, testConfig(), func(r *request) { r.ver = test.asked })
			if !c.hasVer || c.ver != test.granted {
				t.Errorf("got %v %v, want %v", c.hasVer, c.ver, test.granted)
			}
		})
	}
	if c := createdBy(t, testConfig(), legacy); c.hasVer {
		t.Error("ver to a client that sent none")
	}
}

// createdBy returns the creation response's attributes.
func createdBy(t *testing.T, config machineConfig, changes ...func(*request)) *creation {
	t.Helper()
	p := newProbe(t, config, changes...)
	p.pass(config.featuresWait)
	c := p.answered(1).created
	if c == nil {
		t.Fatal("no creation attributes")
	}
	return c
}

// Covers: BOSH-043, BOSH-056, BOSH-055, BOSH-060.
func TestXEP0124_7_1_Wait(t *testing.T) {
	for _, test := range []struct {
		name    string
		change  func(*request)
		granted time.Duration
	}{
		{"none", func(r *request) { r.hasWait = false }, 60 * time.Second},
		{"zero", waiting(0), 0},
		{"less", waiting(30), 30 * time.Second},
		{"more", waiting(99999), 60 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := createdBy(t, testConfig(), test.change)
			if c.wait != test.granted {
				t.Errorf("got %v, want %v", c.wait, test.granted)
			}
			if c.sid != "sid" || c.requests == 0 || c.polling != 5*time.Second || c.inactivity == 0 {
				t.Errorf("got %+v", c)
			}
		})
	}
}

// Covers: BOSH-044, BOSH-057, BOSH-058.
func TestXEP0124_7_1_Hold(t *testing.T) {
	for _, test := range []struct {
		name           string
		change         func(*request)
		hold, requests int
	}{
		{"none", func(r *request) { r.hasHold = false }, 1, 2},
		{"zero", holding(0), 0, 2},
		{"one", holding(1), 1, 2},
		{"two", holding(2), 2, 3},
		{"more", holding(200), 2, 3},
		{"legacy, more", func(r *request) { legacy(r); holding(5)(r) }, 2, 6},
		{"legacy, far more", func(r *request) { legacy(r); holding(200)(r) }, 2, 8},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := createdBy(t, testConfig(), test.change)
			if c.hold != test.hold || c.requests != test.requests {
				t.Errorf("got hold %d, requests %d, want %d and %d", c.hold, c.requests, test.hold, test.requests)
			}
		})
	}
}

// Covers: BOSH-045.
func TestXEP0124_7_1_PollingSessionsAreAnsweredAtOnce(t *testing.T) {
	for _, change := range []func(*request){waiting(0), holding(0)} {
		p := newProbe(t, testConfig(), change).login()
		p.send(1001) // with wait 0 the features come here
		for rid := uint64(1002); rid < 1005; rid++ {
			p.pass(6 * time.Second)
			p.expect(p.send(rid), "empty")
		}
	}
}

// Covers: BOSH-046, BOSH-047.
func TestXEP0124_7_1_ContentOnEveryResponse(t *testing.T) {
	p := newProbe(t, testConfig(), func(r *request) { r.content = "text/plain" }).login()
	a := p.send(1001)
	b := p.send(1001) // takes the place of a
	p.deliver(0, "<m/>")
	c := p.send(1003)
	p.pass(3 * time.Second) // the gap is told
	d := p.send(1002)
	e := p.send(5000)
	for _, x := range []exchange{1, a, b, c, d, e} {
		if r := p.answered(x); r.content != "text/plain" {
			t.Errorf("x%d (%s): content %q", x, describe(p.answers[x]), r.content)
		}
	}
}

// Covers: BOSH-048.
func TestXEP0124_7_1_AckOneIsNoRid(t *testing.T) {
	for _, ack := range []uint64{0, 1, 2, 999} {
		p := newProbe(t, testConfig(), func(r *request) { r.hasAck, r.ack = true, ack }).login()
		if on := p.m.set.confirms; on != (ack == 1) {
			t.Errorf("ack=%d switches acknowledgements on: %v", ack, on)
		}
		p.pass(10 * time.Second)
		x := p.send(1001)
		p.deliver(0, "<m/>")
		if r := p.answered(x); r.report != 0 {
			t.Errorf("ack=%d: report %d", ack, r.report)
		}
	}
}

// Covers: BOSH-050, BOSH-130.
func TestXEP0124_14_1_LargeRids(t *testing.T) {
	const first = 9007199254740000
	p := newProbe(t, testConfig(), func(r *request) { r.rid = first }).login()
	if r := p.answered(1); r.ack != first {
		t.Errorf("ack %d", r.ack)
	}
	p.send(first + 1)
	x := p.send(first+2, stanzas("<a/>"))
	p.sent(fmt.Sprintf("%d: <a/>", uint64(first+2)))
	p.open(x)
}

// Covers: BOSH-051.
func TestXEP0124_7_1_PayloadOfTheCreationRequestWaitsForTheFeatures(t *testing.T) {
	p := newProbe(t, testConfig(), stanzas("<auth/>"))
	p.took(p.m.opened(p.clock, 0, streamHeader{}))
	p.sent("")
	p.deliver(0, "!<stream:features/>")
	p.sent("1000: <auth/>")
	p.expect(1, "<stream:features/>")
}

// Covers: BOSH-053.
func TestXEP0124_14_3_SessionWhoseCreationResponseGotLostDies(t *testing.T) {
	p := newProbe(t, testConfig())
	p.took(p.m.gone(p.clock, 1))
	p.login()
	p.pass(30 * time.Second)
	p.ended("")
	p.closed("0 clean")
	p.sent("")
}

// Covers: BOSH-061, XBOSH-009, XBOSH-011.
func TestXEP0206_4_HeaderGoesWithTheFeatures(t *testing.T) {
	for _, late := range []bool{false, true} {
		p := newProbe(t, testConfig())
		x := exchange(1)
		if late {
			p.pass(6 * time.Second)
			if r := p.answered(1); r.from != "" || r.authID != "" || r.xmppVersion != "" {
				t.Errorf("header told before it is there: %+v", r)
			}
			x = p.send(1001)
		}
		p.login()
		r := p.answered(x)
		if r.from != "example.org" || r.authID != "id0" || r.xmppVersion != "1.0" || !r.prefix {
			t.Errorf("late %v: got %+v", late, r)
		}
		x = p.send(r.ackOr(1000) + 1)
		p.deliver(0, "<m/>")
		if r := p.answered(x); r.from != "" || r.authID != "" || r.xmppVersion != "" {
			t.Errorf("late %v: header told twice", late)
		}
	}
}

// ackOr returns the ack of a creation response, or of later ones what they answer.
func (r *response) ackOr(rid uint64) uint64 {
	if r.created != nil {
		return rid
	}
	return rid + 1
}

// Covers: BOSH-062.
func TestXEP0124_10_MaxpauseIsAdvertised(t *testing.T) {
	if c := createdBy(t, testConfig()); c.maxpause != 120*time.Second {
		t.Errorf("got %v", c.maxpause)
	}
}

// Covers: BOSH-063, BOSH-084.
func TestXEP0124_7_2_AckAnnounces(t *testing.T) {
	for _, on := range []bool{true, false} {
		config := testConfig()
		config.acks = on
		p := newProbe(t, config).login()
		if r := p.answered(1); r.hasAck != on || on && r.ack != 1000 {
			t.Errorf("creation: ack %v %d", r.hasAck, r.ack)
		}
		x := p.send(1001)
		p.send(1002)
		if r := p.answered(x); r.hasAck != on {
			t.Errorf("announced %v, later %v", on, r.hasAck)
		}
	}
}

// Covers: BOSH-064, BOSH-152.
func TestXEP0124_16_1_StreamsOff(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	if r := p.answered(1); r.stream != "" {
		t.Errorf("stream %q", r.stream)
	}
	x := p.send(1001, to("other.org"), naming("s2"))
	p.deliver(0, "<m/>")
	p.expect(x, "<m/>")
	p.send(1002, naming("s2"), stanzas("<a/>"))
	p.sent("1002: <a/>")
	if len(p.opened) != 1 {
		t.Errorf("opened %v", p.opened)
	}
}

// Covers: BOSH-065.
func TestXEP0124_7_2_CreationAttributesOnlyOnce(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	x := p.send(1001)
	y := p.send(1002, stanzas("<a/>"))
	p.deliver(0, "<m/>")
	for _, x := range []exchange{x, y} {
		if r := p.answered(x); r.created != nil {
			t.Errorf("x%d: %+v", x, r.created)
		}
	}
}

// Covers: BOSH-066.
func TestXEP0124_7_2_NumbersFitTheSchema(t *testing.T) {
	config := testConfig()
	config.inactivity, config.wait, config.hold, config.polling = 65530*time.Second, 65535*time.Second, 254, 60*time.Second
	c := createdBy(t, config, waiting(1<<30), holding(1<<30))
	if c.wait > 65535*time.Second || c.hold > 255 || c.requests > 255 {
		t.Errorf("got %+v", c)
	}
	if c := createdBy(t, config, holding(0)); c.inactivity > 65535*time.Second {
		t.Errorf("inactivity %v", c.inactivity)
	}
}

// Covers: BOSH-067.
func TestXEP0206_4_CreationResponseWaitsForFeatures(t *testing.T) {
	t.Run("soon", func(t *testing.T) {
		p := newProbe(t, testConfig())
		p.pass(100 * time.Millisecond)
		p.open(1)
		p.login()
		p.expect(1, "<stream:features/>")
	})
	t.Run("late", func(t *testing.T) {
		p := newProbe(t, testConfig())
		p.pass(4900 * time.Millisecond)
		p.open(1)
		p.pass(100 * time.Millisecond)
		p.expect(1, "empty")
		x := p.send(1001)
		p.open(x)
		p.login()
		p.expect(x, "<stream:features/>")
	})
	t.Run("not longer than wait", func(t *testing.T) {
		p := newProbe(t, testConfig(), waiting(2))
		p.pass(1900 * time.Millisecond)
		p.open(1)
		p.pass(100 * time.Millisecond)
		p.expect(1, "empty")
	})
}

// Covers: BOSH-068.
func TestXEP0124_17_2_ServerNotReached(t *testing.T) {
	p := newProbe(t, testConfig())
	p.took(p.m.openFailed(p.clock, 0, "remote-connection-failed"))
	p.expect(1, "terminate remote-connection-failed")
	p.ended("remote-connection-failed")
	p.pass(31 * time.Second)
	if !p.forgot {
		t.Error("a session is left behind")
	}
	p.closed("")
}
