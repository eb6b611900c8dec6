package bosh

// respond answers the oldest request with what there is (XEP-0124 §8). Lower requests for whose answer nobody waits are
// passed over, as if an empty answer had been lost.
func (m *machine) respond(s *slot) {
	for m.win.answered+1 < s.rid {
		m.sayNothing(m.win.at(m.win.answered + 1))
	}
	r := &m.r
	*r = m.emptyBody()
	if s.created {
		r.created = m.set.creation(m.sid)
		r.stream = m.streams.name(0) // XEP-0124 §16.2
	}
	if s.adds != 0 {
		r.stream = m.streams.name(int(s.adds)) // XEP-0124 §16.3
	}
	if !s.pause { // XEP-0124 §10: no payload to a pause
		m.fill(r, s)
	}
	m.tellFate(r)
	if !r.terminate {
		m.acknowledgeRequests(r, s)
		m.reportMissing(r)
	}
	m.keep(s, r)
	if r.terminate && r.stream == "" {
		last := *r
		m.last = &last
		m.close(m.emptyBody())
	}
}

// sayNothing gives an empty answer to the lowest unanswered request.
func (m *machine) sayNothing(s *slot) {
	r := &m.r
	*r = m.emptyBody()
	m.acknowledgeRequests(r, s)
	m.keep(s, r)
}

// fill puts elements of one stream into a response.
func (m *machine) fill(r *response, s *slot) {
	i := m.streams.turn()
	if s.adds != 0 {
		i = int(s.adds)
	}
	if i < 0 {
		return
	}
	l := &m.streams.links[i]
	m.streams.last = i
	r.payload = l.take(m.config.responseMax, m.config.responseBytes)
	for j := range r.payload {
		r.prefix = r.prefix || r.payload[j].prefix
	}
	if len(r.payload) > 0 && l.header != nil { // XEP-0206 §4
		r.from, r.authID, r.xmppVersion = l.header.from, l.header.id, l.header.version
		l.header = nil
	}
	if m.streams.named() && (len(r.payload) > 0 || l.fate != nil) {
		r.stream = m.streams.name(i) // XEP-0124 §16.4
	}
	if l.fate != nil && len(l.queue) == 0 && (len(r.payload) == 0 || l.fate.raw != nil) {
		r.end(l.fate) // XEP-0124 §16.6: that stream only; children come with a stream error only
		l.fate = nil
	}
}

// tellFate makes r the last response if the session is over and nothing else is left to say.
func (m *machine) tellFate(r *response) {
	if m.life != lifeDying || m.streams.waiting() || r.terminate {
		return
	}
	if len(r.payload) > 0 && (m.fate.raw == nil || r.stream != "") {
		return // children come with a stream error only
	}
	r.stream = ""
	r.end(m.fate)
	r.status = m.legacyStatus(m.fate.condition)
}

// end makes r a terminate body.
func (r *response) end(f *fate) {
	r.terminate, r.condition = true, f.condition
	if f.raw != nil {
		r.payload = append(r.payload, element{raw: f.raw, prefix: true}) // XEP-0206 §6: after what was not delivered
		r.prefix = true
	}
}

// acknowledgeRequests sets ack (XEP-0124 §9.1).
func (m *machine) acknowledgeRequests(r *response, s *slot) {
	if !m.set.acks {
		return
	}
	rid := m.safe(s.rid)
	if s.created {
		rid = s.rid // XEP-0124 §7.2
	}
	if r.hasAck = s.created || rid != s.rid; r.hasAck {
		r.ack = rid
	}
}

// reportMissing tells the browser of the response that it lacks (XEP-0124 §9.2).
func (m *machine) reportMissing(r *response) {
	if k := m.replay.at(m.acks.report); k != nil {
		r.report, r.since = m.acks.report, min(m.now-k.at, reportMax)
	}
	m.acks.report = 0
}

// safe is the highest request that is received, and cannot be lost with this replica, at least rid (BOSH-085).
func (m *machine) safe(rid uint64) uint64 {
	if !m.sm.on {
		return max(rid, m.win.received)
	}
	for rid < m.win.received {
		s := m.win.at(rid + 1)
		if s != nil && (s.rid > m.win.written || !m.sm.has(s.u)) {
			break
		}
		rid++
	}
	return rid
}

