package bosh

import "time"

// bindStage says where the bind result is. The server does not send it again, so the record keeps it until the browser has
// it (failover-design 4.3).
type bindStage uint8

const (
	bindNone    bindStage = iota // stream management is not enabled
	bindAwaited                  // it is the next element without number
	bindQueued
	bindAnswered // it is in the response to rid
	bindKnown    // the browser has it
)

type bindState struct {
	stage bindStage
	rid   uint64
	raw   []byte

	request uint64 // the rid that carried the bind request: what is in it and in lower ones has no number
	mixed   uint64 // the same, if stanzas with a number followed in the same request
	taken   uint64 // taken over: all up to this rid is with the server

	begun bool          // a stanza was forwarded since the last restart: that is the bind request
	at    time.Duration // its arrival: what was answered before that the browser has
}

// forwarded notes when the bind request came.
func (b *bindState) forwarded(s *slot) {
	switch {
	case s.restart:
		b.begun = false
	case s.stanzas > 0 && !b.begun:
		b.begun, b.at = true, s.born
	}
}

// wrote notes the last request before the server began to count. A replica that takes over must not send it again.
func (b *bindState) wrote(s *slot, up uint32) {
	switch {
	case up != 0 || s.stanzas == 0:
	case s.counted == 0:
		b.request = s.rid
	case s.counted < s.stanzas:
		b.mixed = s.rid
	}
}

// covers says whether the server has that request without having counted it.
func (b *bindState) covers(rid uint64) bool { return rid <= b.taken }

// is says whether el is the bind result itself.
func (b *bindState) is(el *element) bool {
	return b.stage == bindQueued && len(b.raw) > 0 && len(el.raw) > 0 && &b.raw[0] == &el.raw[0]
}

// blockedBytes is how much more than its bound the queue may hold while the server's <a/> stands behind it.
const blockedBytes = 1 << 20

// isChoked: the <a/> stands behind more than can be read. Then answers leave without it, and until it comes the session
// cannot be resumed.
func (m *machine) isChoked() bool { return m.streams.bytes() >= m.config.queueBytes+blockedBytes }

// isBlocked: somebody waits for an answer that needs an <a/> first.
func (m *machine) isBlocked() bool {
	s := m.win.oldest()
	return s != nil && m.sm.on && s.rid <= m.win.written && !m.sm.has(s.u)
}

// answersMax is what answers of Admit may pile up to beyond the queue's bound: the browser causes them faster than it
// reads them (BOSH-182).
const answersMax = 2 << 20

// deliver takes one element for the browser.
func (m *machine) deliver(stream int, l *link, el element) {
	if stream == 0 && m.sm.on {
		if el.stanza {
			if !m.sm.received() {
				return // sent again after a resumption in place: we have it
			}
			if _, d := m.replay.last(); !beyond(m.sm.down, d) { // sent again after a takeover: in a response before
				m.refill(el)
				return
			}
		} else if m.bind.stage == bindAwaited {
			m.bind.stage, m.bind.raw = bindQueued, el.raw
		}
	}
	l.push(el)
}

// refill puts back a stanza into the response that the former owner gave, and answers who waits for that.
func (m *machine) refill(el element) {
	rid := m.replay.refill(m.sm.down, el)
	if k := m.replay.at(rid); k != nil && k.lacks == 0 && k.x != 0 {
		x := k.x
		k.x = 0
		m.repeat(x, rid, k)
	}
}

// relieve keeps bounds that the browser alone could break, and the server's memory.
func (m *machine) relieve() {
	if m.streams.bytes() > 4*m.config.queueBytes+answersMax {
		m.kill(0, policyViolation, "does not read")
		return
	}
	if !m.sm.crowded() {
		return
	}
	// failover-design 6: better ahead of the browser, and not resumable for a while, than a dead stream.
	m.sm.ahead, m.sm.isAhead = m.sm.down, true
	m.dirty = true
	m.confirm()
}
