package websocket

import (
	"time"

	ws "github.com/coder/websocket"
)

// pingGrid divides the ping interval: sessions are woken on its lines, many at a time.
const pingGrid = 16

// tick is what the session's timer calls, on a goroutine of its own. It does what is due and sets the timer again.
func (s *session) tick() {
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return
	}
	s.ticking.Add(1) // before stopped, so before takeDown waits
	defer s.ticking.Done()
	do := s.dueLocked(s.h.now())
	s.mu.Unlock()
	if do != nil {
		s.guard(do)
	}
	s.rearm()
}

// dueLocked returns what is to be done now, nil for nothing.
func (s *session) dueLocked(now time.Duration) func() {
	switch {
	case s.ordered:
		s.ordered = false
		return s.obey
	case s.ended:
		if now >= s.endedAt+closeTimeout {
			return func() { s.sock.wake(0) } // RFC 7395 §3.6: the browser had its time
		}
		return nil
	case !s.loggedInLocked() && now >= s.began+s.h.cfg.AuthTimeout:
		// WS-009: silent sockets, and those that do not log in.
		return s.expire
	case s.keepAliveLocked() <= now:
		return s.keepAlive
	}
	return s.pingLocked(now)
}

// nextTickLocked returns when there may be something to do.
func (s *session) nextTickLocked(now time.Duration) time.Duration {
	if s.ordered {
		return now
	}
	if s.ended {
		if now < s.endedAt+closeTimeout {
			return s.endedAt + closeTimeout
		}
		return now + stallTimeout // wake has been called
	}
	next := s.keepAliveLocked()
	if !s.loggedInLocked() {
		next = min(next, s.began+s.h.cfg.AuthTimeout)
	}
	if every := s.h.cfg.Ping; every > 0 {
		due := s.pinged
		if due == 0 {
			due = s.sock.quietSince()
		}
		grid := max(every/pingGrid, 1)
		next = min(next, (due+every+grid-1)/grid*grid)
	}
	return max(next, now+time.Millisecond)
}

func (s *session) loggedInLocked() bool {
	return s.stream != nil && s.stream.Authenticated() && !s.stream.Restartable()
}

// never is later than everything.
const never = time.Duration(1<<63 - 1)

// keepAliveLocked returns when the server wants to hear from us (XEP-0478 §4: idle-seconds).
func (s *session) keepAliveLocked() time.Duration {
	if s.stream == nil {
		return never
	}
	idle := s.stream.Idle()
	if idle <= 0 {
		return never
	}
	return time.Duration(s.lastSent.Load()) + idle/2
}

func (s *session) keepAlive() {
	s.lastSent.Store(int64(s.h.now()))
	s.mu.Lock()
	stream := s.stream
	s.mu.Unlock()
	_ = stream.KeepAlive() // a dead server is down's business
}

// pingLocked looks after the browser: RFC 7395 §3.8, RFC 6455 §5.5.2. A ping leaves when either direction has been quiet
// for the interval (proxies watch both); one that gets no answer in the same time again means that the browser is gone.
func (s *session) pingLocked(now time.Duration) func() {
	every := s.h.cfg.Ping
	if every <= 0 {
		return nil
	}
	if s.pinged > 0 {
		switch {
		case time.Duration(s.sock.lastRead.Load()) >= s.pinged:
			s.pinged = 0
		case s.sending.Load():
			s.pinged = now // the answer may lie behind what the server does not take
			return nil
		case now >= s.pinged+every:
			s.loss = "connection-timeout"
			return s.sock.cut
		}
	}
	if s.pinged == 0 && now >= s.sock.quietSince()+every {
		s.pinged = now
		return s.ping
	}
	return nil
}

func (s *session) ping() {
	s.sock.out.control(framePing, nil)
	_ = s.sock.flush()
}

// quietSince returns since when one of the directions has been silent.
func (k *socket) quietSince() time.Duration {
	return time.Duration(min(k.lastRead.Load(), k.lastWrite.Load()))
}

// expire ends a session that is not logged in in time.
func (s *session) expire() {
	s.mu.Lock()
	spoken := s.phase != silent
	s.mu.Unlock()
	if spoken {
		s.finish(faultEnding("connection-timeout"))
		return
	}
	s.finish(ending{condition: "connection-timeout", code: ws.StatusPolicyViolation, quiet: true})
	s.sock.wake(0)
}

// rearm sets the timer after something changed what it waits for.
func (s *session) rearm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rearmLocked()
}

func (s *session) rearmLocked() {
	if s.stopped || s.timer == nil {
		return
	}
	now := s.h.now()
	s.timer.Reset(s.nextTickLocked(now) - now)
}

// stop ends the timer's work. A tick that is under way is waited for later.
func (s *session) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	s.timer.Stop()
}
