package bosh

import (
	"testing"
	"time"
)

// XEP-0124 §17: errors.

// Covers: BOSH-162.
func TestXEP0124_17_2_Conditions(t *testing.T) {
	for condition, trigger := range map[string]func(p *probe) exchange{
		"bad-request":         func(p *probe) exchange { return p.refuse("bad-request") },
		"improper-addressing": func(p *probe) exchange { return p.send(1001, restarting, to("other.org")) },
		"item-not-found":      func(p *probe) exchange { return p.send(5000) },
		"policy-violation":    func(p *probe) exchange { return p.send(1001, pausing(1000)) },
		"remote-stream-error": func(p *probe) exchange { p.end0(causeError, "<stream:error/>"); return p.send(1001) },
		"system-shutdown": func(p *probe) exchange {
			x := p.send(1001)
			p.took(p.m.shutdown(p.clock))
			return x
		},
		"undefined-condition": func(p *probe) exchange { p.end0(causeRefused, ""); return p.send(1001) },
	} {
		t.Run(condition, func(t *testing.T) {
			p := newProbe(t, testConfig()).login()
			if r := p.answered(trigger(p)); !r.terminate || r.condition != condition || r.status != 0 {
				t.Errorf("got %+v", r)
			}
			p.ended(condition)
		})
	}
}

// refuse reports an unreadable request.
func (p *probe) refuse(condition string) exchange {
	p.x++
	x := p.x
	p.took(p.m.refused(p.clock, x, condition))
	return x
}

// end0 ends the first stream.
func (p *probe) end0(kind causeKind, raw string) {
	p.took(p.m.ended(p.clock, 0, cause{kind: kind, raw: []byte(raw), condition: "not-authorized"}))
}

// Covers: BOSH-163, BOSH-042, BOSH-016.
func TestXEP0124_17_1_LegacyClients(t *testing.T) {
	for _, test := range []struct {
		condition string
		status    int
	}{
		{"bad-request", 400}, {"policy-violation", 403}, {"item-not-found", 404}, {"internal-server-error", 0}, {"undefined-condition", 0},
	} {
		p := newProbe(t, testConfig(), legacy).login()
		if r := p.answered(p.refuse(test.condition)); r.status != test.status || r.condition != test.condition {
			t.Errorf("legacy, %s: status %d", test.condition, r.status)
		}
		if r := p.answered(p.send(1001)); r.status != 404 {
			t.Errorf("afterwards: status %d", r.status)
		}
		p = newProbe(t, testConfig()).login()
		if r := p.answered(p.refuse(test.condition)); r.status != 0 {
			t.Errorf("with ver, %s: status %d", test.condition, r.status)
		}
	}
	p := newProbe(t, testConfig(), legacy).login()
	x := p.send(1001)
	p.send(5000)
	if r := p.answered(x); r.condition != "other-request" || r.status != 0 {
		t.Errorf("got %+v", r)
	}
}

// Covers: BOSH-042.
func TestXEP0124_17_1_LegacySurvivesTheReplica(t *testing.T) {
	q := restored(t, managedProbe(t, legacy), 1)
	if r := q.answered(q.send(5000)); r.status != 404 {
		t.Errorf("got %+v", r)
	}
}

// Covers: BOSH-164.
func TestXEP0124_17_2_StreamErrorsAreNotTranslated(t *testing.T) {
	for _, name := range []string{"host-unknown", "policy-violation", "bad-format"} {
		p := newProbe(t, testConfig()).login()
		x := p.send(1001)
		p.took(p.m.ended(p.clock, 0, cause{kind: causeError, condition: name, raw: []byte("<stream:error><" + name + "/></stream:error>")}))
		p.expect(x, "<stream:error><"+name+"/></stream:error> terminate remote-stream-error")
	}
}

// Covers: BOSH-165.
func TestXEP0124_17_2_UndefinedConditionHasDetail(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	x := p.send(1001)
	p.end0(causeRefused, "<stream:error><unsupported-stanza-type/></stream:error>")
	p.expect(x, "<stream:error><unsupported-stanza-type/></stream:error> terminate undefined-condition")
	p.closed("0 clean") // the server knows of nothing

	p = newProbe(t, testConfig(), holding(2)).login()
	p.deliver(0, "<m/>")
	p.took(p.m.ended(p.clock, 0, cause{kind: causeRefused, condition: "policy-violation"}))
	p.closed("0 clean")
	p.expect(p.send(1001, stanzas("<a/>")), "<m/>")
	p.expect(p.send(1002), "terminate policy-violation")
	p.sent("")
	if len(p.bounces) > 0 {
		t.Error("bounced what is delivered")
	}

	p = newProbe(t, testConfig()).login()
	x = p.send(1001)
	p.took(p.m.ended(p.clock, 0, cause{kind: causeRefused, condition: "policy-violation"}))
	p.expect(x, "terminate policy-violation")
}

// Covers: BOSH-167, BOSH-168.
func TestXEP0124_17_3_RecoverableErrorLosesNothing(t *testing.T) {
	p := newProbe(t, testConfig(), holding(2)).login()
	p.send(1001, stanzas("<a/>"))
	x := p.send(1003, stanzas("<c/>"))
	p.pass(3 * time.Second)
	p.expect(x, "error")
	// The browser repeats this request and all unanswered earlier ones (XEP-0124 §17.3).
	p.send(1001, stanzas("<a/>"))
	p.send(1002, stanzas("<b/>"))
	p.send(1003, stanzas("<c/>"))
	p.alive()
	p.sent("1001: <a/>; 1002: <b/>; 1003: <c/>")
}

// Covers: BOSH-169.
func TestXEP0124_17_4_StanzaErrorsPass(t *testing.T) {
	p := newProbe(t, testConfig()).login()
	x := p.send(1001)
	p.deliver(0, "<iq type='error'/>")
	p.expect(x, "<iq type='error'/>")
	p.alive()
}

// Covers: BOSH-170.
func TestXEP0124_14_3_ErrorsAreNotKept(t *testing.T) {
	p := newProbe(t, testConfig(), confirming).login()
	x := p.send(1002, acking(1000))
	p.pass(3 * time.Second)
	p.expect(x, "error")
	p.send(1001, acking(1000))
	if p.m.replay.at(1002) != nil {
		t.Error("type=error is kept")
	}
	p.expect(p.send(900), "terminate item-not-found")
	if p.m.replay.at(900) != nil {
		t.Error("a terminal error is kept")
	}
	p.send(5000)
	if p.m.replay.at(1001) != nil {
		t.Error("answers are kept although the session is over")
	}
}
