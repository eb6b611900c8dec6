package bosh

import (
	"time"

	"stanzagate/upstream"
)

// keepAlive is after how much silence of ours the server gets a sign of life, unless it announced that it wants one earlier
// (UP-112, XEP-0478 §4). RFC 6120 §4.6.4: not more often than needed.
const keepAlive = 5 * time.Minute

// armLocked sets the session's one timer to whatever comes first. A timer that is due earlier is left alone: it costs less
// to find out then that there is nothing to do.
func (s *session) armLocked() {
	due := earliest(earliest(earliest(s.next, s.authBy), s.keepBy), earliest(s.acks.by, s.upkeepBy))
	if due.IsZero() || !s.armed.IsZero() && !due.Before(s.armed) {
		return
	}
	s.armed = due
	wait := time.Until(due)
	if s.timer == nil {
		s.timer = time.AfterFunc(wait, s.tick)
		return
	}
	s.timer.Reset(wait)
}

// earliest returns the earlier of two times; the zero time is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// tick is what the timer calls, on a goroutine of its own.
func (s *session) tick() {
	streams, upkeep, tracked := s.due()
	if !tracked {
		return
	}
	defer s.h.wg.Done()
	defer s.contain()
	for _, st := range streams {
		// A dead server is the reader's business.
		_ = st.KeepAlive()
	}
	if upkeep {
		next := s.upkeep()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.upkeepBy = next; !s.over {
			s.armLocked()
		}
	}
}

// due does what has to be done under mu, and returns the streams that need a sign of life, and whether upkeep is to be
// called. The caller ends what it tracked.
func (s *session) due() (streams []*upstream.Stream, upkeep, tracked bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed = time.Time{}
	if s.over {
		return nil, false, false
	}
	s.h.wg.Add(1) // the session itself still counts, so nobody has stopped waiting
	now := time.Now()
	if !s.authBy.IsZero() && !now.Before(s.authBy) {
		s.authBy = time.Time{}
		if !s.authenticatedLocked() {
			s.refuseLocked(0, "connection-timeout")
		}
	}
	if !s.keepBy.IsZero() && !now.Before(s.keepBy) {
		streams = s.silentLocked(now)
	}
	if !s.upkeepBy.IsZero() && !now.Before(s.upkeepBy) {
		upkeep, s.upkeepBy = true, time.Time{}
	}
	if !s.acks.by.IsZero() && !now.Before(s.acks.by) {
		s.acks.by = time.Time{}
		s.up = append(s.up, upItem{kind: upAck})
	}
	s.eventLocked(func(now time.Time) effects { return s.m.tick(now) })
	s.delegateLocked()
	return streams, upkeep, true
}

func (s *session) authenticatedLocked() bool {
	for _, f := range s.feeds {
		if f.stream != nil && f.stream.Authenticated() {
			return true
		}
	}
	return false
}

// silentLocked returns the streams to which nothing was written for long enough, and sets keepBy to when the next is due.
func (s *session) silentLocked(now time.Time) (silent []*upstream.Stream) {
	s.keepBy = now.Add(keepAlive)
	for _, f := range s.feeds {
		if f.stream == nil || f.closed {
			continue
		}
		due := f.wrote.Add(f.patience())
		if !now.Before(due) {
			silent = append(silent, f.stream)
			f.wrote = now
			due = now.Add(f.patience())
		}
		s.keepBy = earliest(s.keepBy, due)
	}
	return silent
}
