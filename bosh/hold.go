package bosh

import "time"

// settle answers what is to be answered now, always the oldest request first (XEP-0124 §8: answers in rid order).
func (m *machine) settle() {
	for m.life < lifeOver {
		m.passAbandoned()
		s := m.win.oldest()
		if s == nil || !m.releasable(s) || !m.flush && !m.isDue(s) {
			return
		}
		m.respond(s)
	}
}

// releasable says whether a request may be answered: the server has it, and all before it (failover-design 2.1). Once the
// stream is over nothing is promised any more.
func (m *machine) releasable(s *slot) bool {
	switch {
	case m.life == lifeDying:
		return true
	case s.rid > m.win.written || m.isResuming():
		return false
	}
	return m.sm.has(s.u) || m.isChoked()
}

// isResuming: the session was taken over and its stream is not there yet.
func (m *machine) isResuming() bool { return m.adopted && m.streams.links[0].state == linkOpening }

// passAbandoned gives up requests for whose answer nobody waits, as if an empty answer had been lost, when there are more
// than the browser can have in flight.
func (m *machine) passAbandoned() {
	for m.win.unanswered() > m.set.requests {
		s := m.win.at(m.win.answered + 1)
		if s.x != 0 || !m.releasable(s) {
			return
		}
		m.sayNothing(s)
	}
}

// isDue says whether the oldest request is to be answered now.
func (m *machine) isDue(s *slot) bool {
	content := m.streams.waiting()
	switch {
	case m.life == lifeDying && !content:
		return true
	case content && !s.pause && !m.mayStillAsk(): // XEP-0124 §8: at once
		return true
	case m.replay.at(m.acks.report) != nil: // XEP-0124 §9.2
		return true
	}
	return m.crowded()
}

// mayStillAsk: right after a takeover a browser that acts on answers as they come should get old ones first
// (failover-design 12).
func (m *machine) mayStillAsk() bool {
	return m.now < m.unheard && m.replay.any(func(k *kept) bool { return k.unheard })
}

// crowded says whether some request that could be answered must be: it or one before it is over its time, it ends a
// pause's silence, or more than hold wait.
func (m *machine) crowded() bool {
	held := 0
	for rid := m.win.answered + 1; rid <= m.win.received; rid++ {
		s := m.win.at(rid)
		if !m.releasable(s) {
			break
		}
		if s.x == 0 {
			continue
		}
		held++
		if s.pause || s.at+m.patience(s) <= m.now { // XEP-0124 §10, §8
			return true
		}
	}
	return held > m.set.hold && !m.awaitsFeatures()
}

// awaitsFeatures: the creation response is not held for the browser's sake.
func (m *machine) awaitsFeatures() bool {
	s := m.win.oldest()
	return s != nil && s.created && m.win.received == s.rid
}

// patience is how long a request is held. The answers to a creation request and to one that opens a stream wait for the
// features, but not as long (BOSH-067).
func (m *machine) patience(s *slot) time.Duration {
	if s.created || s.adds != 0 {
		return min(m.set.wait, m.config.featuresWait)
	}
	return m.set.wait
}

// gapPatience is how long a request waits for a missing lower one before it is told of the gap (BOSH-134). What waits in
// a session that other replicas can take is in this replica alone, so its browser must not be made to believe that it was
// answered, as some do by type=error; and by several 503 in a row others believe that the session is lost. So it waits.
func (m *machine) gapPatience() time.Duration {
	if m.sm.resumable {
		return max(m.set.wait, m.config.gapWait)
	}
	return min(m.set.wait, m.config.gapWait)
}

// gapLimit is how long a gap may last at least. Nobody is told of it in such a session, so the browser only repeats the
// missing request once it has given its connection up: libraries do that a tenth of wait, or some seconds, after wait.
func (m *machine) gapLimit() time.Duration {
	if m.sm.resumable {
		return m.set.wait*5/4 + m.config.stuckWait
	}
	return 0
}

// overdue deals with requests that cannot be answered in time: those behind a gap get type=error (AMB-16), or 503 as those do
// that the server delays (BOSH-017).
func (m *machine) overdue() {
	if m.life >= lifeOver {
		return
	}
	for rid := m.win.answered + 1; rid <= m.win.highest; rid++ {
		s := m.win.at(rid)
		if s == nil || s.x == 0 {
			continue
		}
		switch at, kind := m.limit(s); {
		case at > m.now:
		case kind == limitGap && m.sm.resumable:
			m.reply(s.x, answerUnavailable)
			s.x = 0
		case kind == limitGap:
			m.fail(s.x, s.rid)
			s.x, s.told = 0, true
		case kind == limitStuck:
			m.reply(s.x, answerUnavailable)
			s.x = 0
		}
	}
	for rid := m.replay.low + 1; rid <= m.replay.high; rid++ {
		if k := m.replay.at(rid); k.x != 0 && k.since+m.set.wait+m.config.stuckWait <= m.now {
			m.reply(k.x, answerUnavailable)
			k.x = 0
		}
	}
}

type limitKind uint8

const (
	limitHeld limitKind = iota
	limitGap
	limitStuck
)

// limit is when something has to happen to a request for whose answer somebody waits.
func (m *machine) limit(s *slot) (time.Duration, limitKind) {
	switch {
	case s.rid > m.win.received:
		return s.at + m.gapPatience(), limitGap
	case !m.releasable(s):
		return s.at + m.set.wait + m.config.stuckWait, limitStuck
	}
	return s.at + m.patience(s), limitHeld
}

// deadline is the next moment at which something is due.
func (m *machine) deadline() (at time.Duration, ok bool) {
	earlier := func(t time.Duration) {
		if !ok || t < at {
			at, ok = t, true
		}
	}
	switch m.life {
	case lifeForgotten:
		return 0, false
	case lifeOver:
		return m.forgetAt, true
	case lifeClosing:
		earlier(m.closesBy())
	case lifeLive, lifeDying:
	}
	for rid := m.win.answered + 1; rid <= m.win.highest; rid++ {
		if s := m.win.at(rid); s != nil && s.x != 0 {
			t, _ := m.limit(s)
			earlier(t)
		}
	}
	for rid := m.replay.low + 1; rid <= m.replay.high; rid++ {
		if k := m.replay.at(rid); k.x != 0 {
			earlier(k.since + m.set.wait + m.config.stuckWait)
		}
	}
	if m.unheard > m.now && m.streams.waiting() {
		earlier(m.unheard)
	}
	if t, on := m.idle.deadline(m.win.gap(), m.gapLimit()); on {
		earlier(t)
	}
	return at, ok
}
