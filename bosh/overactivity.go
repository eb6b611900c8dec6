package bosh

import "time"

// jitter is how much too early an empty request may come (BOSH-117).
const jitter = 500 * time.Millisecond

// At most repeatMax repeats may come in repeatPeriod, whatever their rids are (XEP-0124 §14.3).
const (
	repeatMax    = 50
	repeatPeriod = 10 * time.Second
)

// rateState judges how often a browser asks (XEP-0124 §11, §12).
type rateState struct {
	polling time.Duration // advertised; 0: no limit

	seen     bool
	rid      uint64        // last new request whose turn has come
	at       time.Duration // its arrival
	empty    bool
	nothing  bool // it was answered, without payload
	arrived  bool
	arrival  time.Duration // of the last new request, in whatever order
	repeats  int
	repeated time.Duration // when repeats was zero
}

// turn judges a new request in a polling session, in rid order (XEP-0124 §12): two empty ones in a row must keep their
// distance if the first was answered without payload.
func (s *rateState) turn(rid uint64, at time.Duration, empty, isPolling bool) bool {
	ok := !isPolling || !empty || !s.seen || !s.empty || !s.nothing || s.apart(at, s.at)
	s.seen, s.rid, s.at, s.empty, s.nothing = true, rid, at, empty, false
	return ok
}

// answered notes the first answer to a request.
func (s *rateState) answered(rid uint64, nothing bool) {
	if rid == s.rid {
		s.nothing = nothing
	}
}

// apart says whether two requests are far enough from each other.
func (s *rateState) apart(at, before time.Duration) bool {
	return s.polling == 0 || at-before+jitter >= s.polling
}

// repeat counts a repeat; false: there are too many.
func (s *rateState) repeat(now time.Duration) bool {
	if now-s.repeated >= repeatPeriod {
		s.repeats, s.repeated = 0, now
	}
	s.repeats++
	return s.repeats <= repeatMax
}

// abandonedAfter is how old a request may be that counts although the server keeps us from answering it. Beyond that its
// browser may be gone without our having been told, and a new page may have taken over.
const abandonedAfter = 500 * time.Millisecond

// simultaneous counts the requests that have no answer (XEP-0124 §11).
func (m *machine) simultaneous() int {
	n := 0
	for rid := m.win.answered + 1; rid <= m.win.highest; rid++ {
		s := m.win.at(rid)
		if s != nil && s.x != 0 && (rid > m.win.received || m.now-s.at < abandonedAfter || m.releasable(s)) {
			n++
		}
	}
	return n
}

// canMakePlace says whether the oldest request could be answered now (BOSH-113): after a page load requests of the old page
// may still be held whose end nobody has noticed, and those of the new page come in any order.
func (m *machine) canMakePlace() bool {
	s := m.win.oldest()
	return s != nil && !s.created && m.releasable(s)
}

// makePlace answers the oldest requests until no more than places are left. It says whether that was enough.
func (m *machine) makePlace(places int) bool {
	m.pump()
	for m.simultaneous() > places {
		if !m.canMakePlace() {
			return false
		}
		m.respond(m.win.oldest())
	}
	return true
}

// overactive judges a new request that was just taken in by what still has no answer (XEP-0124 §11). What the server
// delays does not count: that is not the browser's doing, and hold is always below requests (BOSH-113).
func (m *machine) overactive(r *request) {
	before := m.rate.arrival
	first := !m.rate.arrived
	m.rate.arrival, m.rate.arrived = m.now, true
	if m.life != lifeLive || r.rid != m.win.highest || len(r.payload) > 0 || r.restart || r.terminate || m.isPause(r) || first || m.rate.apart(m.now, before) {
		return
	}
	m.pump()
	m.settle()
	n := 0
	for rid := m.win.answered + 1; rid <= m.win.highest; rid++ {
		if s := m.win.at(rid); s != nil && s.x != 0 && (rid > m.win.received || m.releasable(s)) {
			n++
		}
	}
	if n >= m.set.requests {
		if s := m.win.at(r.rid); s != nil {
			m.kill(s.x, policyViolation, "too many empty requests at once")
		}
	}
}
