package bosh

import (
	"fmt"
	"testing"
	"time"
)

// XEP-0124 §16: several streams in one session.

// namedProbe is a session that may have a stream of each name; the first one is up.
func namedProbe(t *testing.T, names []string, changes ...func(*request)) *probe {
	p := idleProbe(t, testConfig())
	p.names = names
	p.create(changes...)
	return p.login()
}

// twoStreams is a session with a second stream; both are up.
func twoStreams(t *testing.T, changes ...func(*request)) *probe {
	p := namedProbe(t, []string{"A", "B", "C"}, changes...)
	x := p.send(1001, to("other.org"))
	p.took(p.m.opened(p.clock, 1, streamHeader{id: "id1", from: "other.org", version: "1.0"}))
	p.deliver(1, "!<stream:features/>")
	p.expect(x, "B: <stream:features/>")
	return p
}

// Covers: BOSH-153.
func TestXEP0124_16_2_CreationNamesTheFirstStream(t *testing.T) {
	p := twoStreams(t)
	if r := p.answered(1); r.stream != "A" {
		t.Errorf("stream %q", r.stream)
	}
}

// Covers: BOSH-154, BOSH-155, BOSH-161.
func TestXEP0124_16_3_AddStream(t *testing.T) {
	p := namedProbe(t, []string{"A", "B"})
	x := p.send(1001, to("other.org"), func(r *request) { r.from, r.lang, r.xmppVersion = "romeo@other.org", "fr", "1.0" })
	p.open(x)
	want := opening{stream: 1, to: "other.org", from: "romeo@other.org", lang: "fr", version: "1.0"}
	if p.opened[1] != want {
		t.Errorf("got %+v, want %+v", p.opened[1], want)
	}
	p.took(p.m.opened(p.clock, 1, streamHeader{id: "id1", from: "other.org", version: "1.0"}))
	p.deliver(1, "!<stream:features/>")
	r := p.answered(x)
	if r.created != nil || r.stream != "B" || r.from != "other.org" || r.authID != "id1" || r.xmppVersion != "1.0" {
		t.Errorf("got %+v", r)
	}
	p.open(p.send(1002, to("third.org"))) // no more: like any empty request
	if len(p.opened) != 2 {
		t.Error("more streams than allowed")
	}
}

// Covers: BOSH-154.
func TestXEP0124_16_3_AddStreamDoesNotWaitForEver(t *testing.T) {
	p := namedProbe(t, []string{"A", "B"})
	x := p.send(1001, to("other.org"))
	p.pass(5 * time.Second)
	p.expect(x, "B:")
}

// Covers: BOSH-156, BOSH-160.
func TestXEP0124_16_3_StreamThatDoesNotOpen(t *testing.T) {
	p := namedProbe(t, []string{"A", "B"})
	x := p.send(1001, to("other.org"))
	p.took(p.m.openFailed(p.clock, 1, "remote-connection-failed"))
	p.expect(x, "B: terminate remote-connection-failed")
	p.alive()
	x = p.send(1002)
	p.deliver(0, "<m/>")
	p.expect(x, "A: <m/>")
}

// Covers: BOSH-156.
func TestXEP0124_16_4_OneStreamPerBody(t *testing.T) {
	p := twoStreams(t)
	p.deliver(0, "<a1/>", "<a2/>")
	p.deliver(1, "<b1/>")
	p.deliver(0, "<a3/>")
	p.deliver(1, "<b2/>")
	p.expect(p.send(1002), "A: <a1/> <a2/> <a3/>")
	p.expect(p.send(1003), "B: <b1/> <b2/>")
	for rid, want := range map[uint64]string{1002: "A: <a1/> <a2/> <a3/>", 1003: "B: <b1/> <b2/>", 1001: "B: <stream:features/>"} {
		p.expect(p.send(rid), want)
	}
	x := p.send(1004)
	p.send(1005, naming("A"), stanzas("<m/>"))
	p.expect(x, "empty")
}

// Covers: BOSH-156.
func TestXEP0124_16_4_NoStreamStarves(t *testing.T) {
	p := twoStreams(t)
	p.config.responseMax = 1
	for range 5 {
		p.deliver(0, "<a/>")
	}
	p.deliver(1, "<b/>")
	p.expect(p.send(1002), "A: <a/>")
	p.expect(p.send(1003), "B: <b/>")
	p.expect(p.send(1004), "A: <a/>")
}

// Covers: BOSH-157.
func TestXEP0124_16_4_PayloadWithoutStreamGoesToAll(t *testing.T) {
	p := twoStreams(t)
	p.send(1002, stanzas("<presence/>"))
	p.send(1003, naming("B"), stanzas("<m/>"))
	if a, b := p.forwards[0].streams, p.forwards[1].streams; a != 0b11 || b != 0b10 {
		t.Errorf("got %b and %b", a, b)
	}
}

// Covers: BOSH-158.
func TestXEP0124_16_4_UnknownStream(t *testing.T) {
	p := twoStreams(t)
	p.send(1002, naming("nonsense"))
	p.alive()
	x := p.send(1003, naming("C"), stanzas("<m/>")) // a name that was never given out
	p.expect(x, "terminate item-not-found")
	p.sent("")
}