// keep notes the answer to the lowest unanswered request, and gives it to who waits for it.
func (m *machine) keep(s *slot, r *response) {
	u, d := m.replay.last()
	if s.rid <= m.win.written {
		u = s.u
	}
	k := m.replay.push()
	k.at, k.u, k.key, k.hash, k.payload, k.prefix = m.now, u, s.key, s.hash, r.payload, r.prefix
	if r.hasAck {
		k.ack = r.ack
	}
	if r.created != nil || r.terminate || r.report != 0 || r.xmppVersion != "" || r.authID != "" || r.from != "" ||
		r.stream != "" && len(r.payload) == 0 || r.status != 0 {
		rare := *r
		k.rare = &rare
	}
	k.d = d + m.count(k, r)
	m.rate.answered(s.rid, len(r.payload) == 0)
	if s.x != 0 {
		m.answer(s.x, *r)
	}
	if m.keys.on && !s.created && s.stage != stageParked {
		m.keys.answered = s.next
	}
	m.win.finish()
	m.forgetProved()
	m.dirty = true
}

// count is how many stanzas of a managed stream are in a response; it also notes what else is.
func (m *machine) count(k *kept, r *response) uint32 {
	if len(r.payload) == 0 {
		return 0
	}
	if r.stream != "" {
		k.stream = int8(m.streams.find(r.stream))
	}
	if k.stream > 0 || !m.sm.on {
		return 0
	}
	n := uint32(0)
	for i := range r.payload {
		switch el := &r.payload[i]; {
		case el.stanza:
			n++
		case m.bind.is(el):
			m.bind.stage, m.bind.rid = bindAnswered, m.replay.high
		default:
			k.opaque = true
		}
	}
	return n
}

// again is the response that an answered request got (XEP-0124 §14.3).
// repeat answers a request as it was answered before.
func (m *machine) repeat(x exchange, rid uint64, k *kept) {
	k.at = m.now
	if m.acks.report == rid {
		m.acks.report = 0 // the browser is about to have it (BOSH-091)
	}
	m.answer(x, m.again(rid, k))
}

func (m *machine) again(rid uint64, k *kept) response {
	if k.rare != nil {
		return *k.rare
	}
	r := response{content: m.set.content, payload: k.payload, prefix: k.prefix, ack: k.ack, hasAck: k.ack != 0}
	if k.stream >= 0 {
		r.stream = m.streams.name(int(k.stream))
	}
	return r
}

// forgetProved drops the answers that the browser surely has, and those that are too many (XEP-0124 §14.3).
func (m *machine) forgetProved() {
	low, keep := m.acks.proved, m.set.keep()
	if m.acks.explicit && m.replay.bytes() <= m.config.queueBytes {
		keep = max(keep, keepAcked)
	}
	if m.replay.high > keep {
		low = max(low, m.replay.high-keep)
	}
	if low <= m.replay.low {
		return
	}
	for _, x := range m.replay.forget(low) {
		m.dirty = true
		m.answer(x, m.terminal(itemNotFound))
	}
	if m.bind.stage == bindAnswered && m.bind.rid <= m.replay.low {
		m.bind.stage, m.bind.rid, m.bind.raw = bindKnown, 0, nil
	}
	m.confirm()
}

// answer gives the response of an exchange to the shell.
func (m *machine) answer(x exchange, r response) {
	m.touched = true
	m.e.answer = append(m.e.answer, answer{x: x, response: r})
}

// reply ends an exchange without a response.
func (m *machine) reply(x exchange, kind answerKind) {
	m.e.answer = append(m.e.answer, answer{x: x, kind: kind})
}

// fail answers with a recoverable error (XEP-0124 §17.3). Some browsers take it for an answer, so a replica that was
// frozen and wakes must not give it: the record is the check.
func (m *machine) fail(x exchange, rid uint64) {
	m.dirty = true
	r := response{content: m.set.content, failed: true}
	if m.set.acks && m.win.received != rid {
		r.hasAck, r.ack = true, m.safe(m.win.answered)
	}
	m.answer(x, r)
}
