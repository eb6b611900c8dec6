package bosh

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"stanzagate/internal/peer"
	"stanzagate/internal/quota"
	"stanzagate/internal/replica"
	"stanzagate/internal/xmlframe"
	"stanzagate/upstream"
)

// session is the shell of one machine: it has the mutex, the timer, the requests that wait and the streams, and carries
// effects out. No I/O is done under mu. Its goroutines are one for each stream (feed.run) while there is something to read,
// one that writes upstream while there is more to write than the requests' own goroutines do (lane.go), and what closes
// streams at the end; all of them end soon after the session does, and Handler.wg counts them, and feeds without one. Locks are taken in the order mu, those of replica.Record.
type session struct {
	// immutable once Handler knows it
	h             *Handler
	sid           string
	key           sidKey
	client, local netip.AddrPort    // of the creation request
	secure        bool              // BOSH-177
	exposed       bool              // others can listen to what the browser sends
	script        bool              // XEP-0252
	cert          [sha256.Size]byte // of the browser's certificate (BOSH-179); zero for none
	place         *quota.Place
	record        *replica.Record // nil without Config.Replica

	mu sync.Mutex
	// guarded by mu
	m       *machine        // nil until create
	last    exchange        // number of the newest
	waiting []*waiter       // requests that are not answered yet, oldest first
	feeds   []*feed         // by stream
	scope   *xmlframe.Scope // what stanzas for the browser are mended for; set before the first feed starts
	more    sync.Cond       // broadcast when feeds may read again, or have to stop
	over    bool            // forgotten: events mean nothing any more
	ended   bool            // effects.end has come

	// The up lane (lane.go); guarded by mu.
	up         []upItem
	working    bool   // somebody carries out what is in up
	written    uint64 // the highest rid whose forwarding has been carried out
	generation int    // counts resumptions in place: what was to be written before is void

	acks pendingAck // guarded by mu

	// What the store has, and may still get (persist.go); guarded by mu.
	issued   uint64  // newest record of the machine
	final    *ending // waits until record finalAt is stored
	finalAt  uint64
	class    upstream.Class // "" before login
	adopting bool           // taken over, and not resumed yet
	kept     bool           // it lives on elsewhere
	released bool           // and that is because we gave it away
	gone     bool           // the store has lost it
	unsure   bool           // it has ended, and may live on elsewhere for all we know
	retired  bool           // retireLocked has done its work

	// The timer (timer.go); guarded by mu.
	timer  *time.Timer
	armed  time.Time // what timer is set to; zero: it is not
	next   time.Time // effects.next
	authBy time.Time // AuthTimeout; zero once authenticated
	keepBy time.Time // when to look whether the server wants a sign of life; zero: never

	upkeepBy  time.Time // when upkeep is due; zero: never
	tokenFrom time.Time // the token is not renewed before: that has failed
}

func newSession(h *Handler, r *http.Request, p peer.Peer, place *quota.Place, script bool) *session {
	sid := newSID()
	s := &session{
		h: h, sid: sid, key: keyOf(sid), client: p.Addr, local: p.Local, secure: p.Secure, exposed: exposed(p),
		script: script, place: place,
	}
	if c := certificate(r); c != nil {
		s.cert = sha256.Sum256(c.Raw)
	}
	s.more.L = &s.mu
	return s
}

// register makes the session known to other replicas, and then to ours. It reports false if there are to be no sessions.
func (s *session) register(ctx context.Context) bool {
	if member := s.h.cfg.Replica; member != nil {
		s.record = member.NewRecord(s.sid, s)
		if err := s.record.Create(ctx, transportName, s.h.cfg.recordTTL()); err != nil {
			s.log(slog.LevelDebug, "session refused", err.Error())
			return false
		}
		s.upkeepBy = s.record.TouchDue()
	}
	if s.h.enter(s) {
		return true
	}
	if s.record != nil {
		_ = s.record.End(ctx) // it is forgotten after a while anyway
	}
	return false
}

