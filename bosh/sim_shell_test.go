package bosh

import (
	"slices"
	"time"
)

// simSession is one machine with the shell around it: it carries effects out as events.go prescribes, with every delay
// that the two lanes allow, and reports back.
type simSession struct {
	w     *simWorld
	host  *simReplica
	sid   string
	m     *machine
	o     *machineOracle
	truth *simTruth

	last  exchange
	tries map[exchange]*simHop // not answered by the shell yet
	rids  map[exchange]uint64  // of exchanges that the machine has not answered

	conns     []*simConn // by stream; nil: not connected
	abandoned streamSet  // closed while they were being opened
	up        []simUpItem
	upBusy    bool
	down      []simDownItem
	downBusy  bool
	unsaved   *record // newest record that is not in the store
	retrying  bool

	armed   time.Time // of the timer; zero: none
	timer   uint64    // generation
	reading bool
	ackSent uint32

	// takeover and resumption
	connecting   *simConn // asks for <resumed/>
	lostCause    cause
	unowned      bool   // a write was refused: nothing leaves any more
	removed      bool   // the record is deleted: the session is over for everybody
	upCount      uint32 // counted stanzas written
	downCount    uint32 // counted stanzas delivered
	upGeneration int    // counts resumptions
	sure         int    // host.doubts when the store last said whose the session is

	over bool // forgotten: the sid is invalid
	dead bool // its process is gone
}

// simUpItem is one entry of the up lane; one of its fields is set.
type simUpItem struct {
	open    *opening
	forward *forwarding
	bounce  *bounce
	close   *closing
}

// simDownItem is one entry of the down lane: save, then answer.
type simDownItem struct {
	save   *record
	answer []answer
	end    *ending
}

// running says whether events can be reported to the machine.
func (s *simSession) running() bool { return !s.over && !s.dead && !s.host.frozen }

// later runs f on the session's replica after d, unless the process is gone by then.
func (s *simSession) later(d time.Duration, f func()) {
	s.w.after(d, func() { s.onHost(f) })
}

// onHost runs f on the session's replica now, or when it wakes.
func (s *simSession) onHost(f func()) {
	s.host.do(func() {
		if !s.dead {
			f()
		}
	})
}

// event reports one event to the machine and carries out what it returns.
func (s *simSession) event(call func(now time.Time) effects) {
	if s.dead || s.w.failure != nil {
		return
	}
	w := s.w
	w.calls++
	e := call(w.now())
	if w.trace != nil {
		traceEffects(w.trace, w.clock, s.host.name, e)
	}
	if s.over {
		s.o.afterForget(e)
		return
	}
	s.o.check(e)
	if w.failure != nil {
		return
	}
	s.execute(e)
	s.readAll()
}

func (s *simSession) execute(e effects) {
	if e.csi != csiUnknown && len(s.conns) > 0 && s.conns[0] != nil {
		s.conns[0].send(simUpward{payload: []payload{simActivePayload()}})
	}
	if e.ackUpstream && len(s.conns) > 0 && s.conns[0] != nil {
		s.ackSent = e.h
		s.conns[0].send(simUpward{ack: true, h: e.h})
	}
	// The slices are the machine's; their entries are copied.
	for _, o := range e.open {
		s.up = append(s.up, simUpItem{open: &o})
	}
	for _, f := range e.forward {
		s.up = append(s.up, simUpItem{forward: &f})
	}
	for _, b := range e.bounce {
		s.up = append(s.up, simUpItem{bounce: &b})
	}
	for _, c := range e.close {
		s.up = append(s.up, simUpItem{close: &c})
	}
	if e.save != nil || len(e.answer) > 0 || e.end != nil {
		item := simDownItem{answer: slices.Clone(e.answer), end: e.end}
		if e.save != nil {
			rec := *e.save
			item.save = &rec
		}
		s.down = append(s.down, item)
	}
	s.arm(e.next)
	if e.forget {
		s.over = true
		s.host.forgotten(s)
	}
	s.workUp()
	s.workDown()
}

// arm sets the one timer of the session.
func (s *simSession) arm(next time.Time) {
	if next.Equal(s.armed) {
		return
	}
	s.armed = next
	s.timer++
	if next.IsZero() {
		return
	}
	w, generation := s.w, s.timer
	s.later(next.Sub(w.now())+w.between(0, w.plan.tickLate), func() {
		if s.timer == generation && s.running() {
			s.armed = time.Time{}
			s.tick()
		}
	})
}

