package bosh

import (
	"testing"
	"time"
)

// XEP-0206: what is special about XMPP. The machine's part.

// Covers: XBOSH-002.
func TestXEP0206_2_StreamPrefixIsDeclaredWhereItIsUsed(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	if !p.answered(1).prefix {
		t.Error("features")
	}
	x := p.send(1001)
	p.deliver(0, "<m/>")
	if p.answered(x).prefix {
		t.Error("message")
	}
	x = p.send(1002)
	p.took(p.m.ended(p.clock, 0, cause{kind: causeError, raw: []byte("<stream:error/>")}))
	if !p.answered(x).prefix {
		t.Error("stream error")
	}
	if !p.answered(p.send(1000)).prefix {
		t.Error("repeated features")
	}
}

// Covers: XBOSH-012.
func TestXEP0206_5_SASLPasses(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	x := p.send(1001, stanzas("<auth/>"))
	p.sent("1001: <auth/>")
	p.deliver(0, "!<challenge/>")
	p.expect(x, "<challenge/>")
	x = p.send(1002, stanzas("<response/>"))
	p.deliver(0, "!<success/>")
	p.expect(x, "<success/>")
}

// Covers: XBOSH-013, XBOSH-014, XBOSH-015.
func TestXEP0206_5_Restart(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	x := p.send(1001, restarting, stanzas("<message/>"), to("example.org"), func(r *request) { r.lang, r.from = "fr", "a@example.org" })
	p.sent("1001: restart")
	if f := p.forwards[0]; f.to != "example.org" || f.lang != "fr" || f.from != "a@example.org" {
		t.Errorf("got %+v", f)
	}
	p.open(x)
	p.took(p.m.opened(p.clock, 0, streamHeader{id: "id1"}))
	p.deliver(0, "!<stream:features/>")
	p.expect(x, "<stream:features/>")
	p.send(1002, restarting)
	if f := p.forwards[1]; f.to != "" || f.lang != "" {
		t.Errorf("got %+v", f)
	}
	p.expect(p.send(1003, restarting, to("other.org")), "terminate improper-addressing")
}

// Covers: XBOSH-016.
func TestXEP0206_5_NoRestart(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	p.send(1001, stanzas("<message/>"), to("example.org"))
	p.sent("1001: <message/>")
}

// Covers: XBOSH-018.
func TestXEP0206_6_StreamErrorComesAfterWhatWasNotDelivered(t *testing.T) {
	const fault = "<stream:error><conflict/><text xml:lang='de'>weg</text><own xmlns='urn:x'/></stream:error>"
	p := newProbe(t, testConfig()).login()
	p.deliver(0, "<a/>", "<b/>")
	p.took(p.m.ended(p.clock, 0, cause{kind: causeError, raw: []byte(fault)}))
	p.expect(p.send(1001), "<a/> <b/> "+fault+" terminate remote-stream-error")
}

// Covers: XBOSH-018, BOSH-079.
func TestXEP0206_6_StreamErrorAfterMoreThanOneResponse(t *testing.T) {
	p := newProbe(t, testConfig(), holding(2)).login()
	p.config.responseMax = 2
	p.deliver(0, "<a/>", "<b/>", "<c/>")
	p.took(p.m.ended(p.clock, 0, cause{kind: causeError, raw: []byte("<stream:error/>")}))
	p.expect(p.send(1001), "<a/> <b/>")
	p.expect(p.send(1002), "<c/> <stream:error/> terminate remote-stream-error")
}

// A session that is lost is item-not-found: browsers log in again. Some never do after remote-connection-failed.
//
// Covers: XBOSH-019.
func TestXEP0206_6_HowStreamsEnd(t *testing.T) {
	for _, test := range []struct {
		kind causeKind
		want string
	}{
		{causeClean, "terminate"},
		{causeLost, "terminate item-not-found"},
	} {
		p := newProbe(t, testConfig(), holding(2)).login()
		p.deliver(0, "<a/>")
		p.took(p.m.ended(p.clock, 0, cause{kind: test.kind}))
		p.expect(p.send(1001), "<a/>")
		x := p.send(1002)
		p.expect(x, test.want)
		p.expect(p.send(1002), test.want)
	}
	p := newProbe(t, testConfig(), holding(2)).login()
	x, y := p.send(1001), p.send(1002)
	p.took(p.m.ended(p.clock, 0, cause{kind: causeLost}))
	p.expect(x, "terminate item-not-found")
	p.expect(y, "empty")
}

// Covers: XBOSH-020.
func TestXEP0206_7_UndeliverableStanzasAreHandedBack(t *testing.T) {
	for name, end := range map[string]func(p *probe){
		"inactivity": func(p *probe) { p.pass(30 * time.Second) },
		"terminate":  func(p *probe) { p.send(1002, terminating) },
		"kill":       func(p *probe) { p.send(5000) },
		"shutdown":   func(p *probe) { p.took(p.m.shutdown(p.clock)) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newProbe(t, testConfig(), holding(0)).login()
			x := p.send(1001, pausing(30))
			p.expect(x, "empty")
			p.config.responseMax = 1
			p.deliver(0, "<presence/>", "<message/>", "<iq/>")
			end(p)
			got := ""
			for _, b := range p.bounces {
				for _, el := range b.els {
					got += string(el.raw)
				}
			}
			if got != "<presence/><message/><iq/>" {
				t.Errorf("got %s", got)
			}
			p.closed("0 clean")
		})
	}
}

// Covers: XBOSH-021.
func TestXEP0206_7_ManagedStreamsBounceThemselves(t *testing.T) {
	for _, resumable := range []bool{true, false} {
		p := newProbe(t, func() machineConfig { c := testConfig(); c.managed = true; return c }(), confirming).login()
		p.manage(resumable)
		p.deliver(0, "!<bound/>", "<a/>")
		p.send(1001)
		p.send(1002, pausing(0))
		p.deliver(0, "<b/>", "<c/>")
		p.pass(time.Second)
		p.ended("")
		if len(p.bounces) > 0 {
			t.Error("bounced")
		}
		if n := len(p.acks); n == 0 || p.acks[n-1] != 1 {
			t.Errorf("resumable %v: <a h/> %v, the browser has one", resumable, p.acks)
		}
		p.closed("0 clean")
	}
}

// Covers: XBOSH-024.
func TestXEP0206_5_BindResultPassesUnchanged(t *testing.T) {
	const bound = "<iq type='result'><bind><jid>juliet@example.org/balcony</jid></bind></iq>"
	p := newProbe(t, func() machineConfig { c := testConfig(); c.managed = true; return c }()).login()
	x := p.send(1001, stanzas("<bind/>"))
	p.manage(true)
	p.deliver(0, "!"+bound)
	p.expect(x, bound)
}