// exposed reports whether others can listen to what the browser says to us (UP-051).
func exposed(p peer.Peer) bool { return !p.Secure && p.Addr.IsValid() && !p.Addr.Addr().IsLoopback() }

// certificate returns what the browser proved to have, if it did.
func certificate(r *http.Request) *x509.Certificate {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil
	}
	return r.TLS.PeerCertificates[0]
}

// belongs reports whether a request may be one of this session: XEP-0124 §19.1, what began with TLS, and with a
// certificate, goes on with them; so it does with its address if the operator wants that.
func (s *session) belongs(r *http.Request, p peer.Peer) bool {
	if s.secure && !p.Secure || s.h.cfg.SameAddress && p.Addr.Addr() != s.client.Addr() {
		return false
	}
	if s.cert == ([sha256.Size]byte{}) {
		return true
	}
	c := certificate(r)
	return c != nil && sha256.Sum256(c.Raw) == s.cert
}

// waiter is a request that waits for its answer. It is part of a visit, and used again with it.
type waiter struct {
	x      exchange
	answer answer        // written before done is sent to
	gate   uint64        // likewise: the record that has to be stored before the answer leaves; 0: none
	done   chan struct{} // capacity 1, so that the one who answers never waits; sent to once for each x
	parked *visit        // guarded by session.mu; nil while a goroutine waits on done
}

// wakeLocked tells who waits that there is an answer. The waiter may be used for another request from here on.
func (s *session) wakeLocked(w *waiter) {
	parked := w.parked
	w.done <- struct{}{}
	if parked != nil {
		s.goLocked(parked.conclude)
	}
}

// create begins the session with its first request. The caller waits for the answer then.
func (s *session) create(w *waiter, req *request) {
	s.log(slog.LevelInfo, "bosh session started", "", slog.String("domain", req.to))
	s.exchange(w, func(now time.Time, x exchange) effects {
		s.scope = bodyScope(req.lang)
		s.authBy, s.keepBy = now.Add(s.h.cfg.AuthTimeout), now.Add(keepAlive)
		var names []string
		if s.h.cfg.Streams > 1 {
			names = newNames(s.h.cfg.Streams)
		}
		var e effects
		s.m, e = newMachine(now, s.h.machine, s.sid, names, x, req)
		return e
	})
}

// serve has the session answer a request. The caller waits for the answer then. It reports whether the request is used
// again already, before it is held: most requests are held most of the time.
func (s *session) serve(w *waiter, req *request) (recycled bool) {
	s.exchange(w, func(now time.Time, x exchange) effects { return s.m.request(now, x, req) })
	if !s.letsGo(req) {
		return false
	}
	req.recycle()
	return true
}

// refuse has the session end because of a request that cannot be served. The caller waits for the answer then.
func (s *session) refuse(w *waiter, condition string) {
	s.exchange(w, func(now time.Time, x exchange) effects { return s.m.refused(now, x, condition) })
}

// exchange reports a request, and does what it brings into the up lane.
func (s *session) exchange(w *waiter, call func(time.Time, exchange) effects) {
	if s.enter(w, call) {
		s.work(true)
	}
}

// waited is how a wait for an answer ended.
type waited uint8

const (
	waitAnswered waited = iota
	waitGone            // the browser went away before
	waitLong            // long has come before
)

// wait waits for the answer, or until long.
func (s *session) wait(ctx context.Context, w *waiter, long <-chan time.Time) waited {
	select {
	case <-w.done: // Done allocates, so it is asked for only if there is need to wait
		return waitAnswered
	default:
	}
	select {
	case <-w.done:
		return waitAnswered
	case <-long:
		return waitLong
	case <-ctx.Done():
	}
	if s.leave(w) {
		return waitGone
	}
	<-w.done // the answer was quicker; it may still reach the browser
	return waitAnswered
}