func (s *simSession) tick() {
	s.o.ticked()
	s.event(func(now time.Time) effects { return s.m.tick(now) })
}

// readAll reads from the server what has come, as long as the machine wants it.
func (s *simSession) readAll() {
	if s.reading {
		return
	}
	s.reading = true
	for _, c := range s.conns {
		if c != nil && !c.ended {
			c.read()
		}
	}
	if c := s.connecting; c != nil {
		c.read()
	}
	s.reading = false
}

// The up lane.

func (s *simSession) workUp() {
	if s.upBusy || len(s.up) == 0 || s.dead {
		return
	}
	item := s.up[0]
	s.up = s.up[1:]
	s.upBusy = true
	w := s.w
	d := w.between(0, w.plan.writeDelay)
	if item.forward != nil && w.fault(w.plan.blockedWrite) {
		d += w.between(0, 20*time.Second)
		w.trace.add(w.clock, s.host.name, "the server takes nothing for %v", d)
	}
	generation := s.upGeneration
	s.later(d, func() {
		switch {
		case item.forward != nil && generation != s.upGeneration: // dropped by a resumption
		case item.open != nil:
			s.connect(*item.open)
		case item.close != nil:
			s.closeStream(*item.close)
		case item.bounce != nil: // the oracle has judged it
		default:
			s.confirm(*item.forward, generation)
			return
		}
		s.upBusy = false
		s.workUp()
	})
}

// confirm writes once it is sure that the session is still this replica's, after it was late to renew its lease (7.4).
func (s *simSession) confirm(f forwarding, generation int) {
	doubts := s.host.doubts
	if s.sure == doubts {
		if generation == s.upGeneration {
			s.write(f)
		}
		s.upBusy = false
		s.workUp()
		return
	}
	s.site().store.check(s, func(v storeVerdict) {
		switch {
		case s.over:
		case v == storeOK:
			s.sure = doubts
			s.confirm(f, generation)
		case v == storeAway:
			s.later(200*time.Millisecond, func() { s.confirm(f, generation) })
		default:
			s.standDown()
		}
	})
}

func (s *simSession) connect(o opening) {
	w := s.w
	for len(s.conns) <= o.stream {
		s.conns = append(s.conns, nil)
	}
	d := w.between(0, w.plan.serverLatency)
	if w.chance(w.plan.slowOpen) {
		d += w.between(0, 10*time.Second)
	}
	fails := w.fault(w.plan.openFails)
	s.later(d, func() {
		if s.abandoned.has(o.stream) && w.chance(0.7) {
			return
		}
		if fails {
			s.openFailed(o.stream, "remote-connection-failed")
			return
		}
		st := &simStream{server: s.host.site.server, truth: s.truth.stream(o.stream)}
		st.truth.server = st
		st.conn = &simConn{w: w, stream: st, index: o.stream, session: s}
		st.server.streams = append(st.server.streams, st)
		s.conns[o.stream] = st.conn
		st.conn.send(simUpward{header: true})
		if s.abandoned.has(o.stream) {
			s.closeStream(closing{stream: o.stream})
		}
	})
}

// write carries out one forwarding: one write to each of its streams.
func (s *simSession) write(f forwarding) {
	counted := 0
	for i := 0; i < len(s.conns); i++ {
		if !f.streams.has(i) {
			continue
		}
		c := s.conns[i]
		if c == nil {
			continue
		}
		if f.restart {
			c.send(simUpward{header: true})
			continue
		}
		u := simUpward{sync: f.sync}
		skip := f.skip
		for _, p := range f.payload {
			if p.stanza && c.counting {
				counted++
				if skip > 0 && !s.w.plan.without(ruleSkip) {
					skip--
					continue
				}
			}
			u.payload = append(u.payload, p)
			if s.o.cfg.managed && simName(p.frame.Raw) == simBind {
				u.enable = true
			}
		}
		c.counting = c.counting || u.enable && s.w.plan.enables
		c.send(u)
		s.host.moment()
	}
	if f.restart && len(f.payload) > 0 {
		s.w.fail("XBOSH-014/restart-payload", "restart of rid %d carries payload", f.rid)
	}
	w := s.w
	s.o.written(f, counted)
	w.trace.add(w.clock, s.host.name, "forwarded(rid=%d, stanzas=%d)", f.rid, counted)
	s.upCount += uint32(counted)
	s.event(func(now time.Time) effects { return s.m.forwarded(now, f.rid, counted) })
	if s.o.sm && w.plan.without(ruleRelease) && s.running() {
		s.event(func(now time.Time) effects { return s.m.acked(now, s.upCount) })
	}
}

