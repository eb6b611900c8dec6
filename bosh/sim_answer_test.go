package bosh

import (
	"slices"
	"time"
)

// How machineOracle judges answers.

func (o *machineOracle) answer(a answer, e effects, wasEnded bool) {
	ex := o.take(a.x)
	if ex == nil {
		o.fail("answer/not-open", "x%d was answered before, or is gone", a.x)
		return
	}
	o.truth.lastSeen = o.w.clock
	ri := o.rids[ex.rid]
	newest := ri != nil && ri.live == a.x
	if newest {
		ri.live = 0
	}
	waited := o.w.clock - ex.at
	switch a.kind {
	case answerNothing:
		if o.mayEnd != "standDown" && !o.lostOwnership {
			o.fail("answer/nothing", "x%d is closed without an answer", a.x)
		}
		return
	case answerUnavailable:
		crowded := o.high+1 > o.base+uint64(o.window) // with those that got type=error there is no place for another one
		behindGap := o.resumable && ex.rid > o.received && waited >= o.gapPatience()
		displaced := o.cfg.shared && !newest
		if waited < o.wait && !o.drained && !crowded && !behindGap && !displaced {
			o.honest("BOSH-017/early", "x%d gets 503 after %v, wait is %v", a.x, waited, o.wait)
		}
		if !o.truth.honest && newest && !ri.forwarded && waited == 0 {
			delete(o.rids, ex.rid) // it was not taken in
			o.received = min(o.received, ex.rid-1)
		}
		return
	case answerBody:
	}
	p := a.response
	o.sizes(p)
	switch {
	case p.failed:
		o.failed(ex, ri, newest, p, waited)
	case p.terminate && p.stream != "" && !o.ended && ri != nil: // XEP-0124 §16.6: the end of one stream, the session goes on
		o.truth.terminal(p)
		if ri.answered || ri.passed {
			o.repeated(ex.rid, ri, p)
		} else {
			o.answered(ex, ri, p, e)
		}
	case p.terminate || p.status != 0:
		o.terminated(ex, ri, p, e, wasEnded)
	case ri == nil:
		o.fail("BOSH-132/answered", "rid %d is outside of the window and was answered as if it were not", ex.rid)
	case ri.answered || ri.passed:
		o.repeated(ex.rid, ri, p)
	default:
		o.answered(ex, ri, p, e)
	}
}

// take removes an exchange from those that wait.
func (o *machineOracle) take(x exchange) *simOpen {
	for i, e := range o.open {
		if e.x == x {
			o.open = append(o.open[:i], o.open[i+1:]...)
			return e
		}
	}
	return nil
}

func (o *machineOracle) find(x exchange) *simOpen {
	for _, e := range o.open {
		if e.x == x {
			return e
		}
	}
	return nil
}

// sizes checks BOSH-079.
func (o *machineOracle) sizes(p response) {
	if len(p.payload) > o.cfg.responseMax+1 { // a stream error comes on top
		o.fail("BOSH-079/elements", "%d elements in one response, %d are allowed", len(p.payload), o.cfg.responseMax)
	}
	bytes := 0
	for _, el := range p.payload {
		bytes += len(el.raw)
	}
	if len(p.payload) > 2 && bytes > o.cfg.responseBytes+1024 {
		o.fail("BOSH-079/bytes", "%d bytes in one response, %d are allowed", bytes, o.cfg.responseBytes)
	}
}

// failed judges a type=error: only a request whose place was taken, or one behind a gap, gets it (BOSH-134, BOSH-137).
func (o *machineOracle) failed(ex *simOpen, ri *simRid, newest bool, p response, waited time.Duration) {
	if len(p.payload) > 0 {
		o.fail("BOSH-167/payload", "type=error to rid %d with payload", ex.rid)
	}
	parked := ri != nil && ex.rid > o.received
	if ri == nil || newest && !parked {
		o.honest("BOSH-167/reason", "type=error to rid %d without a reason", ex.rid)
	}
	if !newest && o.cfg.shared { // it may be an older copy that has taken the place
		o.fail("BOSH-137/answer", "type=error to a copy of rid %d", ex.rid)
	}
	if newest && parked && (waited < o.gapPatience() || o.resumable) {
		o.honest("BOSH-134/early", "type=error to rid %d after %v", ex.rid, waited)
	}
}

