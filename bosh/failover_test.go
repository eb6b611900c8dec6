package bosh

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// The rules of failover-design.md that concern one machine; the simulator has several.

// lastRecord is what the store has.
func (p *probe) lastRecord() string { return p.records[len(p.records)-1].counters }

// Covers: UP-123, UP-126.
func TestFailover_2_EveryAnswerComesWithARecord(t *testing.T) {
	p := managedProbe(t)
	n := len(p.records)
	p.deliver(0, "<m/>")
	if len(p.records) != n+1 {
		t.Fatalf("%d records", len(p.records)-n)
	}
	p.deliver(0, "<n/>") // nobody asks for it
	p.send(1002)         // a repeat
	if len(p.records) != n+1 {
		t.Error("a record without a new answer")
	}
	if r := p.records[n]; r.n != uint64(n)+1 || r.expires != 90*time.Second {
		t.Errorf("got %+v", r)
	}
	p.send(1003, pausing(100))
	if r := p.records[len(p.records)-1]; r.expires != 160*time.Second {
		t.Errorf("pause: expires %v", r.expires)
	}
}

// Covers: UP-124, UP-126, UP-060.
func TestFailover_2_ServerForgetsOnlyWhatTheBrowserHasAndTheStoreKnows(t *testing.T) {
	p := managedProbe(t)
	p.unsaved = true
	p.deliver(0, "<m/>") // 1002
	p.deliver(0, "<n/>")
	if len(p.acks) > 0 {
		t.Fatalf("acks %v before the browser has it", p.acks)
	}
	p.send(1003) // proves 1002, is answered with <n/>
	if len(p.acks) > 0 {
		t.Fatalf("acks %v before the store knows", p.acks)
	}
	p.took(p.m.ackRequested(p.clock))
	if fmt.Sprint(p.acks) != "[0]" {
		t.Fatalf("acks %v, <r/> is answered at once", p.acks)
	}
	p.took(p.m.saved(p.clock, p.records[len(p.records)-1].n, true))
	if fmt.Sprint(p.acks) != "[0 1]" {
		t.Fatalf("acks %v", p.acks)
	}
}

// The server is asked once for all stanzas of a request, whose answer waits for it, and not where nothing waits.
//
// Covers: UP-064.
func TestFailover_2_OneAckForARequest(t *testing.T) {
	p := managedProbe(t)
	asked := func() string {
		var all []bool
		for _, f := range p.forwards {
			all = append(all, f.sync)
		}
		p.forwards = nil
		return fmt.Sprint(all)
	}
	asked()
	p.send(1003, stanzas("<a/>", "<b/>", "<c/>"))
	if got := asked(); got != "[true]" {
		t.Errorf("with stanzas: %s", got)
	}
	p.acked(3)
	p.send(1004)
	if got := asked(); strings.Contains(got, "true") {
		t.Errorf("without stanzas: %s", got)
	}
	p.send(1004) // a repeat
	if got := asked(); strings.Contains(got, "true") {
		t.Errorf("repeat: %s", got)
	}
}

// A browser that fetches nothing for long must not cost the stream: servers bound what they remember.
//
// Covers: UP-071.
func TestFailover_6_ServersNeedNotRememberEverything(t *testing.T) {
	p := managedProbe(t)
	p.m.config.queueBytes = 1 << 20
	for range unackedMax - 1 {
		p.deliver(0, "<m/>")
	}
	if len(p.acks) > 0 {
		t.Fatalf("acks %v of what the browser does not have", p.acks)
	}
	p.deliver(0, "<m/>")
	if fmt.Sprint(p.acks) != fmt.Sprint([]int{unackedMax}) {
		t.Fatalf("acks %v with %d stanzas unconfirmed", p.acks, unackedMax)
	}
	if p.lastRecord() != "" {
		t.Errorf("record %q although the server cannot send again", p.lastRecord())
	}
	rid := uint64(1003)
	for ; p.m.streams.waiting() && rid < 1300; rid++ {
		p.send(rid)
	}
	for range 3 * p.m.set.requests { // by then it surely has them all
		p.send(rid)
		p.deliver(0, "<m/>")
		rid++
	}
	if p.lastRecord() == "" {
		t.Error("the session cannot be taken over although the browser has everything")
	}
}

