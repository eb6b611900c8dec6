package bosh

import "time"

// How a replica serves a request for a session that it does not have: it asks the store, hands the request on to the
// owner, or takes the session over (failover-design 7).

// lookUp asks the store who owns the session of a request.
func (r *simReplica) lookUp(t *simTry, req *request, deadOwner *simReplica, deadInc int, force bool) {
	if t.withdrawn {
		return
	}
	t.at = r
	r.site.store.claim(r, req.sid, deadOwner, deadInc, force, func(c simClaim) {
		w := r.site.w
		if c.kind != claimMine && t.closed && !t.ghost {
			return // who has claimed has to take over
		}
		switch c.kind {
		case claimAway:
			t.respond(answer{kind: answerUnavailable})
		case claimUnknown:
			t.respond(answer{response: response{terminate: true, condition: "item-not-found"}})
		case claimMine:
			r.adopt(t, req, c)
		case claimOwned:
			if c.owner == r {
				if !r.serveLocal(t, req) {
					t.respond(answer{kind: answerUnavailable})
				}
				return
			}
			w.after(w.between(0, w.plan.relayLatency), func() { r.handOn(t, req, c) })
		}
	})
}

// handOn relays a request to its owner, one hop.
func (r *simReplica) handOn(t *simTry, req *request, c simClaim) {
	w := r.site.w
	x := c.owner
	if r.dead {
		return
	}
	if x.dead || x.incarnation != c.inc {
		r.do(func() { r.lookUp(t, req, x, c.inc, false) }) // connection refused: it is dead
		return
	}
	t.relay = r
	served, waited := false, false
	x.do(func() {
		served = true
		if t.relay != r || waited {
			return
		}
		if !x.serveLocal(t, req) {
			r.do(func() { t.respond(answer{kind: answerUnavailable}) })
		}
	})
	w.after(5*time.Second, func() {
		if !served && !r.dead && !t.closed {
			waited = true // whatever the owner does with it once it wakes is lost
			t.release()
			r.do(func() { r.lookUp(t, req, nil, 0, true) })
		}
	})
}

// adopt takes a session over: connect, pause, check, resume (7.2, 7.3).
func (r *simReplica) adopt(t *simTry, req *request, c simClaim) {
	w := r.site.w
	sid := req.sid
	s := &simSession{w: w, host: r, sid: sid, sure: r.doubts, truth: r.site.truths[sid], tries: map[exchange]*simHop{}, rids: map[exchange]uint64{}}
	s.o = newMachineOracle(w, s, &w.plan.config, s.truth)
	s.o.adopt(c)
	s.lostCause = cause{kind: causeLost}
	t.at = r
	r.sessions[sid] = s
	r.site.sessions = append(r.site.sessions, s)
	if !s.restore(c) {
		r.forgotten(s)
		s.dead = true
		t.respond(answer{response: response{terminate: true, condition: "item-not-found"}})
		return
	}
	if !t.withdrawn {
		s.request(t, req)
	}
	w.trace.add(w.clock, r.name, "takes %s over, epoch %d", sid, c.epoch)
	w.takeovers++
	pause := 200 * time.Millisecond
	switch {
	case w.plan.without(rulePause):
		pause = 0
	case c.force:
		pause = time.Second
	case c.dead:
		pause = 30 * time.Millisecond
	}
	connect := w.between(0, 3*w.plan.serverLatency)
	s.later(max(pause, connect), func() { s.checkAndResume(0) })
}

// restore makes the machine from the record.
func (s *simSession) restore(c simClaim) bool {
	ok := true
	s.event(func(now time.Time) effects {
		m, e, err := restoreMachine(now, s.o.cfg, s.sid, s.o.names, c.entry.settings, c.entry.record.counters)
		if err != nil {
			s.w.fail("restore/refused", "record %q: %v", c.entry.record.counters, err)
			ok = false
			return effects{}
		}
		s.m = m
		s.o.passedBy(m.win.answered, c.entry.mark)
		return e
	})
	return ok && s.w.failure == nil
}

// checkAndResume asks the store once more, immediately before <resume/>.
func (s *simSession) checkAndResume(tries int) {
	asked, doubts := s.w.clock, s.host.doubts
	s.site().store.check(s, func(v storeVerdict) {
		if s.over {
			return
		}
		if s.w.clock-asked > 2*time.Second { // the process slept over the answer
			s.checkAndResume(tries)
			return
		}
		if s.w.plan.without(ruleCheckResume) {
			v = storeOK
		}
		s.host.moment()
		switch {
		case v == storeOK:
			s.sure = doubts
			s.resume()
		case v == storeAway && tries < 60:
			s.later(time.Second, func() { s.checkAndResume(tries + 1) })
		default:
			s.standDown()
		}
	})
}

// notResumed: the server does not have the session any more.
func (s *simSession) notResumed() {
	end := s.lostCause
	s.o.streamOver(0)
	s.w.trace.add(s.w.clock, s.host.name, "ended(0, %d %s)", end.kind, end.condition)
	s.event(func(now time.Time) effects { return s.m.ended(now, 0, end) })
}

// standDown: silence, another replica owns the session.
func (s *simSession) standDown() {
	if !s.running() {
		return
	}
	s.w.trace.add(s.w.clock, s.host.name, "standDown()")
	s.o.mayEnd = "standDown"
	s.event(func(now time.Time) effects { return s.m.standDown(now) })
}

func (s *simSession) site() *simSite { return s.host.site }
