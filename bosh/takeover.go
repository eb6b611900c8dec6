package bosh

import "time"

// repeatWait is how long a replica that took a session over waits for repeats of answered requests before it says
// something new (failover-design 12).
const repeatWait = time.Second

// restoreMachine makes the machine of a session that this replica took over (failover-design 7.3).
func restoreMachine(now time.Time, config *machineConfig, sid string, names []string, settings, counters string) (*machine, effects, error) {
	set, err := decodeSettings(settings)
	if err != nil {
		return nil, effects{}, err
	}
	l, err := decodeLedger(counters)
	if err != nil {
		return nil, effects{}, err
	}
	m := &machine{config: config, sid: sid, epoch: now, set: set, adopted: true, csi: l.csi}
	if m.streams = newStreams(nil); set.name != "" {
		m.streams.names = append([]string{set.name}, names[min(1, len(names)):min(len(names), maxStreams)]...)
	}
	m.prepare(l.low + uint64(len(l.rids)))
	m.keys = keyState{on: l.keyed, next: l.key, answered: l.key}
	m.acks.proved = l.low
	m.refillable(l)
	if l.paused {
		m.idle.request(true, min(seconds(l.pause), set.maxpause))
	}
	m.begin(now)
	return m, m.finish(), nil
}

// refillable sets up the answered requests that the server can send the content of again.
func (m *machine) refillable(l *ledger) {
	p := &m.replay
	*p = replay{low: l.low, high: l.low, u: l.u, d: l.d}
	u, d := l.u, l.d
	for i, r := range l.rids {
		u, d = u+r.u, d+r.d
		k := p.push()
		*k = kept{u: u, d: d, lacks: r.d, key: r.key, stream: -1, unheard: r.d > 0}
		if l.bound == l.low+uint64(i)+1 {
			k.unheard = true
			k.payload = []element{{raw: l.bind}}
			m.bind = bindState{stage: bindAnswered, rid: l.bound, raw: l.bind}
		}
	}
	if l.bound == 0 {
		m.bind.stage = bindKnown
	}
	m.bind.request, m.bind.taken = l.base, l.base
	m.sm = counters{on: true, resumable: true, up: u, upAcked: u, down: l.d, seen: l.d, from: l.d, proved: l.d, safe: l.d, told: l.d}
}

// resumeFrom is the h of <resume/>: what the store says that the browser has.
func (m *machine) resumeFrom() uint32 { return m.sm.resume() }

func (m *machine) resumed(now time.Time, h uint32) effects {
	if !m.begin(now) {
		return effects{}
	}
	l := &m.streams.links[0]
	if l.state == linkOver {
		return m.finish()
	}
	u, _ := m.replay.last()
	if beyond(u, h) || m.bind.stage == bindAwaited { // answered, and the server lacks it; or the bind result is lost
		m.streamOver(0, &fate{condition: itemNotFound}, "resumed with something missing")
		return m.finish()
	}
	l.state = linkReady
	rid := m.win.answered
	for ; rid < m.win.written; rid++ { // what the server has in full needs no second look
		s := m.win.at(rid + 1)
		if beyond(s.u, h) {
			break
		}
		u = s.u
	}
	m.sm.resumed(h, u)
	for r := rid + 1; r <= m.win.sent; r++ {
		s := m.win.at(r)
		s.stage, s.streams = stageReady, s.streams&1
	}
	m.win.written, m.win.sent = rid, rid
	m.e.csi = m.csi
	if m.adopted && m.unheard == 0 {
		m.unheard = m.now + repeatWait
	}
	return m.finish()
}

// standDown: another replica owns the session. Nobody must notice (failover-design 7.4).
func (m *machine) standDown(now time.Time) effects {
	if !m.begin(now) {
		return effects{}
	}
	m.silence()
	return m.finish()
}

func (m *machine) silence() {
	m.giveAway(answerNothing, "another replica owns the session")
}

// drain gives the session to whichever replica gets the next request (failover-design 8).
func (m *machine) drain(now time.Time) effects {
	if !m.begin(now) {
		return effects{}
	}
	if m.life != lifeLive || !m.sm.resumable || m.isVoid() || m.streams.links[0].state != linkReady && !m.isResuming() {
		return m.finish() // nobody could take it: it goes on
	}
	m.flush, m.dirty = true, true
	m.settle()
	m.flush = false
	m.record()
	m.dirty = false
	m.giveAway(answerUnavailable, "drained")
	return m.finish()
}

// giveAway drops the session without ending it.
func (m *machine) giveAway(kind answerKind, reason string) {
	for rid := m.win.answered + 1; rid <= m.win.highest; rid++ {
		if s := m.win.at(rid); s != nil && s.x != 0 {
			m.reply(s.x, kind)
		}
	}
	for rid := m.replay.low + 1; rid <= m.replay.high; rid++ {
		if k := m.replay.at(rid); k.x != 0 {
			m.reply(k.x, kind)
		}
	}
	if !m.saving.ended {
		m.end = ending{reason: reason, keep: true, release: kind == answerUnavailable}
		m.e.end, m.saving.ended = &m.end, true
	}
	m.wantClose = true
	m.closeStreams(closeCut)
	m.life, m.e.forget = lifeForgotten, true
}
