package bosh

import "time"

// machineConfig is what all machines of a Handler share; immutable. Ceilings of what browsers may ask for.
type machineConfig struct {
	wait, inactivity, polling, maxpause time.Duration // whole seconds; maxpause 0: no pauses
	hold                                int
	acks                                bool // offer request acknowledgements (XEP-0124 §9.1)
	keys                                bool
	managed                             bool // false: class none, nothing is ever saved
	shared                              bool // other replicas hand requests on

	featuresWait  time.Duration // the creation response waits that long for features
	gapWait       time.Duration // a parked request is told of the gap after that time (BOSH-134)
	stuckWait     time.Duration // beyond its wait a request that the server delays gets 503 at the latest after that time
	grace         time.Duration // a session that has ended repeats its last answer that long (BOSH-123)
	ackTimeout    time.Duration // how long a terminate waits for the server's <a/>
	lastWords     time.Duration // and before that, for what came with it to be written
	queueBytes    int           // waiting per direction
	responseBytes int           // of one response; at least one element is sent
	responseMax   int           // elements of one response
}

// life is how far a session has come.
type life uint8

const (
	lifeLive      life = iota
	lifeClosing        // the browser has terminated it; what it said last is on its way to the server
	lifeDying          // the server has ended it; what is left goes to the browser, and then the reason
	lifeOver           // the browser has been told; repeats get the same again for a while (BOSH-123)
	lifeForgotten      // effects.forget was returned
)

// machine is the state of one session. See events.go for its use. Times are durations since epoch.
type machine struct {
	config *machineConfig
	sid    string
	set    settings
	epoch  time.Time
	life   life

	win     ridWindow
	replay  replay
	acks    ackState
	idle    idleState
	rate    rateState
	keys    keyState
	sm      counters
	streams streams
	saving  saving
	end     ending
	bind    bindState
	csi     csiState

	adopted   bool          // taken over from another replica
	unheard   time.Duration // adopted: until then answers of unknown fate may still be asked for
	closing   uint64        // lifeClosing: rid of the terminate request
	closingAt time.Duration
	fate      *fate     // lifeDying: what the browser will be told
	last      *response // lifeOver: what whoever comes later is told; nil: item-not-found
	forgetAt  time.Duration
	wantClose bool // streams are to be closed as soon as that is allowed

	// of the event in hand
	now     time.Duration
	touched bool     // a request came or was answered
	dirty   bool     // a record is to be written
	flush   bool     // everything that can be answered is answered (drain)
	r       response // the one in the making
	e       effects
}

func newMachine(now time.Time, config *machineConfig, sid string, names []string, x exchange, r *request) (*machine, effects) {
	names = names[:min(len(names), maxStreams)]
	m := &machine{config: config, sid: sid, epoch: now, set: negotiate(config, r, names), streams: newStreams(names)}
	m.prepare(r.rid - 1)
	if m.set.keyed {
		m.keys.start(r.newkey)
	}
	m.begin(now)
	m.touched = true
	m.e.open = append(m.e.open, opening{to: r.to, from: r.from, lang: r.lang, route: r.route, version: r.xmppVersion})
	m.idle.request(false, 0)
	s := m.park(x, r)
	s.created = true
	m.win.received = r.rid
	m.start(s)
	return m, m.finish()
}

// prepare sets up the sub-states behind the last answered rid.
func (m *machine) prepare(answered uint64) {
	m.win = newRidWindow(answered)
	m.replay.low, m.replay.high = answered, answered
	m.acks = ackState{explicit: m.set.confirms, proved: answered}
	m.idle.normal = m.set.inactivity
	m.rate.polling = m.set.polling
}

// begin starts an event; false: the session is forgotten.
func (m *machine) begin(now time.Time) bool {
	if m.life == lifeForgotten {
		return false
	}
	m.now = now.Sub(m.epoch)
	m.touched, m.dirty = false, false
	m.e.reset()
	return true
}

// finish does what has become possible or due, and returns the event's effects.
func (m *machine) finish() effects {
	if m.life != lifeForgotten {
		m.work()
	}
	if m.life != lifeForgotten {
		m.expire()
	}
	m.record()
	m.acknowledge()
	m.closeStreams(closeClean)
	if m.life == lifeOver && m.forgetAt <= m.now {
		m.forget()
	}
	if at, ok := m.deadline(); ok {
		m.e.next = m.epoch.Add(at)
	}
	return m.e
}

// work moves requests on: to the server, to the browser.
func (m *machine) work() {
	m.pump()
	if m.life == lifeClosing && m.isClosed() {
		m.conclude()
	}
	m.settle()
	m.overdue()
}

