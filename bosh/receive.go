package bosh

// nsCSI is XEP-0352.
const nsCSI = "urn:xmpp:csi:0"

// accept takes a new rid in.
func (m *machine) accept(x exchange, r *request) {
	window := uint64(m.set.requests)
	high, places := m.win.received+window, m.set.requests
	special := r.terminate || m.isPause(r)
	if special {
		high++ // XEP-0124 §14.2
	}
	if special || m.win.special() {
		places++ // XEP-0124 §11
	}
	crowded := m.simultaneous()+1 > places
	switch {
	case r.rid > high: // XEP-0124 §14.2
		m.kill(x, itemNotFound, "rid above the window")
		return
	case crowded && !m.canMakePlace(): // XEP-0124 §11
		m.kill(x, policyViolation, "too many requests at once")
		return
	case m.win.highest-m.win.answered > window+1 && !m.admits(r):
		m.reject(x)
		return
	}
	proof, ok := m.acks.proof(r, m.win.answered, m.set.requests, special || m.win.special())
	if !ok && !m.toldError(r.ack) {
		m.badAck(x)
		return
	}
	if !m.win.gap() && r.rid > m.win.received+1 {
		m.idle.gap = m.now
	}
	s := m.park(x, r)
	s.proof = proof
	m.report(r)
	for m.life < lifeOver {
		next := m.win.at(m.win.received + 1)
		if next == nil {
			break
		}
		m.win.received++
		m.idle.gap = m.now
		if m.turn(next) {
			m.start(next)
		}
	}
	if crowded && m.life < lifeOver && !m.makePlace(places) {
		m.kill(x, policyViolation, "too many requests at once")
		return
	}
	m.overactive(r)
}

// park makes the slot of a new request.
func (m *machine) park(x exchange, r *request) *slot {
	s := m.win.add(r.rid)
	s.x, s.at, s.born, s.parked, s.hash, s.bytes = x, m.now, m.now, r, r.hash, r.bytes
	s.terminate, s.pause = r.terminate, m.isPause(r)
	return s
}

// isPause: without maxpause in the creation response the attribute means nothing (BOSH-106).
func (m *machine) isPause(r *request) bool { return r.hasPause && m.set.maxpause > 0 && r.sid != "" }

// admits says whether one more request can be taken in although many have no answer: whoever waited for those has gone
// away (BOSH-182).
func (m *machine) admits(r *request) bool {
	return m.win.highest-m.win.answered <= 4*uint64(m.set.requests) && m.win.backlog()+r.bytes <= m.config.queueBytes
}

// reject sends a request away: later, the server may have caught up.
func (m *machine) reject(x exchange) {
	if m.win.highest-m.win.answered > 4*uint64(m.set.requests) {
		m.kill(x, policyViolation, "too many requests abandoned")
		return
	}
	m.reply(x, answerUnavailable)
}

// toldError says whether that rid got type=error, which some browsers take for an answer (AMB-16).
func (m *machine) toldError(rid uint64) bool {
	s := m.win.at(rid)
	return s != nil && s.told
}

// badAck: the browser acknowledges what was never answered (BOSH-092). After a takeover it means that the store has lost
// a record; what the server has of the requests since is unknown then (failover-design 12).
func (m *machine) badAck(x exchange) {
	if m.adopted {
		m.kill(x, itemNotFound, "the store has lost a record")
		return
	}
	m.kill(x, badRequest, "acknowledges what was never answered")
}

// report notes that the browser lacks a response that it should have by now (XEP-0124 §9.2).
func (m *machine) report(r *request) {
	if !m.acks.explicit || !r.hasAck {
		return
	}
	if k := m.replay.at(r.ack + 1); k != nil && m.now-k.at >= reportAfter {
		m.acks.report = r.ack + 1
	}
}

// turn handles what a request says, in rid order, before its payload is looked at. False: it has ended the session.
func (m *machine) turn(s *slot) bool {
	r := s.parked
	print, ok := m.keys.check(r.key, r.newkey)
	if !ok { // XEP-0124 §15.4
		m.kill(s.x, itemNotFound, "wrong key")
		return false
	}
	s.key, s.next = print, m.keys.next
	m.acks.prove(s.proof)
	m.forgetProved()
	if s.pause && seconds(r.pause) > m.set.maxpause { // AMB-8
		m.kill(s.x, policyViolation, "pause too long")
		return false
	}
	m.idle.request(s.pause, seconds(r.pause)) // XEP-0124 §10
	s.empty = len(r.payload) == 0 && !r.restart && !s.pause && !s.terminate
	if !m.rate.turn(s.rid, s.born, s.empty, m.set.isPolling()) { // XEP-0124 §12
		m.kill(s.x, policyViolation, "polls too often")
		return false
	}
	return true
}

