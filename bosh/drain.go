package bosh

import (
	"context"
	"time"
)

// enter takes a new session in, unless there are to be none.
func (h *Handler) enter(s *session) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.draining {
		return false
	}
	h.wg.Add(1)
	h.live.Add(1)
	h.registry.add(s)
	return true
}

// leave lets a session go that is forgotten.
func (h *Handler) leave(s *session) {
	h.registry.remove(s)
	h.wg.Done()
}

// sessionEnded counts an end.
func (h *Handler) sessionEnded(condition string) {
	defer h.cfg.Metrics.SessionEnded(condition)
	if h.live.Add(-1) > 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.settled != nil {
		close(h.settled)
		h.settled = nil
	}
}

func (h *Handler) refusesSessions() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.draining
}

func (h *Handler) isStopped() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stopped
}

// Drain refuses new sessions from now on (503) and gives away those that another replica can take. It returns when the
// others have ended or ctx has. Some can be given away a little later: who is just logging in, or whose browser is behind.
func (h *Handler) Drain(ctx context.Context) error {
	if h.cfg.Replica != nil {
		h.cfg.Replica.Drain()
	}
	settled := h.stopAccepting()
	again := time.NewTicker(drainAgain)
	defer again.Stop()
	for {
		h.giveAway()
		select {
		case <-settled:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-again.C:
		}
	}
}

// drainAgain is how often Drain looks for sessions that can be given away by then.
const drainAgain = 250 * time.Millisecond

// giveAway gives away what can be. While the store does not answer nothing can.
func (h *Handler) giveAway() {
	for _, s := range h.registry.all() {
		if h.cfg.Replica == nil || h.cfg.Replica.Away() {
			return
		}
		s.drain()
	}
}

func (s *session) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil || s.ended {
		return
	}
	s.eventLocked(func(now time.Time) effects { return s.m.drain(now) })
	s.delegateLocked()
}

// stopAccepting returns what is closed when no session is live any more. New ones cannot come, so that stays true.
func (h *Handler) stopAccepting() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.draining = true
	settled := make(chan struct{})
	switch {
	case h.live.Load() == 0:
		close(settled)
	case h.settled != nil:
		settled = h.settled // somebody else waits too
	default:
		h.settled = settled
	}
	return settled
}

// Shutdown gives away what others can take, ends what is left with system-shutdown and waits for every goroutine of the Handler, or until ctx ends.
func (h *Handler) Shutdown(ctx context.Context) error {
	h.mu.Lock()
	h.draining, h.stopped = true, true
	h.mu.Unlock()
	for _, s := range h.registry.all() {
		s.shutdown()
	}
	defer h.cancel()
	gone := make(chan struct{})
	go func() {
		h.wg.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		// Whatever still waits for a server is cut off now, and ends.
		h.cancel()
		return ctx.Err()
	}
}

// shutdown ends the session and forgets it: there will be nobody to repeat its last answer. What another replica can take
// lives on (BOSH-128), also if the store could not be asked for all of the time that the drain had.
func (s *session) shutdown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m != nil { // else it is just being created
		if !s.ended {
			s.eventLocked(func(now time.Time) effects { return s.m.drain(now) })
		}
		s.eventLocked(func(now time.Time) effects { return s.m.shutdown(now) })
	}
	s.forgetLocked()
}