// terminated judges a terminate body or a legacy status.
func (o *machineOracle) terminated(ex *simOpen, ri *simRid, p response, e effects, wasEnded bool) {
	if p.status != 0 && !o.legacy {
		o.fail("BOSH-016/status", "HTTP %d to a browser with ver", p.status)
	}
	if !simConditions[p.condition] {
		o.fail("BOSH-162/condition", "condition %q", p.condition)
	}
	o.truth.terminal(p)
	if o.resumable && e.save == nil && !wasEnded {
		o.fail("6/unchecked", "terminate %q to rid %d without a record that checks ownership", p.condition, ex.rid)
	}
	stale := ri == nil || ri.answered || ri.passed
	if !o.ended && !wasEnded && !(stale && p.condition == "item-not-found") {
		o.honest("terminate/alive", "terminate %q to rid %d, but the session goes on", p.condition, ex.rid)
	}
	if ri != nil && !ri.answered && p.status == 0 {
		ri.answered, ri.out = true, p
		o.release(ex.rid, p)
	}
}

var simConditions = map[string]bool{
	"": true, "bad-request": true, "host-gone": true, "host-unknown": true, "improper-addressing": true,
	"internal-server-error": true, "item-not-found": true, "other-request": true, "policy-violation": true,
	"remote-connection-failed": true, "remote-stream-error": true, "see-other-uri": true, "system-shutdown": true,
	"undefined-condition": true,
}

// repeated judges an answer to a rid that was answered before, or passed over (BOSH-136).
func (o *machineOracle) repeated(rid uint64, ri *simRid, p response) {
	if ri.passed && !ri.answered {
		if len(p.payload) > 0 {
			o.fail("BOSH-073/passed", "rid %d gets payload after a higher rid was answered", rid)
		}
		ri.answered, ri.out = true, p
		o.truth.commit(rid, 0, nil)
		return
	}
	if ri.foreign {
		ri.foreign, ri.out = false, p // the truth knows what it was answered with
	}
	ri.at = o.w.clock
	same := slices.EqualFunc(ri.out.payload, p.payload, func(a, b element) bool { return simSame(a.raw, b.raw) })
	if !same {
		o.fail("BOSH-136/other", "repeated rid %d gets %s, at first it got %s", rid, traceElements(p.payload), traceElements(ri.out.payload))
	}
	if (ri.out.created == nil) != (p.created == nil) {
		o.fail("BOSH-136/created", "repeated rid %d: other attributes", rid)
	}
}

// answered judges the first answer to a rid in a session that goes on.
func (o *machineOracle) answered(ex *simOpen, ri *simRid, p response, e effects) {
	rid := ex.rid
	if rid > o.received {
		o.fail("BOSH-133/answered", "rid %d is answered, but there is a gap after %d", rid, o.received)
		return
	}
	for r := o.base; r < rid; r++ {
		lower := o.rids[r]
		if lower == nil || lower.answered || lower.passed {
			continue
		}
		if lower.live != 0 && !o.ended {
			o.fail("BOSH-073/order", "rid %d is answered before rid %d", rid, r)
		}
		lower.passed = true
	}
	if !o.processed(rid) && !o.ended && !p.terminate {
		o.fail("invariant-1/early", "rid %d is answered before the server has its stanzas", rid)
	}
	if ri.pause && len(p.payload) > 0 {
		o.fail("BOSH-102/payload", "the answer to pause rid %d has payload", rid)
	}
	o.needless(ex, ri, p)
	o.reports(p)
	if o.resumable && e.save == nil && !o.ended && rid > o.covered {
		o.fail("invariant-3/unsaved", "rid %d is answered and nothing is saved", rid)
	}
	if p.stream == "" && len(p.payload) > 0 && o.streamsOpen() > 1 {
		o.fail("BOSH-156/stream", "payload to rid %d does not say of which stream", rid)
	}
	o.acknowledges(rid, p)
	if (p.created != nil) != ex.creation {
		o.fail("BOSH-065/created", "rid %d: creation attributes %v, creation request %v", rid, p.created != nil, ex.creation)
	} else if p.created != nil {
		o.granted(p)
	}
	ri.answered, ri.out, ri.at = true, p, o.w.clock
	o.base = max(o.base, rid+1)
	o.release(rid, p)
}