// start decides where a request's payload goes.
func (m *machine) start(s *slot) {
	r := s.parked
	s.stage = stageReady
	switch {
	case r.terminate && s.created:
		s.parked = nil
		m.terminate(s)
		return
	case s.created:
	case r.restart && !m.restartable(r):
		m.kill(s.x, improperAddressing, "restart for another domain") // XBOSH-015
		return
	case m.opensStream(r):
		m.addStream(s, r)
		return
	}
	s.restart = r.restart && !s.created
	set, ok := m.route(r)
	if !ok {
		m.kill(s.x, itemNotFound, "unknown stream") // XEP-0124 §16.4
		return
	}
	s.streams = set
	if !s.restart { // XBOSH-014: a restart's stanzas are ignored
		s.payload = r.payload
	}
	if r.terminate {
		m.terminate(s)
	}
}

// opensStream says whether r asks for another stream (XEP-0124 §16.3).
func (m *machine) opensStream(r *request) bool {
	return m.life == lifeLive && len(m.streams.names) > 0 && r.to != "" && len(r.payload) == 0 && r.stream == "" &&
		!r.restart && !r.terminate && !r.hasPause
}

// addStream opens another stream, if the session may have one more; if not, r is like any empty request.
func (m *machine) addStream(s *slot, r *request) {
	i, ok := m.streams.add()
	if !ok {
		return
	}
	s.adds, s.empty = int8(i), false
	m.e.open = append(m.e.open, opening{stream: i, to: r.to, from: r.from, lang: r.lang, route: r.route, version: r.xmppVersion})
	m.dirty = true // from now on nobody else could take the session
}

// route is the set of streams that a request speaks to (XEP-0124 §16.4).
func (m *machine) route(r *request) (set streamSet, ok bool) {
	if m.life != lifeLive {
		return 0, true
	}
	open := m.streams.open()
	if r.stream == "" || len(m.streams.names) == 0 {
		return open, true
	}
	i := m.streams.find(r.stream)
	if i < 0 {
		return open, len(r.payload) == 0 && !r.restart && !r.terminate // an empty body's stream means nothing
	}
	return open & (1 << uint(i)), true // none if it was closed just now
}

// repeatPending gives the place of the older HTTP request to the newer one (XEP-0124 §14.3).
func (m *machine) repeatPending(x exchange, r *request) {
	s := m.win.at(r.rid)
	same := s.parked != nil && s.stage == stageParked && s.parked.key == r.key ||
		s.stage != stageParked && m.keys.same(s.key, r.key)
	if !m.rate.repeat(m.now) {
		m.kill(x, policyViolation, "repeats too often")
		return
	}
	if !same {
		m.kill(x, itemNotFound, "repeat with another key")
		return
	}
	if s.hash != r.hash {
		m.e.note = noteOtherBody
	}
	if s.x != 0 {
		m.displace(s.x, s.rid)
	}
	s.x, s.at = x, m.now
}

// displace answers a request whose place a copy of it takes (XEP-0124 §14.3). Where replicas hand requests on that may be an
// older one, which was stuck in a replica that was frozen: then it is this one that the browser waits for, so it must not
// take what it gets for an answer, as some do with type=error (AMB-16). That is so from the first request on.
func (m *machine) displace(x exchange, rid uint64) {
	if m.config.shared {
		m.reply(x, answerUnavailable)
		return
	}
	m.fail(x, rid)
}

// noteOtherBody: matched by rid only; the payload is not forwarded (BOSH-140).
const noteOtherBody = "repeat with another body"

// repeatAnswered answers once more what was answered before (XEP-0124 §14.3).
func (m *machine) repeatAnswered(x exchange, r *request) {
	if !m.rate.repeat(m.now) {
		m.kill(x, policyViolation, "repeats too often")
		return
	}
	k := m.replay.at(r.rid)
	switch {
	case k == nil:
		// Too old. It may come out of a dead connection, so it does not end the session (failover-design 6).
		m.dirty = true
		m.answer(x, m.terminal(itemNotFound))
		return
	case !m.keys.same(k.key, r.key):
		m.kill(x, itemNotFound, "repeat with another key")
		return
	case k.hash != r.hash && k.hash != 0:
		m.e.note = noteOtherBody
	}
	k.unheard = false
	if k.lacks == 0 {
		m.repeat(x, r.rid, k)
		return
	}
	if m.life == lifeDying { // nothing will be sent again
		m.answer(x, m.terminal(m.fate.condition))
		return
	}
	if k.x != 0 {
		m.displace(k.x, r.rid)
	}
	k.x, k.since = x, m.now
}

// noteCSI remembers what the browser last said of its state, for a server that has to be told again (failover-design 5).
func (m *machine) noteCSI(p *payload) {
	if p.stanza {
		return
	}
	switch {
	case p.frame.Is(nsCSI, "active"):
		m.csi = csiActive
	case p.frame.Is(nsCSI, "inactive"):
		m.csi = csiInactive
	}
}