// Covers: UP-124.
func TestFailover_6_ImpliedAcks(t *testing.T) {
	p := newProbe(t, managedConfig()).login()
	p.manage(true)
	p.deliver(0, "!<bound/>")
	rid := uint64(1001)
	for ; rid <= 1004; rid++ { // one at a time: nothing is sure before twice the window
		p.deliver(0, "<m/>")
		p.send(rid)
	}
	if len(p.acks) > 0 {
		t.Fatalf("acks %v", p.acks)
	}
	p.send(1005)
	p.send(1006, stanzas("<a/>")) // both places taken: 1004 is there
	p.acked(1)
	if n := len(p.acks); n == 0 || p.acks[n-1] != 4 {
		t.Fatalf("acks %v", p.acks)
	}
}

// Covers: BOSH-078, UP-123.
func TestFailover_10_HonestAcksWithoutResumption(t *testing.T) {
	p := newProbe(t, managedConfig(), confirming).login()
	p.manage(false)
	p.deliver(0, "!<bound/>")
	x := p.send(1001, stanzas("<a/>"))
	p.open(x)
	p.acked(1)
	p.expect(x, "<bound/>")
	y := p.send(1002)
	p.deliver(0, "<m/>")
	p.expect(y, "<m/>")
	p.send(1003)
	if len(p.records) > 0 {
		t.Error("something is saved")
	}
	if fmt.Sprint(p.acks) != "[1]" {
		t.Errorf("acks %v", p.acks)
	}
}

// Covers: UP-123.
func TestFailover_10_NoStreamManagementNoRules(t *testing.T) {
	p := newProbe(t, managedConfig()).login()
	p.send(1001)
	x := p.send(1002, stanzas("<a/>"))
	p.deliver(0, "<m/>")
	p.expect(x, "<m/>")
	if len(p.records)+len(p.acks) > 0 {
		t.Error("something is saved or acknowledged")
	}
}

// Covers: UP-122, UP-063.
func TestFailover_6_ResumedInPlace(t *testing.T) {
	p := managedProbe(t)
	p.deliver(0, "<m1/>") // 1002
	p.deliver(0, "<m2/>") // waits
	x := p.send(1003, stanzas("<a/>", "<b/>"))
	p.slow = true
	p.send(1004, stanzas("<c/>")) // in the lane, not written
	if h := p.m.resumeFrom(); h != 0 {
		t.Fatalf("resumes from %d; the store does not know yet that the browser has m1", h)
	}
	p.forwards = nil
	p.took(p.m.resumed(p.clock, 1))
	p.sent("1003: skip 1 <a/> <b/>")
	p.wrote(p.forwards[0])
	p.sent("1003: skip 1 <a/> <b/>; 1004: <c/>")
	p.wrote(p.forwards[1])
	p.deliver(0, "<m1/>", "<m2/>", "<m3/>") // the server sends again what it was not told of
	p.acked(3)
	p.expect(x, "<m2/> <m3/>")
	p.alive()
}

// Covers: UP-122.
func TestFailover_6_ResumedInPlaceNothingMissing(t *testing.T) {
	p := managedProbe(t)
	p.deliver(0, "<m/>")
	p.send(1003, stanzas("<a/>"))
	p.acked(1)
	p.forwards = nil
	p.m.resumeFrom()
	p.took(p.m.resumed(p.clock, 1))
	p.sent("")
	p.send(1004, stanzas("<b/>"))
	p.sent("1004: <b/>")
}