// letsGo reports whether nothing needs a request any more (see request): it has been forwarded if there was something to
// forward, and a managed stream, where that may happen once more, has it for good.
func (s *session) letsGo(req *request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.over || s.m.win.sent < req.rid:
		return false
	case len(req.payload) == 0:
		return true
	}
	return req.rid <= s.written && (!s.h.machine.managed || req.rid <= s.m.win.answered)
}

// enter reports a request to the machine. It reports whether the caller has to work (lane.go).
func (s *session) enter(w *waiter, call func(time.Time, exchange) effects) (turn bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	w.x = s.last
	if s.over {
		// It ended between the look-up and here: the same as if it had not been found.
		w.answer.response = response{terminate: true, condition: itemNotFound}
		if s.kept || s.unsure || s.m == nil {
			w.answer.kind = answerUnavailable // it is, or may be, to be found elsewhere, or to be created once more
		}
		w.done <- struct{}{}
		return false
	}
	s.waiting = append(s.waiting, w)
	s.eventLocked(func(now time.Time) effects { return call(now, w.x) })
	if s.record != nil && !s.record.MayWrite() {
		s.delegateLocked() // nobody knows for how long; the answer must not wait for that
		return false
	}
	return s.turnLocked()
}

// leave reports that the browser went away. It reports whether that was before the answer (BOSH-018).
func (s *session) leave(w *waiter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.takeLocked(w.x) == nil {
		return false
	}
	s.eventLocked(func(now time.Time) effects { return s.m.gone(now, w.x) })
	s.delegateLocked()
	return true
}

// takeLocked removes a request from those that wait; nil if it does not.
func (s *session) takeLocked(x exchange) *waiter {
	for i, w := range s.waiting {
		if w.x == x {
			s.waiting = append(s.waiting[:i], s.waiting[i+1:]...)
			return w
		}
	}
	return nil
}

// event reports something that is not a request to the machine.
func (s *session) event(call func(now time.Time) effects) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.eventLocked(call)
	s.delegateLocked()
}

// eventLocked calls the machine and carries out what it returns, as far as that needs no I/O; the rest is in the up lane
// then. A machine that panics takes its session with it (XEP-0124 §17.2: internal-server-error).
func (s *session) eventLocked(call func(now time.Time) effects) {
	if s.over {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			s.noteLocked(slog.LevelError, panicMessage, "", panicAttrs(p)...)
			s.crashLocked()
		}
	}()
	e := call(time.Now())
	s.executeLocked(&e)
}

// executeLocked is the one place where effects are carried out, in the order that events.go prescribes.
//
// The down lane is: save, answer, end (persist.go). Sessions that die with this replica (class none) save nothing, so their
// answers leave at once, in the order in which they were returned.
func (s *session) executeLocked(e *effects) {
	if e.save != nil {
		s.saveLocked(e.save)
	}
	if e.end != nil && e.end.release {
		s.giveAwayLocked(e)
		e.close, e.answer = nil, nil
	}
	s.upwardLocked(e)
	s.downwardLocked(e)
	if e.note != "" {
		s.noteLocked(slog.LevelDebug, e.note, "")
	}
	if e.forget {
		s.forgetLocked()
		return
	}
	s.next = e.next
	s.armLocked()
	if s.m != nil && s.m.wantsMore() {
		s.more.Broadcast()
	}
}

// upwardLocked puts into the up lane what is for servers.
func (s *session) upwardLocked(e *effects) {
	for i := range e.open {
		s.openLocked(e.open[i])
	}
	if e.csi != csiUnknown {
		s.up = append(s.up, upItem{kind: upCSI, csi: e.csi})
	}
	for i := range e.forward {
		s.up = append(s.up, upItem{kind: upForward, forward: e.forward[i], generation: s.generation})
	}
	for i := range e.bounce {
		s.up = append(s.up, upItem{kind: upBounce, bounce: e.bounce[i]})
	}
	for i := range e.close {
		if e.close[i].how == closeCut {
			s.closeLocked(e.close[i]) // at once: nothing of what waits may be written any more (UP-127)
			continue
		}
		s.up = append(s.up, upItem{kind: upClose, close: e.close[i]})
	}
	if e.ackUpstream {
		s.ackLocked(e.h)
	}
}

