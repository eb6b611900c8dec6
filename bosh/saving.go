package bosh

import "time"

// saving is what is known of the session's record in the store.
type saving struct {
	n       uint64       // last record returned
	done    uint64       // all up to here are stored
	check   uint64       // the record that asks whether we may end the session
	ended   bool         // effects.end was returned
	forget  bool         // nothing is left to do once the check is answered
	flight  [4]savedDown // records that are not stored yet, oldest first
	flying  int
	book    *ledger // of the last record, for its memory
	scratch []byte
}

// savedDown is a record on its way, and the stanzas that the server may forget once it is stored.
type savedDown struct {
	n uint64
	d uint32
}

// fly notes a record on its way. More than a few at once only happen while the store is away: the last ones are then
// one, and count when the newest is stored.
func (s *saving) fly(d uint32) {
	if s.flying == len(s.flight) {
		s.flying--
	}
	s.flight[s.flying] = savedDown{s.n, d}
	s.flying++
}

// landed takes off what is stored now. It returns the last one's count.
func (s *saving) landed(n uint64) (d uint32, ok bool) {
	i := 0
	for i < s.flying && s.flight[i].n <= n {
		d, ok = s.flight[i].d, true
		i++
	}
	s.flying = copy(s.flight[:], s.flight[i:s.flying])
	return d, ok
}

// checked says whether the end may be carried out.
func (s *saving) checked() bool { return s.check != 0 && s.done >= s.check }

// record returns the record to write, if the event calls for one (failover-design 2.3): every response of a session that
// can be taken over does, and every end.
func (m *machine) record() {
	s := &m.saving
	if !m.dirty || !m.sm.resumable || s.check != 0 {
		return
	}
	s.n++
	d := m.sm.proved
	rec := &record{n: s.n, expires: m.idle.normal + recordMargin}
	if m.idle.paused {
		rec.expires = max(rec.expires, m.idle.pause+recordMargin)
	}
	if m.sm.isAhead {
		d = m.sm.ahead
	}
	if !m.isVoid() {
		m.book()
		s.scratch = s.book.append(s.scratch[:0])
		rec.counters = string(s.scratch)
	}
	if s.ended {
		s.check = s.n
	}
	s.fly(d)
	m.e.save = rec
}

// isVoid: another replica could not go on with the session as things are.
func (m *machine) isVoid() bool {
	if u, _ := m.replay.last(); !m.sm.has(u) {
		return true // answered without the server's <a/>
	}
	return m.saving.ended || len(m.streams.links) > 1 || m.sm.isAhead || m.bind.stage == bindAwaited || m.bind.stage == bindQueued || m.bind.mixed > m.replay.high ||
		m.replay.any(func(k *kept) bool { return k.opaque })
}

// book fills in the ledger.
func (m *machine) book() {
	if m.saving.book == nil {
		m.saving.book = &ledger{}
	}
	l, p := m.saving.book, &m.replay
	*l = ledger{low: p.low, u: p.u, d: p.d, rids: l.rids[:0], csi: m.csi, keyed: m.keys.on, key: m.keys.answered}
	u, d := p.u, p.d
	for rid := p.low + 1; rid <= p.high; rid++ {
		k := p.at(rid)
		l.rids = append(l.rids, rung{u: k.u - u, d: k.d - d, key: k.key})
		u, d = k.u, k.d
	}
	if m.idle.paused {
		l.paused, l.pause = true, int(m.idle.pause/time.Second)
	}
	if m.bind.request > p.high {
		l.base = m.bind.request
	}
	if m.bind.stage == bindAnswered {
		l.bound, l.bind = m.bind.rid, m.bind.raw
	}
}

// confirm lets the server forget what the browser has. What has a record has to be in the store first.
func (m *machine) confirm() {
	m.sm.proved = m.replay.d
	if m.sm.isAhead && !beyond(m.sm.ahead, m.sm.proved) {
		m.sm.isAhead = false
	}
	if m.sm.on && !m.sm.resumable {
		m.sm.confirm(m.sm.proved)
		if m.sm.isAhead {
			m.sm.confirm(m.sm.ahead)
		}
	}
}

// acknowledge sends <a/> to the server, if it is due.
func (m *machine) acknowledge() {
	if m.streams.links[0].state == linkOver || m.life == lifeForgotten {
		return
	}
	m.e.h, m.e.ackUpstream = m.sm.due()
}

func (m *machine) saved(now time.Time, n uint64, ok bool) effects {
	if !m.begin(now) {
		return effects{}
	}
	if !ok {
		m.silence()
		return m.finish()
	}
	m.saving.done = max(m.saving.done, n)
	if d, ok := m.saving.landed(n); ok {
		m.sm.confirm(d)
	}
	return m.finish()
}
