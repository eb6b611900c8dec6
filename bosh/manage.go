package bosh

import (
	"log/slog"
	"time"

	"stanzagate/upstream"
)

// What the shell does for the one managed stream of a session beside forwarding: acknowledgements (XEP-0198 §4), and going
// on when its connection was replaced.

// pendingAck is an <a/> that is due but not written yet. It waits a moment for something else to be written, since each
// write costs more than what is in it. Guarded by session.mu.
type pendingAck struct {
	h, sent uint32
	due     bool
	by      time.Time // when it is written in any case; zero: it is not due, or in the up lane
	asked   bool      // the server has sent <r/>: UP-060, at once
	unasked bool      // stanzas were written before the server could be asked for an <a/>
}

const (
	ackDelay = 200 * time.Millisecond
	ackBatch = 100 // stanzas; servers bound what they keep for us (failover-design 6)
)

// ackLocked has the server told that the browser has h stanzas, and that the store knows it.
func (s *session) ackLocked(h uint32) {
	a := &s.acks
	a.h, a.due = h, true
	if a.asked || h-a.sent >= ackBatch {
		s.up = append(s.up, upItem{kind: upAck})
		return
	}
	if a.by.IsZero() {
		a.by = time.Now().Add(ackDelay)
	}
}

// take returns what is due.
func (a *pendingAck) take() (h uint32, ok bool) {
	if !a.due {
		return 0, false
	}
	a.due, a.by, a.sent = false, time.Time{}, a.h
	return a.h, true
}

// acknowledge writes the <a/> alone.
func (s *session) acknowledge() {
	s.mu.Lock()
	h, ok := s.acks.take()
	s.mu.Unlock()
	f := s.feedOf(0)
	if f == nil || !ok {
		return
	}
	if err := f.stream.Ack(h); err != nil {
		f.fail(err)
		return
	}
	f.written()
}

// appendAck appends the <a/> that is due to what is written next.
func (f *feed) appendAck(b []byte) []byte {
	if f.index != 0 || f.s.record == nil {
		return b
	}
	f.s.mu.Lock()
	h, ok := f.s.acks.take()
	f.s.mu.Unlock()
	if !ok {
		return b
	}
	return f.stream.AppendAck(b, h)
}

// askLocked has the server asked for an <a/> if it could not be asked when stanzas were written: behind a bind request,
// before <enabled/>.
func (s *session) askLocked() {
	if s.acks.unasked && s.m.sm.on {
		s.acks.unasked = false
		s.up = append(s.up, upItem{kind: upAsk})
	}
}

// ask writes an <r/>.
func (s *session) ask() {
	if f := s.feedOf(0); f != nil {
		_ = f.stream.KeepAlive() // a dead server is the reader's business
	}
}

// tellCSI tells the server again what the browser said of its state (failover-design 7.3).
func (s *session) tellCSI(state csiState) {
	f := s.feedOf(0)
	if f == nil {
		return
	}
	word := "<active xmlns='" + nsCSI + "'/>"
	if state == csiInactive {
		word = "<inactive xmlns='" + nsCSI + "'/>"
	}
	if err := f.stream.Send([]byte(word)); err != nil {
		f.fail(err)
	}
}

// acked, and what else is not an element, is reported behind the elements that came with it: an answer that waits for the
// <a/> takes them along.
func (f *feed) manage(b *batch, ev *upstream.Event) {
	switch ev.Kind {
	case upstream.KindAcked:
		b.h, b.acked = ev.H, true
	case upstream.KindAckRequested:
		b.asked = true
	case upstream.KindEnabled:
		f.deliver(b)
		f.enabled(ev)
	case upstream.KindResumed:
		b.acked, b.asked = false, false // of the connection that was lost
		f.deliver(b)
		f.resumed(ev)
	case upstream.KindElement:
	}
}

// counts reports what manage has gathered.
func (f *feed) counts(b *batch) {
	if !b.acked && !b.asked {
		return
	}
	s := f.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.acked {
		s.eventLocked(func(now time.Time) effects { return s.m.acked(now, b.h) })
	}
	if b.asked {
		s.acks.asked = true
		s.eventLocked(func(now time.Time) effects { return s.m.ackRequested(now) })
		s.acks.asked = false
	}
	b.acked, b.asked = false, false
	s.delegateLocked()
}

// resumed goes on with a connection in place of the one that broke. What was to be written to that is void: the machine
// returns it again as far as the server lacks it. The stream takes nothing before Proceed, so whoever is writing just now
// fails; Proceed is in the lane behind all that could still be meant for the old connection.
func (f *feed) resumed(ev *upstream.Event) {
	s := f.s
	s.h.failover.Resumed()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.generation++
	for i := range s.up {
		if item := &s.up[i]; item.kind == upForward {
			item.forward.streams &^= 1 // other streams have not noticed
			item.late = true
		}
	}
	s.up = append(s.up, upItem{kind: upProceed, past: ev.Break})
	f.failed, f.wrote = false, time.Now()
	s.acks.sent = ev.Told
	s.noteLocked(slog.LevelInfo, "bosh session resumed in place", "")
	s.eventLocked(func(now time.Time) effects { return s.m.resumed(now, ev.H) })
	s.delegateLocked()
}
