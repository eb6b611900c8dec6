package bosh

import "time"

// What a simSession reports to its machine, besides forwarded and saved, which stand with the lanes.

// create makes the machine for a creation request.
func (s *simSession) create(t *simTry, names []string, r *request) {
	w := s.w
	s.enter(t, r)
	w.trace.add(w.clock, s.host.name, "newMachine(x%d, %s)", s.last, traceRequest(r))
	s.event(func(now time.Time) effects {
		m, e := newMachine(now, s.o.cfg, s.sid, names, s.last, r)
		s.m = m
		if entry := s.site().store.entries[s.sid]; entry != nil {
			entry.settings = m.settings()
		}
		return e
	})
}

func (s *simSession) request(t *simTry, r *request) {
	w := s.w
	s.enter(t, r)
	if w.trace != nil {
		w.trace.add(w.clock, s.host.name, "request(x%d, %s)", s.last, traceRequest(r))
	}
	x := s.last
	s.event(func(now time.Time) effects { return s.m.request(now, x, r) })
}

// refused reports a request whose body cannot be read.
func (s *simSession) refused(t *simTry, r *request, condition string) {
	w := s.w
	s.enter(t, &request{sid: r.sid})
	x := s.last
	w.trace.add(w.clock, s.host.name, "refused(x%d, %s)", x, condition)
	s.o.mayEnd = "refused"
	s.event(func(now time.Time) effects { return s.m.refused(now, x, condition) })
}

func (s *simSession) enter(t *simTry, r *request) {
	s.last++
	t.hop = &simHop{t: t, session: s, x: s.last}
	s.tries[s.last] = t.hop
	s.rids[s.last] = r.rid
	s.o.arrived(s.last, r)
}

// gone reports that the connection of a request broke. It may come late, after the answer.
func (s *simSession) gone(x exchange) {
	s.onHost(func() {
		w := s.w
		if w.trace != nil {
			w.trace.add(w.clock, s.host.name, "gone(x%d)", x)
		}
		s.o.gone(x)
		s.event(func(now time.Time) effects { return s.m.gone(now, x) })
	})
}

func (s *simSession) opened(c *simConn) {
	w := s.w
	w.trace.add(w.clock, s.host.name, "opened(%d)", c.index)
	h := streamHeader{id: "id", from: "localhost", version: "1.0"}
	s.event(func(now time.Time) effects { return s.m.opened(now, c.index, h) })
}

func (s *simSession) openFailed(stream int, condition string) {
	w := s.w
	w.trace.add(w.clock, s.host.name, "openFailed(%d, %s)", stream, condition)
	s.o.streamOver(stream)
	s.event(func(now time.Time) effects { return s.m.openFailed(now, stream, condition) })
}

func (s *simSession) delivered(c *simConn, els []element) {
	w := s.w
	if w.trace != nil {
		w.trace.add(w.clock, s.host.name, "delivered(%d, %s)", c.index, traceElements(els))
	}
	s.o.delivered(c.index, els)
	s.event(func(now time.Time) effects { return s.m.delivered(now, c.index, els) })
	for _, el := range els {
		if el.stanza {
			s.downCount++
		}
	}
	if s.o.resumable && w.plan.without(ruleAckDown) && s.downCount > s.ackSent {
		s.ackSent = s.downCount
		c.send(simUpward{ack: true, h: s.downCount})
	}
}

func (s *simSession) acked(h uint32) {
	w := s.w
	if w.trace != nil {
		w.trace.add(w.clock, s.host.name, "acked(%d)", h)
	}
	s.o.acked(h)
	s.event(func(now time.Time) effects { return s.m.acked(now, h) })
}

func (s *simSession) ackRequested() {
	w := s.w
	w.trace.add(w.clock, s.host.name, "ackRequested()")
	s.o.askedForAck = true
	s.event(func(now time.Time) effects { return s.m.ackRequested(now) })
}

func (s *simSession) enabled(resumable bool) {
	w := s.w
	w.trace.add(w.clock, s.host.name, "enabled(resumable=%v)", resumable)
	s.o.enabled(resumable)
	s.event(func(now time.Time) effects { return s.m.enabled(now, resumable) })
}

func (s *simSession) ended(c *simConn, end cause) {
	w := s.w
	if c.closed && w.chance(0.3) {
		return // the shell stopped reading when it closed
	}
	if !c.closed && w.plan.replicas > 0 && s.o.resumable && !s.o.ended {
		s.lostConnection(end)
		return
	}
	w.trace.add(w.clock, s.host.name, "ended(%d, %d %s)", c.index, end.kind, end.condition)
	s.o.streamOver(c.index)
	s.event(func(now time.Time) effects { return s.m.ended(now, c.index, end) })
}

func (s *simSession) shutdown() {
	w := s.w
	w.trace.add(w.clock, s.host.name, "shutdown()")
	s.o.mayEnd = "shutdown"
	s.event(func(now time.Time) effects { return s.m.shutdown(now) })
}

// cut breaks the connection without </stream:stream>: the server keeps the session if it can be resumed.
func (c *simConn) cut() {
	c.lose()
	st := c.stream
	if st.conn != c {
		return
	}
	if st.resumable {
		st.conn = nil
		return
	}
	st.cleanly = false
	st.finish()
}

// poke makes a spurious tick now and then: early and needless calls are harmless.
func (s *simSession) poke(every time.Duration) {
	s.w.after(s.w.between(0, 2*every), func() {
		if s.over || s.dead {
			return
		}
		if s.m != nil && s.running() {
			s.w.trace.add(s.w.clock, s.host.name, "needless tick")
			s.event(func(now time.Time) effects { return s.m.tick(now) })
		}
		s.poke(every)
	})
}
