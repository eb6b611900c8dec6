package bosh

import (
	"slices"
	"time"
)

// machineOracle judges one machine from what goes in and comes out. It knows the specification, not the machine.
type machineOracle struct {
	w     *simWorld
	s     *simSession
	cfg   *machineConfig
	truth *simTruth
	epoch int

	// what was asked for at creation, and granted
	first      uint64
	legacy     bool
	wait       time.Duration
	hold       int
	polling    bool
	window     int // W
	inactivity time.Duration
	acks       bool // announced to the browser
	isCreated  bool // the creation response is out
	names      []string

	open     []*simOpen // in the order of arrival
	rids     map[uint64]*simRid
	received uint64 // R: highest rid without a gap below
	base     uint64 // all below are answered, or will not be
	high     uint64 // highest rid seen

	queued []simQueued        // by stream
	marks  map[uint64]simMark // by record

	forwardedUpTo uint64 // rid
	upTotal       uint32 // counted stanzas written
	upBefore      uint32 // of them, before this machine's time
	ackedH        uint32
	sm            bool // counted
	resumable     bool
	ackOut        uint32
	savedUpTo     uint64
	lastRecord    uint64
	covered       uint64 // rid: records may have counted as answered what nobody waits for up to here
	askedForAck   bool
	pushedBack    int
	looks         int

	streams       []simStreamState
	idleSince     time.Duration // only while no exchange is open
	idle          bool
	paused        bool
	pause         time.Duration // inactivity in force while paused
	thawedAt      time.Duration
	gapSince      time.Duration
	drained       bool
	resumed       bool   // what the server has already is left out
	awaiting      bool   // taken over, not resumed yet
	adopted       bool   // taken over: counts start in the middle
	mayEnd        string // somebody asked for the end
	lostOwnership bool
	suspect       string // an end without a good reason, once record suspectAt is in the store
	suspectAt     uint64
	ended         bool
	endedAt       time.Duration
	tickAt        time.Duration
	ticks         int
}

type simStreamState uint8

const (
	streamUnknown simStreamState = iota
	streamOpen
	streamClosed // by the machine
	streamGone   // by the server
)

// simQueued is what waits for the browser on one stream.
type simQueued struct {
	delivered int   // highest number that the machine was given
	released  int   // highest number that it let go
	bytes     int   // waiting
	messages  []int // numbers of the messages among those that wait
}

// simMark is what a record has to say: the highest rid answered, and the stanzas up to it.
type simMark struct {
	answered uint64
	upTotal  uint32
	released int // highest number of stream 0
	paused   bool
	pause    time.Duration
	after    []uint32 // the same as upTotal for the rids behind that nobody waits for: they may count as answered
}

// simOpen is an exchange that the machine owes an answer.
type simOpen struct {
	x        exchange
	rid      uint64
	creation bool
	at       time.Duration
	from     time.Duration // for upper limits: at, or later after a freeze
}

// simRid is what is known of one rid.
type simRid struct {
	payload   []payload
	restart   bool
	pause     bool
	silence   time.Duration // asked for by a pause
	to        string
	target    int    // stream that it names; -1: none
	forwarded bool   // effect seen
	written   bool   // reported
	upTotal   uint32 // counted stanzas up to here
	live      exchange
	answered  bool // in full: not with type=error or 503
	foreign   bool // by a machine before this one
	passed    bool // a higher rid was answered, nobody waited for this one
	at        time.Duration
	out       response
}

func newMachineOracle(w *simWorld, s *simSession, cfg *machineConfig, truth *simTruth) *machineOracle {
	return &machineOracle{w: w, s: s, cfg: cfg, truth: truth, rids: map[uint64]*simRid{}, marks: map[uint64]simMark{}}
}

func (o *machineOracle) fail(rule, format string, args ...any) {
	o.w.fail(rule, format, args...)
}

// honest fails only for sessions whose browser keeps the rules.
func (o *machineOracle) honest(rule, format string, args ...any) {
	if o.truth.honest {
		o.w.fail(rule, format, args...)
	}
}

// negotiate repeats XEP-0124 §7 for the creation request.
func (o *machineOracle) negotiate(r *request) {
	o.first, o.received, o.base, o.high = r.rid, r.rid, r.rid, r.rid
	o.legacy = !r.hasVer
	o.wait, o.hold = o.cfg.wait, 1
	if r.hasWait {
		o.wait = min(o.wait, time.Duration(r.wait)*time.Second)
	}
	if r.hasHold {
		o.hold = r.hold
	}
	o.hold = min(o.hold, o.cfg.hold)
	o.polling = o.wait == 0 || o.hold == 0
	o.window = o.hold + 1
	o.inactivity = o.cfg.inactivity
}

