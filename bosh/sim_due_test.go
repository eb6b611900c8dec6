package bosh

import (
	"fmt"
	"slices"
	"time"
)

// How machineOracle judges what has not happened: answers that are due, requests held too many or too long, sessions that
// should have ended, and those that should not.

// due looks at everything that waits for an answer.
func (o *machineOracle) due() {
	if o.ended || o.w.failure != nil {
		return
	}
	for _, e := range o.open {
		ri := o.rids[e.rid]
		switch {
		case ri == nil:
			o.fail("BOSH-132/late", "rid %d is outside of the window and waits", e.rid)
		case ri.live != e.x:
			o.fail("BOSH-137/late", "x%d waits although a repeat of rid %d took its place", e.x, e.rid)
		case (ri.answered || ri.passed) && !o.adopted:
			o.fail("BOSH-136/late", "a repeat of rid %d waits although it was answered", e.rid)
		case e.rid > o.received && o.w.clock-e.from > o.gapPatience()+o.slack():
			o.fail("BOSH-134/late", "rid %d waits behind a gap for %v", e.rid, o.w.clock-e.from)
		}
	}
	o.held()
}

// gapPatience is how long a request may wait behind a gap (BOSH-134). In a session that others can take over none is told of
// it, since some browsers take that for an answer.
func (o *machineOracle) gapPatience() time.Duration {
	if o.resumable {
		return max(o.wait, o.cfg.gapWait)
	}
	return min(o.wait, o.cfg.gapWait)
}

// held checks the requests in order: how many are held, for how long, and whether there is something to say.
func (o *machineOracle) held() {
	held, pauseAt := 0, uint64(0)
	for rid := o.received; rid >= o.base; rid-- {
		if ri := o.rids[rid]; ri != nil && ri.pause && !ri.answered && ri.live != 0 && o.processed(rid) {
			pauseAt = rid
			break
		}
	}
	blocked := false
	for rid := o.base; rid <= o.received; rid++ {
		ri := o.rids[rid]
		if ri == nil || ri.answered || ri.live == 0 {
			continue
		}
		e := o.find(ri.live)
		waited := o.w.clock - e.at
		if blocked = blocked || !o.processed(rid); blocked {
			if waited > o.wait+o.cfg.stuckWait+o.slack() {
				o.fail("BOSH-071/stuck", "rid %d waits for %v", rid, waited)
			}
			continue
		}
		if e.creation && waited < min(o.wait, o.cfg.featuresWait) && !o.pending() {
			continue // BOSH-067: it waits for the features
		}
		held++
		switch {
		case rid <= pauseAt:
			o.fail("BOSH-101/held", "rid %d is held after pause rid %d", rid, pauseAt)
		case o.pending() && !o.adopted:
			o.fail("BOSH-075/late", "rid %d is held although there is something for the browser", rid)
		case waited > o.wait+o.slack():
			o.fail("BOSH-072/wait", "rid %d is held for %v, wait is %v", rid, waited, o.wait)
		}
	}
	if held > o.hold {
		o.fail("BOSH-072/hold", "%d requests are held, hold is %d", held, o.hold)
	}
}

// pending says whether elements wait for the browser.
func (o *machineOracle) pending() bool {
	for i, q := range o.queued {
		if q.delivered > q.released && o.stateOf(i) != streamClosed {
			return true
		}
	}
	return false
}

// becomeIdle notes when nothing is open any more, and plans a look at the moment when the session must be over.
func (o *machineOracle) becomeIdle() {
	if len(o.open) > 0 || o.idle || o.ended {
		return
	}
	o.idle, o.idleSince = true, o.w.clock
	o.lookWhenIdle(o.idleSince)
}

// lookWhenIdle looks whether a session idle since then ends in time. A process that was frozen meanwhile has longer.
func (o *machineOracle) lookWhenIdle(since time.Duration) {
	late := time.Second + o.slack()
	if o.adopted {
		late += time.Second // the store knows deadlines by the second
	}
	at := max(since, o.thawedAt) + o.inForce() + late
	o.w.after(at-o.w.clock, func() {
		switch {
		case !o.idle || o.idleSince != since || o.ended || o.s.over || o.s.dead:
		case o.s.host.frozen || max(since, o.thawedAt)+o.inForce()+late > o.w.clock:
			o.w.after(time.Second, func() { o.lookWhenIdle(since) })
		default:
			o.fail("BOSH-093/lives", "nothing was open for %v, inactivity is %v", o.w.clock-since, o.inForce())
		}
	})
}

