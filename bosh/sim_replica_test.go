package bosh

import (
	"fmt"
	"time"
)

// simReplica is one gateway process.
type simReplica struct {
	site     *simSite
	name     string
	sessions map[string]*simSession // that it owns
	dead     bool
	frozen   bool
	backlog  []func() // what happens once it wakes

	incarnation int
	renewed     time.Duration // last time that it could renew its lease
	doubts      int           // counts the times that it was late
	leaving     bool          // it drains
}

func newSimReplica(site *simSite, name string) *simReplica {
	return &simReplica{site: site, name: name, sessions: map[string]*simSession{}}
}

// do runs f on the replica: now, when it wakes, or never.
func (r *simReplica) do(f func()) {
	switch {
	case r.dead:
	case r.frozen:
		r.backlog = append(r.backlog, f)
	default:
		f()
	}
}

// newSession prepares session and truth for a creation request.
func (r *simReplica) newSession(honest bool) *simSession {
	w := r.site.w
	r.site.lastSID++
	sid := fmt.Sprintf("s%d", r.site.lastSID)
	truth := newSimTruth(w, sid)
	truth.honest = honest
	r.site.truths[sid] = truth
	s := &simSession{w: w, host: r, sid: sid, sure: r.doubts, truth: truth, tries: map[exchange]*simHop{}, rids: map[exchange]uint64{}}
	s.o = newMachineOracle(w, s, &w.plan.config, truth)
	r.site.store.register(s)
	r.sessions[sid] = s
	r.site.sessions = append(r.site.sessions, s)
	if w.plan.pokes > 0 {
		s.poke(w.plan.pokes)
	}
	return s
}

func (r *simReplica) forgotten(s *simSession) {
	if r.sessions[s.sid] == s {
		delete(r.sessions, s.sid)
	}
}

// serve answers a request that has come to this replica.
func (r *simReplica) serve(t *simTry, req *request) {
	if req.sid == "" {
		s := r.newSession(t.honest)
		s.o.names = r.site.w.plan.streamNames(s.sid)
		s.create(t, s.o.names, req)
		return
	}
	switch {
	case r.serveLocal(t, req):
	case r.site.w.plan.replicas == 0:
		t.respond(answer{response: response{terminate: true, condition: "item-not-found"}})
	case r.leaving:
		t.respond(answer{kind: answerUnavailable})
	default:
		r.lookUp(t, req, nil, 0, false)
	}
}

// serveLocal answers a request for a session of this replica.
func (r *simReplica) serveLocal(t *simTry, req *request) bool {
	s := r.sessions[req.sid]
	switch {
	case s == nil:
		return false
	case t.withdrawn || t.closed && !t.ghost && t.orderly:
		// its connection broke before anybody read it
	case s.o.drained:
		t.respond(answer{kind: answerUnavailable})
	case t.refuse != "":
		s.refused(t, req, t.refuse)
	default:
		s.request(t, req)
	}
	return true
}

// later runs f on the replica after d.
func (r *simReplica) later(d time.Duration, f func()) {
	inc := r.incarnation
	r.site.w.after(d, func() {
		if r.incarnation == inc {
			r.do(f)
		}
	})
}

// renew keeps the lease alive.
func (r *simReplica) renew() {
	w := r.site.w
	inc := r.incarnation
	if !r.frozen {
		r.site.store.renew(r, func(ok bool) {
			if ok {
				r.renewed = w.clock
			}
		})
	}
	w.after(simRenewal, func() {
		if !r.dead && r.incarnation == inc {
			r.renew()
		}
	})
}

// kill is kill -9. Of what was on its way to the server a part still arrives.
func (r *simReplica) kill(back time.Duration) {
	if r.dead {
		return
	}
	w := r.site.w
	w.trace.add(w.clock, r.name, "is killed")
	w.kills++
	r.dead, r.frozen, r.backlog = true, false, nil
	for _, s := range r.site.sessions {
		if s.host == r && !s.dead {
			s.die()
		}
	}
	for _, t := range r.site.tries {
		if t.at == r && !t.answered {
			w.after(w.latency(), func() { t.breaks("replica died") })
		}
	}
	r.sessions = map[string]*simSession{}
	r.incarnation++
	w.after(back, func() {
		w.trace.add(w.clock, r.name, "starts again")
		r.dead, r.leaving = false, false
		r.renew()
	})
}

// moment is a point at which a death hurts most: between two steps whose order matters.
func (r *simReplica) moment() {
	w := r.site.w
	if w.plan.moments == 0 || r.dead || r.frozen || !w.fault(w.plan.moments) {
		return
	}
	strike := func() { r.kill(w.between(300*time.Millisecond, 3*time.Second)) }
	if w.chance(0.3) {
		strike = func() { r.freeze(w.between(0, 8*time.Second)) }
	}
	w.after(w.between(0, w.plan.serverLatency+w.plan.storeDelay), strike)
}

// drain gives every session away that another replica can take, and ends the process some time later.
func (r *simReplica) drain() {
	if r.dead || r.frozen || r.leaving {
		return
	}
	w := r.site.w
	w.trace.add(w.clock, r.name, "drains")
	w.drains++
	r.leaving = true
	for _, s := range r.site.sessions {
		if s.host == r && s.running() && s.m != nil {
			w.trace.add(w.clock, r.name, "drain()")
			s.o.drained = true
			s.event(func(now time.Time) effects { return s.m.drain(now) })
			s.o.drained = s.o.ended || s.over
		}
	}
	r.later(w.between(2*time.Second, 10*time.Second), func() { r.kill(w.between(0, 2*time.Second)) })
}

// die is a session's part of a kill.
func (s *simSession) die() {
	w := s.w
	s.dead = true
	if s.over {
		return
	}
	if e := s.site().store.entries[s.sid]; e != nil && (!e.saved || !e.resumable) && e.owner == s.host {
		s.truth.mayDie = "its replica died before it could be resumed"
	}
	for _, c := range append(s.conns, s.connecting) {
		if c != nil {
			c.die()
		}
	}
	for x := exchange(1); x <= s.last; x++ {
		if h := s.tries[x]; h != nil && h.t.hop == h {
			h.t.ownerDied(w)
		}
	}
}

// freeze is SIGSTOP, and SIGCONT after d. A replica that wakes too late renews its lease before it does anything (7.4).
func (r *simReplica) freeze(d time.Duration) {
	if r.dead || r.frozen {
		return
	}
	w := r.site.w
	inc := r.incarnation
	w.trace.add(w.clock, r.name, "freezes for %v", d)
	w.freezes++
	r.frozen = true
	w.after(d, func() {
		if r.incarnation != inc {
			return
		}
		if w.clock-r.renewed < 2*time.Second {
			r.thaw()
			return
		}
		r.wake()
	})
}

func (r *simReplica) wake() {
	w := r.site.w
	r.site.store.renew(r, func(ok bool) {
		if ok {
			r.renewed = w.clock
			r.doubts++
			r.thaw()
			return
		}
		w.after(time.Second, func() {
			if !r.dead {
				r.wake()
			}
		})
	})
}

func (r *simReplica) thaw() {
	w := r.site.w
	w.trace.add(w.clock, r.name, "goes on")
	r.frozen = false
	for _, s := range r.site.sessions {
		if s.host == r && s.running() && s.m != nil {
			s.o.thawed()
		}
	}
	backlog := r.backlog
	r.backlog = nil
	for _, f := range backlog {
		r.do(f)
	}
	for _, s := range r.site.sessions {
		if s.host == r && s.running() {
			s.readAll()
		}
	}
}