func (s *simSession) closeStream(c closing) {
	var conn *simConn
	if c.stream < len(s.conns) {
		conn = s.conns[c.stream]
	}
	if conn == nil {
		s.abandoned |= 1 << uint(c.stream)
		return
	}
	if conn.closed {
		return
	}
	conn.closed = true
	if c.how == closeClean {
		conn.send(simUpward{close: true})
		return
	}
	conn.cut()
}

// The down lane.

func (s *simSession) workDown() {
	if s.downBusy || len(s.down) == 0 || s.dead {
		return
	}
	item := s.down[0]
	s.down = s.down[1:]
	if item.save != nil {
		s.unsaved = item.save
	}
	if s.unsaved == nil || s.w.plan.without(ruleStoreFirst) || s.w.plan.without(ruleTerminal) && item.terminal() {
		s.answer(item, storeOK)
		if s.unsaved == nil {
			s.workDown()
			return
		}
		item = simDownItem{}
	}
	if s.unowned {
		s.unsaved = nil
		s.answer(item, storeRefused)
		s.workDown()
		return
	}
	s.downBusy = true
	rec := s.unsaved
	s.host.moment()
	s.host.site.store.save(s, rec, func(v storeVerdict) {
		if v == storeRefused && s.w.plan.without(ruleRefused) {
			v = storeOK
		}
		s.downBusy = false
		s.unowned = s.unowned || v == storeRefused
		s.answer(item, v)
		s.host.moment()
		if s.dead {
			return
		}
		s.stored(rec, v)
		s.workDown()
	})
}

// terminal says whether the entry ends the session for the browser.
func (i simDownItem) terminal() bool {
	return slices.ContainsFunc(i.answer, func(a answer) bool { return a.kind == answerBody && a.response.terminate })
}

// answer lets the answers of one entry out.
func (s *simSession) answer(item simDownItem, v storeVerdict) {
	if s.unowned {
		v = storeRefused
	}
	for _, a := range item.answer {
		h := s.tries[a.x]
		delete(s.tries, a.x)
		if _, before := s.truth.released[s.rids[a.x]]; a.kind == answerBody && !a.response.failed && v == storeOK &&
			s.rids[a.x] > 0 && !(before && a.response.terminate) {
			s.truth.release(s.rids[a.x], s.o.streamOf(a.response), a.response.payload)
		}
		delete(s.rids, a.x)
		if h == nil {
			continue // the browser went away meanwhile
		}
		switch v {
		case storeAway:
			a = answer{x: a.x, kind: answerUnavailable}
		case storeRefused:
			a = answer{x: a.x, kind: answerNothing}
		case storeOK:
		}
		h.respond(a)
	}
	if item.end == nil || v == storeRefused {
		return
	}
	if item.end.keep {
		s.site().store.release(s)
		return
	}
	s.removed = true
	s.site().store.remove(s)
}

func (s *simSession) stored(rec *record, v storeVerdict) {
	w := s.w
	if v == storeAway {
		s.retry()
		return
	}
	if s.unsaved == rec {
		s.unsaved = nil
	}
	if w.trace != nil {
		w.trace.add(w.clock, s.host.name, "saved(%d, %v)", rec.n, v == storeOK)
	}
	if v == storeRefused {
		s.unowned = true
	}
	s.o.stored(rec.n, v == storeOK)
	s.event(func(now time.Time) effects { return s.m.saved(now, rec.n, v == storeOK) })
}

// retry saves the newest record again later, so that it gets into the store even if no answer follows.
func (s *simSession) retry() {
	if s.retrying {
		return
	}
	s.retrying = true
	s.later(s.w.between(200*time.Millisecond, time.Second), func() {
		s.retrying = false
		if s.unsaved != nil && !s.downBusy {
			s.down = append([]simDownItem{{}}, s.down...)
			s.workDown()
		}
	})
}
