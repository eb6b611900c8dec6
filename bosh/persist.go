package bosh

import (
	"errors"
	"log/slog"
	"time"

	"stanzagate/sessionstore"
)

// The down lane of a session that can be taken over: save, then answer, then end. There is no goroutine for it: the request
// that is to be answered has one, which is awake anyway. It has the record stored, and only then writes the response.
// Answers that have no record of their own wait for the newest before them.

// saveLocked sets what is to be stored.
func (s *session) saveLocked(rec *record) {
	s.issued = rec.n
	// Nothing is written while a request is held, however long.
	s.record.Put(rec.n, rec.counters, rec.expires+s.m.set.wait)
}

// gateLocked is the record that has to be stored before an answer may leave; 0: none.
func (s *session) gateLocked() uint64 {
	if s.issued == 0 || s.record.Stored(s.issued) {
		return 0
	}
	return s.issued
}

// flushLocked has the record stored although there is no answer that waits for it.
func (s *session) flushLocked() {
	n := s.issued
	s.goLocked(func() { _ = s.record.Flush(n) }) // what comes of it is reported to Stored and Lost
}

// release is called by the goroutine of a request that has its answer. It returns when the answer may leave, and turns it
// into something else if it may not (events.go).
func (s *session) release(w *waiter) {
	switch err := s.record.Flush(w.gate); {
	case err == nil:
	case errors.Is(err, sessionstore.ErrUnavailable):
		w.answer = answer{x: w.x, kind: answerUnavailable}
	default:
		w.answer = answer{x: w.x, kind: answerNothing}
	}
}

// Stored implements replica.Holder.
func (s *session) Stored(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.eventLocked(func(now time.Time) effects { return s.m.saved(now, n, true) })
	if s.final != nil && n >= s.finalAt {
		s.endLocked(s.final.condition, s.final.reason)
	}
	s.delegateLocked()
}

// Lost implements replica.Holder: another replica has the session, or the store has lost it. Nobody must notice
// (failover-design 7.4). In the latter case nobody can go on with it, and whoever asks for it is told so.
func (s *session) Lost(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	s.final = nil
	s.gone = errors.Is(err, sessionstore.ErrNotFound)
	s.kept = !s.gone // whatever the machine had in mind
	s.h.failover.StoodDown()
	if s.m == nil {
		s.forgetLocked()
		return
	}
	s.noteLocked(slog.LevelInfo, "bosh session given up", err.Error())
	s.eventLocked(func(now time.Time) effects { return s.m.standDown(now) })
	s.delegateLocked()
}

// concludeLocked carries out the end of a session, or notes that its record is to be stored first.
func (s *session) concludeLocked(e *ending, gate uint64) {
	switch {
	case e.keep:
		s.kept = !s.gone
		s.endLocked("", e.reason)
	case gate != 0:
		end := *e
		s.final, s.finalAt = &end, gate
	default:
		s.endLocked(e.condition, e.reason)
	}
}

// giveAwayLocked hands the session to whichever replica gets its next request (failover-design 8, "draining"): what is stored
// comes first, then the stream is cut, then nobody owns the session, and only then the requests are answered.
func (s *session) giveAwayLocked(e *effects) {
	var told []*waiter
	for i := range e.answer {
		if w := s.takeLocked(e.answer[i].x); w != nil {
			w.answer = e.answer[i]
			told = append(told, w)
		}
	}
	n := s.issued
	var cut []*feed
	for _, f := range s.feeds {
		if !f.closed {
			f.closed = true
			if f.cancel != nil {
				f.cancel() // it is not resumed yet
			}
			cut = append(cut, f)
		}
	}
	s.released = true
	s.h.failover.GivenAway()
	s.goLocked(func() {
		err := s.record.Flush(n)
		for _, f := range cut {
			if f.stream != nil {
				_ = f.stream.Cut()
			}
		}
		if err == nil {
			// If that fails it is free when our lease is over.
			_ = s.record.Release(s.h.ctx)
		} else {
			s.record.Drop()
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, w := range told {
			switch {
			case err == nil:
			case errors.Is(err, sessionstore.ErrUnavailable):
				w.answer = answer{x: w.x, kind: answerUnavailable}
			default:
				w.answer = answer{x: w.x, kind: answerNothing}
			}
			s.wakeLocked(w)
		}
	})
}

// unrecordLocked is called when the session is forgotten.
func (s *session) unrecordLocked() {
	switch {
	case s.record == nil:
	case s.released: // that is done where it is given away
	case s.kept || s.gone:
		s.record.Drop()
	default:
		n, how := s.issued, closeClean
		s.goLocked(func() {
			err := s.record.Flush(n) // for the sake of answers that wait for it
			if s.record.End(s.h.ctx) != nil {
				how = closeCut // failover-design 6: it may be another replica's
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.closeAllLocked(how)
			s.delegateLocked()
			if err == nil {
				s.unsure = false
				s.retireLocked()
			}
		})
	}
}