// inForce is the inactivity time that counts now.
func (o *machineOracle) inForce() time.Duration {
	if !o.truth.honest {
		return max(o.inactivity, o.cfg.maxpause) + 2*o.cfg.polling
	}
	if o.paused {
		return o.pause
	}
	if o.polling && !o.isCreated {
		return o.inactivity + 3*o.cfg.polling // BOSH-098: it was to be told something above that
	}
	return o.inactivity
}

// thawed: what fell due while the process was frozen is due only now.
func (o *machineOracle) thawed() {
	for _, e := range o.open {
		e.from = o.w.clock
		o.watch(e)
	}
	o.thawedAt = o.w.clock
}

// end judges whether the session may end now.
func (o *machineOracle) end(e effects) {
	if o.ended {
		o.fail("end/twice", "the session ended before, at %v", o.endedAt)
		return
	}
	o.ended, o.endedAt = true, o.w.clock
	if !simConditions[e.end.condition] {
		o.fail("BOSH-162/condition", "condition %q", e.end.condition)
	}
	if e.end.keep && !o.drained && o.mayEnd != "standDown" && !o.lostOwnership {
		o.fail("end/keep", "the record stays although nobody else takes the session")
	}
	if !o.mayEndNow() && !(e.end.condition == "policy-violation" && o.high > o.received && o.deadConnection()) {
		text := fmt.Sprintf("condition %q (%s) in a session that should live", e.end.condition, e.end.reason)
		if o.resumable && e.save != nil {
			o.suspect, o.suspectAt = text, e.save.n // void if the record is refused (6)
		} else {
			o.honest("end/unjustified", "%s", text)
		}
	}
	if o.high > o.received && !o.resumable && o.truth.mayDie == "" {
		o.truth.mayDie = "behind the gap the browser took type=error for an answer" // AMB-16
	}
	o.lookWhenEnded()
}

// lookWhenEnded looks whether a session that is over is forgotten once the browser asks for nothing more.
func (o *machineOracle) lookWhenEnded() {
	limit := o.inForce() + o.inactivity + o.cfg.grace + o.cfg.stuckWait + o.wait + 2*time.Second
	since := max(o.truth.lastSeen, o.endedAt)
	o.w.after(since+limit-o.w.clock, func() {
		switch {
		case !o.s.running():
		case o.truth.lastSeen > since:
			o.lookWhenEnded()
		default:
			o.fail("forget/late", "the session ended at %v, nobody asked since %v, and it is still there", o.endedAt, since)
		}
	})
}

// stored judges an end whose record is in the store now, or was refused.
func (o *machineOracle) stored(n uint64, ok bool) {
	if ok {
		o.savedUpTo = max(o.savedUpTo, n)
		if o.suspect != "" && n >= o.suspectAt {
			o.honest("end/unjustified", "%s", o.suspect)
		}
		return
	}
	o.lostOwnership = true
}

// deadConnection says whether a request is open whose connection is gone without the gateway's notice: after a page load
// such a request counts like any other, and with an empty one behind a gap they are too many (BOSH-112).
func (o *machineOracle) deadConnection() bool {
	return slices.ContainsFunc(o.open, func(e *simOpen) bool {
		h := o.s.tries[e.x]
		return h == nil || h.t.closed
	})
}

func (o *machineOracle) mayEndNow() bool {
	switch {
	case o.mayEnd != "" || o.drained || o.lostOwnership || o.truth.mayDie != "":
		return true
	case len(o.streams) > 0 && !slices.Contains(o.streams, streamOpen):
		return true
	case o.idle && (o.w.clock-o.idleSince >= o.inForce() || !o.isCreated && o.w.clock-o.idleSince >= o.inactivity):
		return true
	case o.high > o.received && o.w.clock-o.gapSince >= min(o.inForce(), o.inactivity):
		return true // AMB-16: the gap never closed
	}
	return false
}

// forgotten judges the end of the end: nothing may be left.
func (o *machineOracle) forgotten() {
	if !o.ended && o.mayEnd != "standDown" && !o.lostOwnership {
		o.fail("forget/alive", "the session is forgotten before it ended")
	}
	if len(o.open) > 0 {
		o.fail("forget/unanswered", "x%d (rid %d) was never answered", o.open[0].x, o.open[0].rid)
	}
	for i, st := range o.streams {
		if st == streamOpen {
			o.fail("forget/stream", "stream %d was left open", i)
		}
	}
}

// afterForget: a late event returns nothing.
func (o *machineOracle) afterForget(e effects) {
	if len(e.open)+len(e.forward)+len(e.close)+len(e.answer) > 0 || e.save != nil || e.ackUpstream || e.end != nil ||
		e.forget || !e.next.IsZero() {
		o.fail("forget/effects", "an event after forget has effects")
	}
}
