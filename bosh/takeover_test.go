package bosh

import (
	"testing"
	"time"
)

// managedProbe is a session on a server that counts stanzas and lets another connection resume the stream. The browser
// has its bind result: rid 1002 proved that.
func managedProbe(t testing.TB, changes ...func(*request)) *probe {
	config := testConfig()
	config.managed = true
	p := newProbe(t, config, append([]func(*request){confirming}, changes...)...).login()
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
	m, e, err := restoreMachine(q.clock, &q.config, "sid", p.names, p.m.settings(), p.records[len(p.records)-1].counters)
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