// reports checks what the browser is told of a response that it should have by now (BOSH-090, BOSH-091).
func (o *machineOracle) reports(p response) {
	if p.report == 0 {
		return
	}
	ri := o.rids[p.report]
	if ri == nil || ri.foreign || ri.passed {
		return
	}
	age := o.w.clock - ri.at
	switch {
	case !ri.answered:
		o.fail("BOSH-090/report", "report of rid %d, which was not answered", p.report)
	case age < 2*time.Second:
		o.fail("BOSH-091/early", "report of rid %d, answered %v ago", p.report, age)
	case p.since != min(age, 65535*time.Millisecond):
		o.fail("BOSH-090/time", "report of rid %d says %v, it was answered %v ago", p.report, p.since, age)
	}
}

// needless: an empty answer before its time has a reason: too many requests, a pause, a report, a new stream, or the end
// (BOSH-072, BOSH-101, BOSH-089).
func (o *machineOracle) needless(ex *simOpen, ri *simRid, p response) {
	if len(p.payload) > 0 || p.terminate || p.created != nil || p.report > 0 || o.ended || o.drained || o.mayEnd != "" || ri.to != "" && p.stream != "" {
		return
	}
	if waited := o.w.clock - ex.at; waited >= o.wait {
		return
	}
	open := 1
	for rid := ex.rid + 1; rid <= o.received; rid++ {
		later := o.rids[rid]
		if later.pause {
			return
		}
		if e := o.find(later.live); e != nil {
			open++
			if waited := o.w.clock - e.at; waited >= o.wait || later.to != "" && waited >= o.cfg.featuresWait {
				return // its time is over, and this one has to come first
			}
		}
	}
	parked := 0
	for rid := o.received + 1; rid <= o.high; rid++ {
		if later := o.rids[rid]; later != nil && later.live != 0 {
			parked++
		}
	}
	if open+parked > o.window {
		return // it makes place for one behind a gap (BOSH-113)
	}
	if open <= o.hold && !ri.pause {
		o.honest("BOSH-072/needless", "rid %d gets an empty answer after %v, %d requests are open and %d may be held", ex.rid,
			o.w.clock-ex.at, open, o.hold)
	}
}

// simSame compares elements. A server that sends one again adds to it, so numbers count (failover-design 6).
func simSame(a, b []byte) bool {
	n, numbered := simNumber(a)
	m, _ := simNumber(b)
	return numbered && n == m || !numbered && string(a) == string(b)
}

func (o *machineOracle) release(rid uint64, p response) {
	stream := o.streamOf(p)
	q := o.queue(stream)
	for _, el := range p.payload {
		if n, ok := simNumber(el.raw); ok && n > q.released {
			q.released = n
			q.bytes -= len(el.raw)
			if len(q.messages) > 0 && q.messages[0] == n {
				q.messages = q.messages[1:]
			}
		}
	}
	o.truth.commit(rid, stream, p.payload)
}

// streamOf is the stream that a response belongs to (BOSH-156).
func (o *machineOracle) streamOf(p response) int {
	if p.stream == "" {
		return 0
	}
	if i := slices.Index(o.names, p.stream); i >= 0 {
		return i
	}
	o.fail("BOSH-153/name", "stream %q was never named", p.stream)
	return 0
}