// Covers: BOSH-158.
func TestXEP0124_16_4_StreamClosedJustNow(t *testing.T) {
	p := twoStreams(t)
	p.took(p.m.ended(p.clock, 1, cause{kind: causeClean}))
	p.send(1002, naming("B"), stanzas("<m/>"))
	p.alive()
	p.sent("")
	p.send(1003, stanzas("<n/>"))
	p.sent("1003: <n/>")
}

// Covers: BOSH-159.
func TestXEP0124_16_5_TerminateOneStream(t *testing.T) {
	p := twoStreams(t)
	x := p.send(1002)
	y := p.send(1003, naming("B"), terminating, stanzas("<bye/>"))
	p.expect(x, "B: terminate")
	p.sent("1003: <bye/>")
	if f := p.forwards[0]; f.streams != 0b10 {
		t.Errorf("to %b", f.streams)
	}
	p.closed("1 clean")
	p.alive()
	p.deliver(0, "<m/>")
	p.expect(y, "A: <m/>")
	p.send(1004, naming("A"), terminating) // the last one
	p.ended("")
	p.closed("1 clean, 0 clean")
}

// Covers: BOSH-159.
func TestXEP0124_16_5_TerminateAll(t *testing.T) {
	p := twoStreams(t)
	p.expect(p.send(1002, terminating, stanzas("<bye/>")), "terminate")
	if f := p.forwards[0]; f.streams != 0b11 {
		t.Errorf("to %b", f.streams)
	}
	p.closed("0 clean, 1 clean")
}

// Covers: BOSH-160.
func TestXEP0124_16_6_OneStreamDies(t *testing.T) {
	p := twoStreams(t)
	p.deliver(0, "<last/>")
	p.took(p.m.ended(p.clock, 0, cause{kind: causeError, raw: []byte("<stream:error/>")}))
	p.alive()
	p.expect(p.send(1002), "A: <last/> <stream:error/> terminate remote-stream-error")
	x := p.send(1003)
	p.deliver(1, "<m/>")
	p.expect(x, "B: <m/>")
	p.took(p.m.ended(p.clock, 1, cause{kind: causeClean}))
	p.ended("")
	p.expect(p.send(1004), "terminate")
}

// Covers: BOSH-160.
func TestXEP0124_16_6_WhatWasNotDeliveredComesFirst(t *testing.T) {
	p := twoStreams(t)
	p.deliver(1, "<last/>")
	p.took(p.m.ended(p.clock, 1, cause{kind: causeLost}))
	p.expect(p.send(1002), "B: <last/>")
	p.expect(p.send(1003), "B: terminate item-not-found")
	p.alive()
}

// Covers: BOSH-160.
func TestXEP0124_16_6_ElementRefusedOnOneStream(t *testing.T) {
	p := twoStreams(t)
	p.took(p.m.ended(p.clock, 1, cause{kind: causeRefused, condition: "not-authorized", raw: []byte("<stream:error/>")}))
	p.closed("1 clean")
	p.alive()
	p.expect(p.send(1002), "B: <stream:error/> terminate undefined-condition")
}

// Only the first stream can be resumed, so a session with two cannot be taken over.
//
// Covers: BOSH-154.
func TestFailover_SecondStreamMakesTheRecordVoid(t *testing.T) {
	p := idleProbe(t, testConfig())
	p.config.managed, p.names = true, []string{"A", "B"}
	p.create()
	p.login()
	p.manage(true)
	p.deliver(0, "!<bound/>")
	p.send(1001)
	p.send(1002)
	if p.lastRecord() == "" {
		t.Fatal("void before")
	}
	n := len(p.records)
	p.send(1003, to("other.org"))
	if len(p.records) == n || p.lastRecord() != "" {
		t.Errorf("records %v", p.records[n:])
	}
}

// Each stream's payload waits until that stream can be spoken to; order is kept.
//
// Covers: BOSH-070.
func TestXEP0124_16_3_PayloadWaitsForTheStream(t *testing.T) {
	p := namedProbe(t, []string{"A", "B"}, holding(2))
	p.send(1001, to("other.org"))
	p.send(1002, naming("B"), stanzas("<auth/>"))
	p.send(1003, naming("A"), stanzas("<m/>"))
	p.sent("")
	p.deliver(1, "!<stream:features/>")
	p.sent("1002: <auth/>; 1003: <m/>")
}

// Covers: BOSH-160.
func TestXEP0124_16_6_PayloadForADeadStreamIsDropped(t *testing.T) {
	p := namedProbe(t, []string{"A", "B"}, holding(2))
	p.send(1001, to("other.org"))
	p.send(1002, naming("B"), stanzas("<auth/>"))
	p.send(1003, naming("A"), stanzas("<m/>"))
	p.took(p.m.openFailed(p.clock, 1, "host-unknown"))
	p.sent("1003: <m/>")
	p.alive()
}

// Covers: BOSH-156.
func TestXEP0124_16_4_NamesAreBounded(t *testing.T) {
	p := idleProbe(t, testConfig())
	for i := range 100 {
		p.names = append(p.names, fmt.Sprint("s", i))
	}
	p.create(holding(0), func(r *request) { r.rid = 1 })
	p.config.polling = 0
	p.login()
	for rid := uint64(2); rid < 60; rid++ {
		p.send(rid, to("other.org"))
		p.pass(6 * time.Second)
	}
	if n := len(p.opened); n != maxStreams {
		t.Errorf("%d streams", n)
	}
}
