package bosh

import "strings"

// restartable says whether a restart (XEP-0206 §5) names the domain of the session, or none.
func (m *machine) restartable(r *request) bool {
	return r.to == "" || len(m.streams.links) > 1 || strings.EqualFold(r.to, m.set.to)
}

// pump hands requests to the shell in rid order (XEP-0124 §14.2), as soon as the streams that they speak to can be spoken
// to (AMB-5).
func (m *machine) pump() {
	for m.win.sent < m.win.received {
		s := m.win.at(m.win.sent + 1)
		if s.streams &= m.streams.within(linkEnding); m.bind.covers(s.rid) || m.life == lifeDying {
			s.streams = 0 // covered: the former owner sent it, and the server has it
		}
		if s.stage == stageReady && s.streams != 0 && (len(s.payload) > 0 || s.restart) {
			if !m.streams.ready(s.streams) || m.sm.skip > 0 && m.win.sent != m.win.written {
				break
			}
			m.forward(s)
		} else {
			s.stage = stageWritten
		}
		s.parked = nil
		if s.closes {
			m.closeOne(s.streams)
		}
		m.win.sent++
		m.wrote()
	}
}

func (m *machine) forward(s *slot) {
	f := forwarding{rid: s.rid, streams: s.streams, payload: s.payload, restart: s.restart}
	if r := s.parked; s.restart {
		f.payload, f.to, f.lang, f.from = nil, r.to, r.lang, r.from
	}
	s.stanzas = 0
	for i := range f.payload {
		if f.payload[i].stanza {
			s.stanzas++
		} else {
			m.noteCSI(&f.payload[i])
		}
	}
	if s.streams.has(0) && m.config.managed {
		f.sync = s.stanzas > 0
		f.skip = min(int(m.sm.skip), s.stanzas)
	} else {
		s.payload = nil
	}
	if s.streams.has(0) && !m.sm.on {
		m.bind.forwarded(s)
	}
	s.stage = stageSent
	m.e.forward = append(m.e.forward, f)
}

// wrote counts what is on the wire, without a gap.
func (m *machine) wrote() {
	for m.win.written < m.win.sent {
		s := m.win.at(m.win.written + 1)
		if s.stage != stageWritten {
			break
		}
		m.bind.wrote(s, m.sm.up)
		m.sm.wrote(s.counted)
		s.u = m.sm.up
		m.win.written++
	}
	m.drop()
}

// drop lets go of payload that the server has.
func (m *machine) drop() {
	for rid := m.win.answered + 1; rid <= m.win.written; rid++ {
		s := m.win.at(rid)
		if m.sm.on && m.sm.has(s.u) || !m.sm.on && s.counted == 0 {
			s.payload, s.bytes = nil, 0
		}
	}
}