// Covers: XBOSH-024.
func TestFailover_4_3_BindResultIsRemembered(t *testing.T) {
	p := newProbe(t, managedConfig(), confirming).login()
	x := p.send(1001, stanzas("<bind/>"))
	p.manage(true)
	p.deliver(0, "!<bound jid='a@b/c'/>")
	p.expect(x, "<bound jid='a@b/c'/>")
	q := restored(t, p, 0)
	q.expect(q.send(1001), "<bound jid='a@b/c'/>")
	q.send(1002)
	q.deliver(0, "<m/>")
	if strings.Contains(q.lastRecord(), " b=") {
		t.Errorf("still in the record: %s", q.lastRecord())
	}
}

// The bind request has no number, so the server's count does not tell that it has it.
//
// Covers: UP-122.
func TestFailover_4_3_BindRequestIsNotSentTwice(t *testing.T) {
	p := newProbe(t, managedConfig(), confirming, holding(2)).login()
	p.send(1001) // gets the bind result
	p.send(1002, stanzas("<bind/>"))
	p.manage(true)
	p.deliver(0, "!<bound/>")
	q := restored(t, p, 0)
	x := q.send(1002, stanzas("<bind/>"))
	q.sent("")
	q.open(x)
	q.send(1003, stanzas("<a/>"))
	q.sent("1003: <a/>")
	if q.m.sm.up != 1 {
		t.Errorf("%d counted", q.m.sm.up)
	}
}

// Covers: UP-122.
func TestFailover_4_3_StanzasBehindTheBindRequest(t *testing.T) {
	p := newProbe(t, managedConfig(), confirming, holding(2)).login()
	p.slow = true
	p.send(1001)
	p.send(1002, stanzas("<bind/>", "<a/>"))
	p.took(p.m.enabled(p.clock, true))
	p.took(p.m.forwarded(p.clock, 1002, 1))
	p.deliver(0, "!<bound/>")
	if p.lastRecord() != "" {
		t.Errorf("record %s: which part is counted?", p.lastRecord())
	}
	p.acked(1)
	p.counted = true
	p.deliver(0, "<m/>")
	if p.lastRecord() == "" {
		t.Error("void although it is answered")
	}
}

// Covers: UP-128, BOSH-142.
func TestFailover_4_3_NothingIsSavedBeforeTheBindResultIsOut(t *testing.T) {
	p := newProbe(t, managedConfig(), confirming, holding(2)).login()
	p.send(1001, stanzas("<bind/>"))
	p.send(1002)
	p.send(1003)
	if len(p.records) > 0 {
		t.Fatal("saved before <enabled/>")
	}
	p.manage(true)
	p.pass(61 * time.Second)
	if len(p.records) == 0 || p.lastRecord() != "" {
		t.Errorf("records %v", p.records)
	}
	if _, _, err := restoreMachine(p.clock, &p.config, "sid", nil, p.m.settings(), ""); err == nil {
		t.Error("restored from a void record")
	}
}

// Covers: XBOSH-024.
func TestFailover_4_3_BindResultLostWithTheConnection(t *testing.T) {
	p := newProbe(t, managedConfig()).login()
	x := p.send(1001, stanzas("<bind/>"))
	p.took(p.m.enabled(p.clock, true))
	p.m.resumeFrom()
	p.took(p.m.resumed(p.clock, 0))
	p.expect(x, "terminate item-not-found")
}

// voidUntil checks that nobody can take over until the browser has what has no number, which its request rid says.
func (p *probe) voidUntil(rid uint64) {
	p.t.Helper()
	if p.lastRecord() != "" {
		p.t.Errorf("record %s", p.lastRecord())
	}
	p.send(rid)
	p.deliver(0, "<m/>")
	if p.lastRecord() == "" {
		p.t.Error("void although the browser has it")
	}
}

