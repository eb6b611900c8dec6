package bosh

import "time"

// Terminal conditions of XEP-0124 §17.2 that the machine itself causes.
const (
	badRequest         = "bad-request"
	improperAddressing = "improper-addressing"
	itemNotFound       = "item-not-found"
	otherRequest       = "other-request"
	policyViolation    = "policy-violation"
	remoteStreamError  = "remote-stream-error"
	seeOtherURI        = "see-other-uri"
	systemShutdown     = "system-shutdown"
	undefinedCondition = "undefined-condition"
)

// legacyStatus is the HTTP status that a client without `ver` gets instead of the condition, 0 for none.
func (m *machine) legacyStatus(condition string) int {
	if m.set.hasVer {
		return 0
	}
	return legacyStatus(condition)
}

// terminal is a terminate body.
func (m *machine) terminal(condition string) response {
	return response{content: m.set.content, terminate: true, condition: condition, status: m.legacyStatus(condition)}
}

// fate is what the browser is told of a stream's end.
func (c *cause) fate() *fate {
	switch c.kind {
	case causeError:
		return &fate{condition: remoteStreamError, raw: c.raw} // XEP-0206 §6
	case causeLost:
		return &fate{condition: itemNotFound} // the browser logs in again; remote-connection-failed would stop some
	case causeRefused:
		if c.condition == policyViolation {
			return &fate{condition: policyViolation}
		}
		return &fate{condition: undefinedCondition, raw: c.raw}
	case causeClean:
	}
	return &fate{} // AMB-15
}

func (c *cause) reason() string {
	switch c.kind {
	case causeError:
		return "stream error"
	case causeLost:
		return "stream lost"
	case causeRefused:
		return "element refused"
	case causeClean:
	}
	return "stream closed by the server"
}

// terminate starts the end that the browser asks for (XEP-0124 §13, §16.5).
func (m *machine) terminate(s *slot) {
	if m.life != lifeLive {
		return
	}
	if open := m.streams.open(); s.streams != open && s.streams != 0 && open != 0 {
		s.closes = true // one stream of several
		return
	}
	m.life, m.closing, m.closingAt = lifeClosing, s.rid, m.now
}

// closeOne closes what the browser closed of several streams, after the last payload for it.
func (m *machine) closeOne(set streamSet) {
	for i := range m.streams.links {
		if l := &m.streams.links[i]; set.has(i) && l.state < linkEnding {
			l.fate = &fate{}
			m.abandon(i, l)
		}
	}
}

// abandon closes one stream of a session that goes on. Sessions with several cannot be taken over: nothing to check.
func (m *machine) abandon(i int, l *link) {
	m.bounce(i, l)
	m.e.close = append(m.e.close, closing{stream: i, how: closeClean})
	l.state = linkOver
}

// isClosed: what the browser said before it terminated is with the server, or will never be.
func (m *machine) isClosed() bool {
	s := m.win.at(m.closing)
	return s == nil || m.releasable(s) || m.now >= m.closesBy()
}

// closesBy is when a terminate request is answered in any case: some time after the last of what the browser said was
// written, or was to be written to a server that takes nothing.
func (m *machine) closesBy() time.Duration {
	if m.closing > m.win.written {
		return m.closingAt + m.config.lastWords
	}
	return m.closingAt + m.config.ackTimeout
}

// conclude answers a terminate request: the oldest open request gets it, the others an empty body (AMB-10).
func (m *machine) conclude() {
	m.stop("", "terminated by the browser")
	for m.win.answered < m.win.received {
		s := m.win.at(m.win.answered + 1)
		if s.x != 0 || s.rid == m.closing {
			break
		}
		m.sayNothing(s)
	}
	if s := m.win.at(m.win.answered + 1); s != nil && s.rid <= m.win.received {
		r := m.terminal("")
		m.keep(s, &r)
	}
	m.close(m.emptyBody())
}

// close answers all that is still open, and waits for repeats.
func (m *machine) close(rest response) {
	m.life, m.forgetAt = lifeOver, m.now+m.config.grace
	for m.win.answered < m.win.received {
		if s := m.win.at(m.win.answered + 1); rest.terminate {
			m.keep(s, &rest)
		} else {
			m.sayNothing(s)
		}
	}
	if !rest.terminate {
		rest = m.terminal(otherRequest)
	}
	for rid := m.win.received + 1; rid <= m.win.highest; rid++ {
		if s := m.win.at(rid); s != nil && s.x != 0 {
			m.answer(s.x, rest)
		}
	}
	m.win = newRidWindow(m.win.answered)
	for rid := m.replay.low + 1; rid <= m.replay.high; rid++ {
		if k := m.replay.at(rid); k.x != 0 {
			m.answer(k.x, rest)
			k.x = 0
		}
	}
}