func (o *machineOracle) streamsOpen() int {
	n := 0
	for _, st := range o.streams {
		if st == streamOpen {
			n++
		}
	}
	return n
}

// processed says whether everything up to rid is with the server: written, and acknowledged where it counts stanzas.
func (o *machineOracle) processed(rid uint64) bool {
	if o.awaiting {
		return false
	}
	for r := rid; r >= o.first; r-- {
		ri := o.rids[r]
		if ri == nil {
			return true // before a takeover
		}
		if ri.written {
			return !o.sm || ri.upTotal <= o.ackedH
		}
		if st := o.stateOf(ri.target); !ri.forwarded && ri.target >= 0 && (ri.answered || st == streamGone || st == streamClosed) {
			continue // for a stream that was over
		}
		if ri.forwarded || (len(ri.payload) > 0 || ri.restart) && !(o.adopted && o.truth.handled(ri.payload)) {
			return false
		}
	}
	return true
}

// acknowledges checks the ack attribute (BOSH-082 to BOSH-084).
func (o *machineOracle) acknowledges(rid uint64, p response) {
	if p.created != nil {
		if p.hasAck && p.ack != o.first {
			o.fail("BOSH-063/ack", "creation response with ack=%d, its rid is %d", p.ack, o.first)
		}
		o.acks = p.hasAck
		return
	}
	if !o.acks {
		if p.hasAck {
			o.fail("BOSH-084/ack", "ack on rid %d was never announced", rid)
		}
		return
	}
	if o.ended || rid <= o.covered {
		return
	}
	safe := rid
	for safe < o.received && o.processed(safe+1) {
		safe++
	}
	highest := o.received
	if o.sm {
		highest = safe
	}
	switch {
	case !p.hasAck && safe > rid && !o.adopted && !p.terminate:
		o.fail("BOSH-083/missing", "answer to rid %d without ack, %d is received", rid, safe)
	case p.hasAck && (p.ack < safe || p.ack > highest):
		o.fail("BOSH-082/value", "answer to rid %d has ack=%d, right is %d to %d", rid, p.ack, safe, highest)
	case p.hasAck && p.ack == rid:
		o.fail("BOSH-083/needless", "answer to rid %d has its own rid as ack", rid)
	}
}

// granted checks what the creation response promises (XEP-0124 §7.2).
func (o *machineOracle) granted(p response) {
	c := p.created
	switch {
	case c.sid != o.s.sid:
		o.fail("BOSH-054/sid", "sid %q", c.sid)
	case c.wait != o.wait:
		o.fail("BOSH-056/wait", "wait %v, right is %v", c.wait, o.wait)
	case c.hold != o.hold:
		o.fail("BOSH-058/hold", "hold %d, right is %d", c.hold, o.hold)
	case c.requests <= c.hold:
		o.fail("BOSH-057/requests", "requests %d with hold %d", c.requests, c.hold)
	case !o.legacy && c.hold > 0 && c.requests != c.hold+1:
		o.fail("BOSH-057/requests", "requests %d with hold %d", c.requests, c.hold)
	case c.inactivity <= 0 || c.inactivity < o.cfg.inactivity:
		o.fail("BOSH-096/inactivity", "inactivity %v", c.inactivity)
	case o.polling && c.inactivity <= o.cfg.inactivity+c.polling:
		o.fail("BOSH-098/inactivity", "inactivity %v of a polling session, normal is %v, polling %v", c.inactivity,
			o.cfg.inactivity, c.polling)
	case c.maxpause != o.cfg.maxpause:
		o.fail("BOSH-062/maxpause", "maxpause %v", c.maxpause)
	case c.hasVer == o.legacy:
		o.fail("BOSH-059/ver", "ver %v for legacy %v", c.hasVer, o.legacy)
	}
	o.window, o.inactivity, o.isCreated = c.requests, c.inactivity, true
	o.truth.grant = simGrant{wait: o.wait, inactivity: o.inactivity, hold: o.hold, window: o.window, acks: o.acks, legacy: o.legacy}
}