// arrived notes a request before the machine sees it.
func (o *machineOracle) arrived(x exchange, r *request) {
	creation := r.sid == ""
	if creation {
		o.negotiate(r)
	}
	ex := &simOpen{x: x, rid: r.rid, creation: creation, at: o.w.clock, from: o.w.clock}
	o.open = append(o.open, ex)
	o.idle = false
	o.truth.lastSeen = o.w.clock
	if r.terminate {
		o.mayEnd = "terminate"
	}
	o.watch(ex)
	if o.adopted && r.rid < o.first && o.rids[r.rid] == nil {
		o.rids[r.rid] = &simRid{answered: true, foreign: true} // by another replica
	}
	if ri := o.rids[r.rid]; ri != nil {
		ri.live = x
		return
	}
	if r.rid < o.first || r.rid > o.received+uint64(o.window)+1 {
		return // outside of every window: nothing to remember
	}
	o.rids[r.rid] = &simRid{
		payload: r.payload, restart: r.restart, pause: r.hasPause && o.cfg.maxpause > 0, to: r.to,
		target:  slices.Index(o.names, r.stream),
		silence: time.Duration(r.pause) * time.Second, live: x,
	}
	if o.high == o.received && r.rid > o.received+1 {
		o.gapSince = o.w.clock
	}
	o.high = max(o.high, r.rid)
	for next := o.rids[o.received+1]; next != nil; next = o.rids[o.received+1] {
		o.received++
		o.paused, o.pause = next.pause, next.silence // BOSH-101, BOSH-103
	}
}

// watch plans looks at the moments when an exchange must have been answered.
func (o *machineOracle) watch(ex *simOpen) {
	look := func() {
		if o.s.running() && slices.Contains(o.open, ex) {
			o.due()
		}
	}
	slack := o.slack() + time.Millisecond
	o.w.after(o.gapPatience()+slack, look)
	o.w.after(o.wait+slack, look)
	o.w.after(o.wait+o.cfg.stuckWait+slack, look)
}

// slack is how late the shell's timer may be.
func (o *machineOracle) slack() time.Duration { return o.w.plan.tickLate + time.Millisecond }

func (o *machineOracle) gone(x exchange) {
	if e := o.take(x); e != nil {
		o.truth.lastSeen = o.w.clock
		if ri := o.rids[e.rid]; ri != nil && ri.live == x {
			ri.live = 0
		}
	}
}

func (o *machineOracle) delivered(stream int, els []element) {
	q := o.queue(stream)
	st := o.truth.stream(stream)
	for _, el := range els {
		n, _ := simNumber(el.raw)
		q.delivered = max(q.delivered, n)
		if n > q.released {
			q.bytes += len(el.raw)
			if simName(el.raw) == simMessage {
				q.messages = append(q.messages, n)
			}
		}
		st.delivered = max(st.delivered, n)
	}
}

func (o *machineOracle) queue(stream int) *simQueued {
	for len(o.queued) <= stream {
		o.queued = append(o.queued, simQueued{})
	}
	return &o.queued[stream]
}

// mark is what a record written now has to say.
func (o *machineOracle) mark() simMark {
	m := simMark{
		answered: o.base - 1, upTotal: o.upBefore, released: o.queue(0).released,
		paused: o.paused, pause: o.pause,
	}
	m.upTotal = o.upUntil(m.answered)
	for r := o.base; r <= o.received && o.processed(r) && o.rids[r].live == 0; r++ {
		m.after = append(m.after, o.upUntil(r))
	}
	return m
}

// upUntil is how many counted stanzas were written in requests up to rid.
func (o *machineOracle) upUntil(rid uint64) uint32 {
	for r := rid; r >= o.first; r-- {
		if ri := o.rids[r]; ri != nil && ri.written {
			return ri.upTotal
		}
	}
	return o.upBefore
}

// passedBy takes rids into account that the machine before this one passed over.
func (o *machineOracle) passedBy(answered uint64, mark simMark) {
	extra := int(answered - mark.answered)
	if extra < 0 || extra > len(mark.after) {
		o.fail("restore/rid", "restored at rid %d, the record was written at %d", answered, mark.answered)
		return
	}
	if extra > 0 {
		up := mark.after[extra-1]
		o.first, o.base, o.received, o.high, o.forwardedUpTo = answered+1, answered+1, answered, answered, answered
		o.upBefore, o.upTotal = up, up
	}
}