// Stanzas that come before <enabled/> have no number: nobody could send them again.
//
// Covers: XBOSH-024.
func TestFailover_4_3_StanzasBeforeEnabled(t *testing.T) {
	p := newProbe(t, managedConfig(), confirming, holding(2)).login()
	p.send(1001, restarting)
	p.pass(time.Second)
	p.deliver(0, "!<stream:features/>")
	p.pass(time.Second)
	p.send(1002)
	p.send(1003, stanzas("<bind/>"))
	p.deliver(0, "!<early/>") // answers 1002
	p.manage(true)
	p.deliver(0, "!<bound/>") // answers 1003
	p.voidUntil(1004)
}

// Covers: XBOSH-001.
func TestFailover_4_3_OtherElementsWithoutNumberMakeTheRecordVoid(t *testing.T) {
	p := managedProbe(t)
	p.deliver(0, "!<failed/>")
	p.voidUntil(1003)
}

// Covers: UP-060.
func TestFailover_6_ServersQueueIsKeptShort(t *testing.T) {
	p := managedProbe(t)
	p.config.queueBytes = 1 << 20
	for range 500 {
		p.deliver(0, "<a/>", "<a/>", "<a/>", "<a/>", "<a/>", "<a/>", "<a/>", "<a/>")
	}
	if n := len(p.acks); n == 0 || p.acks[n-1] < 4000 {
		t.Fatalf("acks %v", p.acks)
	}
	if p.lastRecord() != "" {
		t.Error("the record would lose stanzas")
	}
	rid := uint64(1003)
	for ; p.m.streams.waiting(); rid++ {
		p.send(rid)
	}
	p.send(rid)
	p.send(rid + 1)
	if p.lastRecord() == "" {
		t.Error("void although the browser has caught up")
	}
}

// Covers: UP-126.
func TestFailover_6_ServersQueueIsNotCutBeforeTheStoreKnows(t *testing.T) {
	p := managedProbe(t)
	p.unsaved = true
	p.config.queueBytes = 1 << 20
	for range 4100 {
		p.deliver(0, "<a/>")
	}
	if len(p.acks) > 0 {
		t.Fatalf("acks %v", p.acks)
	}
	if n := len(p.records); n > 10 {
		t.Errorf("%d records", n)
	}
	p.took(p.m.saved(p.clock, p.records[len(p.records)-1].n, true))
	if n := len(p.acks); n == 0 || p.acks[n-1] < 4000 {
		t.Fatalf("acks %v", p.acks)
	}
}

// Covers: BOSH-092.
func TestFailover_12_StoreThatForgot(t *testing.T) {
	p := managedProbe(t)
	old := len(p.records)
	p.deliver(0, "<m/>")
	p.records = p.records[:old]
	q := restored(t, p, 0)
	q.expect(q.send(1003, acking(1002)), "terminate item-not-found")
	q.ended("item-not-found")
}

// The period counts from the last response, so a repeat that brings the session to another replica starts it again.
//
// Covers: BOSH-103.
func TestFailover_5_PauseSurvivesTheReplica(t *testing.T) {
	p := managedProbe(t)
	p.send(1003, pausing(100))
	p.pass(60 * time.Second)
	q := p.takeOver()
	q.resume(0)
	q.expect(q.send(1003, pausing(100)), "empty")
	q.pass(99 * time.Second)
	q.alive()
	q.pass(time.Second)
	q.ended("")

	q = p.takeOver()
	q.resume(0)
	q.send(1004, pausing(0))
	q.pass(time.Second)
	q.ended("")
}

// Covers: BOSH-046, BOSH-059, BOSH-084.
func TestFailover_5_SettingsSurviveTheReplica(t *testing.T) {
	p := managedProbe(t, waiting(17), func(r *request) {
		r.content, r.lang = "text/plain; charset=\"utf-8\"", "de"
	})
	q := p.takeOver()
	if p.m.set != q.m.set {
		t.Errorf("got %+v, want %+v", q.m.set, p.m.set)
	}
	q.resume(1)
	x := q.send(1002)
	q.pass(17 * time.Second)
	if r := q.answered(x); r.content != "text/plain; charset=\"utf-8\"" {
		t.Errorf("content %q", r.content)
	}
}