// downwardLocked hands out answers and notes the end.
func (s *session) downwardLocked(e *effects) {
	if len(e.answer) == 0 && e.end == nil && e.save == nil {
		return
	}
	gate, stored := s.gateLocked(), false
	for i := range e.answer {
		if s.answerLocked(&e.answer[i], gate) {
			stored = true
		}
	}
	if e.save != nil && !stored && !s.released {
		s.flushLocked()
	}
	if e.end != nil {
		s.concludeLocked(e.end, gate)
	}
}

// answerLocked hands an answer to the request that waits for it; if its browser is gone there is nobody to tell. It reports
// whether that request will have the record gate stored.
func (s *session) answerLocked(a *answer, gate uint64) bool {
	w := s.takeLocked(a.x)
	if w == nil {
		return false
	}
	w.answer, w.gate = *a, 0
	if a.kind == answerBody {
		w.gate = gate
	}
	stored := w.gate != 0
	s.wakeLocked(w)
	return stored
}

// endLocked is the end as operators see it. The session may still have answers to repeat (BOSH-123).
func (s *session) endLocked(condition, reason string) {
	if s.ended {
		return
	}
	s.ended = true
	s.final = nil
	s.authBy, s.keepBy = time.Time{}, time.Time{}
	s.place.Release()
	s.h.sessionEnded(condition)
	if s.class != "" {
		s.h.failover.Classified(s.reportedClass(), -1)
	}
	s.noteLocked(slog.LevelInfo, "bosh session ended", reason, slog.String("condition", condition), slog.String("class", s.reportedClass()))
	s.retireLocked()
}

// forgetLocked ends what is left. Nothing is reported to the machine from here on.
func (s *session) forgetLocked() {
	if s.over {
		return
	}
	if s.final != nil {
		s.unsure = true // the store could not be asked
		s.endLocked(s.final.condition, s.final.reason)
	}
	s.endLocked("", "forgotten")
	s.over = true
	s.unrecordLocked()
	if s.timer != nil {
		s.timer.Stop()
	}
	for _, w := range s.waiting {
		w.answer.kind = answerUnavailable
		s.wakeLocked(w)
	}
	s.waiting = nil
	if !s.contestedLocked() {
		s.closeAllLocked(closeClean)
	}
	s.more.Broadcast()
	s.delegateLocked()
	s.h.leave(s)
}

// contestedLocked reports whether another replica may have the session by now, for all we know: unrecordLocked finds out
// before the streams are closed.
func (s *session) contestedLocked() bool {
	return s.m != nil && s.m.sm.resumable && !s.kept && !s.gone
}

// closeAllLocked gives up the streams that are left.
func (s *session) closeAllLocked(how closeHow) {
	for i, f := range s.feeds {
		if !f.closed {
			s.up = append(s.up, upItem{kind: upClose, close: closing{stream: i, how: how}})
		}
	}
}

// crash ends a session in which something of ours went wrong.
func (s *session) crash() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.crashLocked()
}

func (s *session) crashLocked() {
	if s.over {
		return
	}
	for _, w := range s.waiting {
		w.answer.response = response{terminate: true, condition: internalServerError}
		s.wakeLocked(w)
	}
	s.waiting = nil
	s.working = false // whoever had the turn may be the one that went wrong
	s.endLocked(internalServerError, "panic")
	s.forgetLocked()
}

// goLocked starts a goroutine of the session. mu is held, or the caller is itself such a goroutine.
func (s *session) goLocked(run func()) {
	s.h.wg.Add(1)
	go func() {
		defer s.h.wg.Done()
		defer s.contain()
		run()
	}()
}

// contain is deferred in goroutines: a panic ends the session and nothing else.
func (s *session) contain() {
	if p := recover(); p != nil {
		s.log(slog.LevelError, panicMessage, "", panicAttrs(p)...)
		s.crash()
	}
}