// adopt is the state after a takeover: that of the record.
func (o *machineOracle) adopt(c simClaim) {
	g, mark := o.truth.grant, c.entry.mark
	o.adopted, o.awaiting, o.epoch = true, true, c.epoch
	o.wait, o.inactivity, o.hold, o.window, o.acks, o.legacy = g.wait, g.inactivity, g.hold, g.window, g.acks, g.legacy
	o.polling, o.isCreated, o.sm, o.resumable = o.wait == 0 || o.hold == 0, true, true, true
	o.first, o.base, o.received, o.high = mark.answered+1, mark.answered+1, mark.answered, mark.answered
	o.upBefore, o.upTotal, o.forwardedUpTo = mark.upTotal, mark.upTotal, mark.answered
	for rid := range o.truth.committed {
		if _, left := o.truth.released[rid]; !left && rid > mark.answered+uint64(len(mark.after)) {
			delete(o.truth.committed, rid) // died with the machine that decided on it
		}
	}
	o.queue(0).released = mark.released
	o.paused, o.pause = mark.paused, mark.pause
	o.idle, o.idleSince = true, o.truth.lastSeen // whoever had it since
	o.streams = []simStreamState{streamOpen}
	o.names = o.w.plan.streamNames(o.truth.sid)
}

// restored is the state after a resumption: what is not answered has to be sent again, without what the server has.
func (o *machineOracle) restored(h uint32) {
	o.awaiting = false
	mark := o.mark()
	if h < mark.upTotal {
		o.fail("invariant-1/behind", "the server has handled %d stanzas, %d were answered", h, mark.upTotal)
		return
	}
	o.ackedH, o.upTotal, o.forwardedUpTo, o.resumed = h, mark.upTotal, mark.answered, true
	for rid := o.base; rid <= o.high; rid++ {
		ri := o.rids[rid]
		switch {
		case ri == nil:
		case ri.written && ri.upTotal <= h:
			o.upTotal = ri.upTotal // the server has all of it
		default:
			ri.forwarded, ri.written = false, false
		}
	}
	q := o.queue(0)
	q.delivered, q.bytes, q.messages = 0, 0, nil
}

// written notes a forwarding before it is reported.
func (o *machineOracle) written(f forwarding, counted int) {
	o.upTotal += uint32(counted)
	if ri := o.rids[f.rid]; ri != nil {
		ri.written = true
		ri.upTotal = o.upTotal
	}
}

func (o *machineOracle) acked(h uint32) { o.ackedH = max(o.ackedH, h) }

func (o *machineOracle) enabled(resumable bool) { o.sm, o.resumable = true, resumable }

func (o *machineOracle) streamOver(stream int) { o.setStream(stream, streamGone) }

func (o *machineOracle) setStream(stream int, to simStreamState) {
	for len(o.streams) <= stream {
		o.streams = append(o.streams, streamUnknown)
	}
	if old := o.streams[stream]; old != streamGone && !(old == streamClosed && to == streamGone) {
		o.streams[stream] = to
	}
}

func (o *machineOracle) stateOf(stream int) simStreamState {
	if stream >= 0 && stream < len(o.streams) {
		return o.streams[stream]
	}
	return streamUnknown
}

// ticked watches for a timer that spins.
func (o *machineOracle) ticked() {
	if o.tickAt != o.w.clock {
		o.tickAt, o.ticks = o.w.clock, 0
	}
	if o.ticks++; o.ticks > 20 {
		o.fail("next/spins", "20 ticks at the same instant")
	}
}

// check judges the effects of one event.
func (o *machineOracle) check(e effects) {
	wasEnded := o.ended
	for _, op := range e.open {
		o.setStream(op.stream, streamOpen)
	}
	for i := range e.forward {
		o.forward(&e.forward[i])
	}
	for _, b := range e.bounce {
		o.bounced(b)
	}
	o.record(e)
	o.ackUpstream(e)
	if e.end != nil {
		o.end(e)
	}
	for _, a := range e.answer {
		o.answer(a, e, wasEnded)
	}
	if e.save != nil {
		mark := o.mark()
		o.marks[e.save.n] = mark
		o.covered = mark.answered + uint64(len(mark.after))
	}
	for _, c := range e.close {
		o.closing(c)
	}
	if e.forget {
		o.forgotten()
		return
	}
	if e.next.IsZero() {
		o.fail("next/never", "a session that lives always has something due")
	}
	o.due()
	o.becomeIdle()
	o.memory()
}

