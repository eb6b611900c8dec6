package bosh

import "time"

// XEP-0198 resumption at the server, and in the shell.

// resumes handles <resume h/> on a new connection. h may not be behind what was acknowledged (servers destroy or refuse such
// a session, 7.2), and not beyond what the browser has.
func (s *simStream) resumes(c *simConn, h uint32) {
	w := s.server.w
	if s.phase != phaseOnline || !s.resumable {
		c.push(simDownward{kind: downNotResumed})
		return
	}
	if h < s.acked && s.truth.truth.lossy {
		s.finish() // the gateway does not know any more what it has acknowledged
		c.push(simDownward{kind: downNotResumed})
		return
	}
	if h < s.acked {
		w.fail("resume/h-behind", "<resume h=%d/> after <a h=%d/>", h, s.acked)
		return
	}
	s.acknowledged(h)
	if old := s.conn; old != nil && old != c {
		old.push(simDownward{kind: downEnded, cause: cause{kind: causeLost, condition: "replaced"}})
		if w.plan.lateHandling {
			old.lingers = w.clock + 5*time.Millisecond
		}
		s.held = nil // what it has not even read by now is beyond any pause (12)
	}
	s.conn = c
	w.trace.add(w.clock, "server", "resumed by %s: h=%d, has handled %d", c.session.host.name, h, s.handled)
	c.push(simDownward{kind: downResumed, h: s.handled})
	for _, counted := range s.sent[h:] {
		el := counted.el
		el.raw = append([]byte(nil), el.raw...) // the server adds a <delay/>: other bytes, same number
		c.push(simDownward{kind: downElement, el: el})
	}
}

// resume opens a new connection and asks for the stream on it.
func (s *simSession) resume() {
	w := s.w
	st := s.truth.stream(0).server
	h := s.m.resumeFrom()
	if w.plan.without(ruleResumeAt) {
		h = max(h, s.downCount)
	}
	c := &simConn{w: w, stream: st, session: s, counting: true}
	s.ackSent = max(s.ackSent, h)
	s.downCount = h
	s.connecting = c
	c.send(simUpward{resume: true, h: h})
}

// reads says whether the shell still looks at a connection.
func (s *simSession) reads(c *simConn) bool {
	return c == s.connecting || c.index < len(s.conns) && s.conns[c.index] == c
}

// attach puts a resumed connection into the place of the old one. Forwardings that were not written yet are void: the
// machine returns again what the server may lack.
func (s *simSession) attach(c *simConn, h uint32) {
	if len(s.conns) == 0 {
		s.conns = []*simConn{nil}
	}
	s.connecting = nil
	s.conns[0] = c
	if !s.w.plan.without(ruleLane) {
		kept := s.up[:0]
		for _, item := range s.up {
			if item.forward == nil {
				kept = append(kept, item)
			}
		}
		s.up = kept
		s.upGeneration++
	}
	s.w.trace.add(s.w.clock, s.host.name, "resumed(%d)", h)
	s.o.restored(h)
	s.event(func(now time.Time) effects { return s.m.resumed(now, h) })
	s.upCount = h
}

// lostConnection is the end of a stream's connection under a session that goes on: whose is the session? If still ours,
// resume it in place (6).
func (s *simSession) lostConnection(end cause) {
	s.lostCause = end
	s.w.trace.add(s.w.clock, s.host.name, "connection lost (%s)", end.condition)
	s.checkAndResume(0)
}