func (m *machine) request(now time.Time, x exchange, r *request) effects {
	if !m.begin(now) {
		return effects{}
	}
	if m.set.secure && !r.secure { // XEP-0124 §19.1: as if nobody had asked
		m.reply(x, answerNothing)
		return m.finish()
	}
	m.touched = true
	switch {
	case m.life == lifeOver:
		m.afterwards(x, r)
	case r.script != m.set.script: // XEP-0252 §4
		m.kill(x, badRequest, "script syntax and POST in one session")
	case r.rid <= m.win.answered:
		m.repeatAnswered(x, r)
	case m.win.at(r.rid) != nil:
		m.repeatPending(x, r)
	default:
		m.accept(x, r)
	}
	return m.finish()
}

func (m *machine) refused(now time.Time, x exchange, condition string) effects {
	if !m.begin(now) {
		return effects{}
	}
	m.touched = true
	if m.life == lifeOver {
		m.tellLast(x)
	} else {
		m.kill(x, condition, "unreadable or oversized request")
	}
	return m.finish()
}

func (m *machine) gone(now time.Time, x exchange) effects {
	if !m.begin(now) {
		return effects{}
	}
	// BOSH-018: nothing is written to it; its rid stays unanswered so that a repeat can take its place.
	if s := m.win.find(x); s != nil {
		s.x = 0
	} else if k := m.replay.find(x); k != nil {
		k.x = 0
	}
	return m.finish()
}

func (m *machine) opened(now time.Time, stream int, header streamHeader) effects {
	if !m.begin(now) {
		return effects{}
	}
	if l := m.streams.link(stream); l != nil && l.state == linkOpening {
		l.header = &header // XEP-0206 §4: told together with the features
	}
	return m.finish()
}

func (m *machine) openFailed(now time.Time, stream int, condition string) effects {
	if !m.begin(now) {
		return effects{}
	}
	m.streamOver(stream, &fate{condition: condition}, "stream not opened")
	return m.finish()
}

func (m *machine) ended(now time.Time, stream int, c cause) effects {
	if !m.begin(now) {
		return effects{}
	}
	l := m.streams.link(stream)
	lives := l != nil && l.state < linkEnding && c.kind == causeRefused // the server knows of nothing
	m.streamOver(stream, c.fate(), c.reason())
	switch {
	case lives && m.life == lifeLive:
		m.e.close = append(m.e.close, closing{stream: stream, how: closeClean})
	case lives && m.wantClose:
		l.state = linkEnding
	}
	return m.finish()
}

func (m *machine) delivered(now time.Time, stream int, els []element) effects {
	if !m.begin(now) {
		return effects{}
	}
	if l := m.streams.link(stream); l != nil && l.state < linkEnding && m.life < lifeDying {
		l.state = linkReady // the first element is the features
		for _, el := range els {
			m.deliver(stream, l, el)
		}
		m.relieve()
	}
	return m.finish()
}

func (m *machine) forwarded(now time.Time, rid uint64, stanzas int) effects {
	if !m.begin(now) {
		return effects{}
	}
	if s := m.win.at(rid); s != nil && s.stage == stageSent {
		s.stage, s.counted = stageWritten, stanzas
		m.wrote()
		if m.life == lifeClosing {
			m.closingAt = m.now
		}
	}
	return m.finish()
}

func (m *machine) acked(now time.Time, h uint32) effects {
	if !m.begin(now) {
		return effects{}
	}
	if m.sm.acked(h) {
		m.drop()
	}
	return m.finish()
}

func (m *machine) ackRequested(now time.Time) effects {
	if !m.begin(now) {
		return effects{}
	}
	m.sm.asked = true
	return m.finish()
}

func (m *machine) enabled(now time.Time, resumable bool) effects {
	if !m.begin(now) {
		return effects{}
	}
	m.sm.enable(resumable && m.config.managed)
	m.bind.stage = bindAwaited
	for rid := m.replay.low + 1; rid <= m.replay.high && m.bind.begun; rid++ {
		// What came between the bind request and now has no number. All before was needed to make that request.
		if k := m.replay.at(rid); len(k.payload) > 0 && k.at >= m.bind.at {
			k.opaque = true
		}
	}
	m.drop()
	return m.finish()
}

func (m *machine) tick(now time.Time) effects {
	if !m.begin(now) {
		return effects{}
	}
	return m.finish()
}

// wantsMore says whether the shell should read the next element from the server: false while too much waits for the
// browser (BOSH-080). It can become true after every event.
//
// It stays true a while longer while a request waits for the server's <a/>, which stands behind what is to be read.
func (m *machine) wantsMore() bool {
	waits := m.streams.bytes()
	return waits < m.config.queueBytes || waits < m.config.queueBytes+blockedBytes && m.isBlocked()
}

// settings is what the store keeps beside the counters.
func (m *machine) settings() string { return m.set.encode() }