// record checks what is to be saved: only managed sessions are, and records count up.
func (o *machineOracle) record(e effects) {
	if e.save == nil {
		return
	}
	if !o.cfg.managed {
		o.fail("store/unmanaged", "record %d of a session of class none", e.save.n)
	}
	if e.save.n <= o.lastRecord {
		o.fail("store/order", "record %d after %d", e.save.n, o.lastRecord)
	}
	o.lastRecord = e.save.n
}

func (o *machineOracle) ackUpstream(e effects) {
	asked := o.askedForAck
	o.askedForAck = false
	if asked && !e.ackUpstream && !o.ended && o.sm {
		o.fail("UP-060/unanswered", "<r/> of the server was not answered at once")
	}
	if !e.ackUpstream {
		return
	}
	if e.h < o.ackOut {
		o.fail("upstream/ack-back", "<a h=%d/> after %d", e.h, o.ackOut)
	}
	o.ackOut = e.h
}

// forward checks rid order and content of what goes upstream (BOSH-025, BOSH-070, BOSH-133).
func (o *machineOracle) forward(f *forwarding) {
	ri := o.rids[f.rid]
	switch {
	case ri == nil:
		o.fail("BOSH-133/forward", "rid %d was never received", f.rid)
	case f.rid > o.received:
		o.fail("BOSH-133/forward", "rid %d is forwarded, but there is a gap after %d", f.rid, o.received)
	case f.rid <= o.forwardedUpTo:
		o.fail("BOSH-070/order", "rid %d is forwarded after %d", f.rid, o.forwardedUpTo)
	case ri.restart != f.restart:
		o.fail("XBOSH-013/restart", "rid %d: restart is %v", f.rid, f.restart)
	case !f.restart && !slices.EqualFunc(ri.payload, f.payload, func(a, b payload) bool {
		return a.stanza == b.stanza && string(a.frame.Raw) == string(b.frame.Raw)
	}):
		o.fail("BOSH-025/content", "rid %d is forwarded with other payload than it came with", f.rid)
	case f.skip > 0 && (!o.resumed || o.upUntil(f.rid-1)+uint32(f.skip) > o.ackedH):
		o.fail("7.3/skip", "rid %d leaves %d stanzas out, the server has %d of %d", f.rid, f.skip, o.ackedH, o.upUntil(f.rid-1))
	default:
		ri.forwarded = true
		o.forwardedUpTo = f.rid
	}
}

// bounced checks that what is given back to the server is what the browser never got (XBOSH-020), on streams without
// XEP-0198, where the server does not do it itself (XBOSH-021).
func (o *machineOracle) bounced(b bounce) {
	if o.sm {
		o.fail("XBOSH-021/bounce", "stanzas are bounced on a stream with XEP-0198")
	}
	q := o.queue(b.stream)
	for _, el := range b.els {
		n, _ := simNumber(el.raw)
		i := slices.Index(q.messages, n)
		if i < 0 && simName(el.raw) == simMessage {
			o.fail("XBOSH-020/bounce", "message %d of stream %d is bounced, but it does not wait for the browser", n, b.stream)
			return
		}
		if i >= 0 {
			q.messages = slices.Delete(q.messages, i, i+1)
		}
	}
}

// closing checks how a stream is given up.
func (o *machineOracle) closing(c closing) {
	if q := o.queue(c.stream); c.how == closeClean && !o.sm && o.stateOf(c.stream) == streamOpen && len(q.messages) > 0 {
		o.honest("XBOSH-020/silent", "stream %d is closed, and message %d was neither delivered nor bounced", c.stream, q.messages[0])
	}
	for len(o.streams) <= c.stream {
		o.streams = append(o.streams, streamUnknown)
	}
	if c.how == closeCut && !o.drained && o.mayEnd != "standDown" && !o.lostOwnership && o.truth.honest {
		o.fail("UP-131/cut", "stream %d is cut, not closed", c.stream)
	}
	if c.how == closeClean && o.resumable && o.savedUpTo < o.lastRecord {
		o.fail("6/closed-early", "stream %d is closed before record %d is saved", c.stream, o.lastRecord)
	}
	o.setStream(c.stream, streamClosed)
}