// emptyBody is a response that says nothing.
func (m *machine) emptyBody() response { return response{content: m.set.content} }

// kill ends the session because of what one request did (XEP-0124 §17.2). x may have gone.
func (m *machine) kill(x exchange, condition, reason string) {
	if s := m.win.find(x); x != 0 && s != nil {
		s.x = 0
	}
	m.stop(condition, reason)
	m.close(m.terminal(otherRequest)) // XEP-0124 §17.2
	m.replay.drop()
	m.last = nil
	if x != 0 {
		m.answer(x, m.terminal(condition))
	}
}

// stop reports the end of the session, once, and has its streams closed.
func (m *machine) stop(condition, reason string) {
	m.wantClose = true
	if m.e.end != nil || m.saving.ended {
		return
	}
	m.end = ending{condition: condition, reason: reason}
	m.e.end, m.saving.ended, m.dirty = &m.end, true, true
}

// streamOver handles the end of one stream. The last one ends the session (XEP-0124 §16.6).
func (m *machine) streamOver(i int, f *fate, reason string) {
	l := m.streams.link(i)
	if l == nil || l.state == linkOver {
		return
	}
	l.state = linkOver
	switch {
	case m.life >= lifeDying:
	case m.streams.within(linkEnding) != 0:
		l.fate = f
	case m.life == lifeClosing:
		m.conclude()
	default:
		m.life, m.fate = lifeDying, f
		m.stop(f.condition, reason)
		for rid := m.replay.low + 1; rid <= m.replay.high; rid++ { // nothing will be sent again
			if k := m.replay.at(rid); k.x != 0 {
				m.answer(k.x, m.terminal(f.condition))
				k.x = 0
			}
		}
	}
}

// afterwards answers requests of a session that is over: repeats get what they got before (BOSH-123).
func (m *machine) afterwards(x exchange, r *request) {
	if k := m.replay.at(r.rid); k != nil && k.lacks == 0 && m.keys.same(k.key, r.key) {
		m.answer(x, m.again(r.rid, k))
		return
	}
	m.tellLast(x)
}

// tellLast answers whoever comes late: with the reason if the server or we ended the session, since it is not sure that
// anybody has got it (BOSH-125); as an unknown session otherwise (BOSH-122).
func (m *machine) tellLast(x exchange) {
	if m.last != nil {
		m.answer(x, *m.last)
		return
	}
	m.answer(x, m.terminal(itemNotFound))
}

// expire ends a session that nobody uses any more (XEP-0124 §10), without telling the browser.
func (m *machine) expire() {
	m.idle.update(m.now, m.win.waiting() > 0 || m.replay.waiting(), m.touched)
	if m.life >= lifeOver {
		return
	}
	at, ok := m.idle.deadline(m.win.gap(), m.gapLimit())
	if !ok || at > m.now {
		return
	}
	reason := "inactivity"
	if m.win.gap() {
		reason = "a request never came"
	}
	m.stop("", reason)
	m.last = nil
	m.close(m.terminal(itemNotFound))
	m.replay.drop()
	m.forgetAt = m.now
	if m.wantClose && m.sm.resumable { // the store has to be asked first
		m.forgetAt += m.config.grace
		m.saving.forget = true
	}
}

// closeStreams gives up all streams, once it is sure that they are ours (failover-design 6).
func (m *machine) closeStreams(how closeHow) {
	if !m.wantClose || how == closeClean && m.sm.resumable && !m.saving.checked() {
		return
	}
	m.wantClose = false
	for i := range m.streams.links {
		l := &m.streams.links[i]
		if l.state == linkOver {
			continue
		}
		if how == closeClean && m.life != lifeDying {
			m.bounce(i, l)
		}
		m.e.close = append(m.e.close, closing{stream: i, how: how})
		l.state = linkOver
	}
	if m.saving.forget {
		m.forgetAt = m.now
	}
}

// bounce hands over what waits for the browser in vain (XBOSH-020). With XEP-0198 it is the server's (XBOSH-021).
func (m *machine) bounce(i int, l *link) {
	if len(l.queue) > 0 && (i > 0 || !m.sm.on) {
		m.e.bounce = append(m.e.bounce, bounce{stream: i, els: l.queue})
	}
	l.queue, l.bytes = nil, 0
}

// forget ends it all.
func (m *machine) forget() {
	if m.wantClose { // the store cannot be asked: the stream may be another replica's by now
		m.closeStreams(closeCut)
	}
	m.life, m.e.forget = lifeForgotten, true
}

func (m *machine) shutdown(now time.Time) effects {
	if !m.begin(now) {
		return effects{}
	}
	if m.life < lifeOver {
		r := m.terminal(systemShutdown)
		m.last = &r
		m.stop(systemShutdown, "shutdown")
		m.close(r)
	}
	return m.finish()
}
