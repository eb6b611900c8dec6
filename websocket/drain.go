package websocket

import (
	"context"

	ws "github.com/coder/websocket"
)

// stage is how far the Handler is on its way to an end.
type stage uint8

const (
	serving stage = iota
	draining
	stopping
)

func (h *Handler) stageNow() stage {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stage
}

// Drain refuses new sockets from now on (503) and moves those away whose client can resume elsewhere. It returns when the
// others have ended or ctx has.
func (h *Handler) Drain(ctx context.Context) error {
	h.advance(draining)
	select {
	case <-h.empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Shutdown ends what is left with system-shutdown and waits for every goroutine of the Handler, or until ctx ends.
func (h *Handler) Shutdown(ctx context.Context) error {
	h.advance(stopping)
	h.hangUp()
	select {
	case <-h.empty:
		h.wg.Wait() // the last goroutine is about to return
		h.cancel()
		return nil
	case <-ctx.Done():
	}
	h.cancel()
	for _, s := range h.all() {
		s.kill()
	}
	return ctx.Err()
}

// advance reaches a stage and makes every session look at it.
func (h *Handler) advance(to stage) {
	h.mu.Lock()
	h.stage = max(h.stage, to)
	h.notifyLocked()
	h.mu.Unlock()
	for _, s := range h.all() {
		s.order()
	}
}

func (h *Handler) all() []*session {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]*session, 0, len(h.sessions))
	for s := range h.sessions {
		all = append(all, s)
	}
	return all
}

// order makes the timer look at the Handler's stage at once.
func (s *session) order() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ordered = true
	s.rearmLocked()
}

// obey does what the Handler's stage demands of the session.
func (s *session) obey() {
	s.mu.Lock()
	stream := s.stream
	s.mu.Unlock()
	switch stage := s.h.stageNow(); {
	case stream != nil && stream.Resumable():
		s.move()
	case stage == stopping:
		s.finish(faultEnding(systemShutdown))
	}
}

// move sends a browser away whose session the server keeps (WS-043, WS-045). Without a place to name there is no <close/>
// either, since that would end what is to be resumed (RFC 7395 §3.6).
func (s *session) move() {
	other := s.h.cfg.SeeOther != ""
	s.finish(ending{condition: systemShutdown, code: ws.StatusGoingAway, quiet: !other, seeOther: other, cut: true})
	s.sock.wake(0)
}

// kill ends a session without any grace.
func (s *session) kill() {
	s.mu.Lock()
	stream := s.stream
	s.mu.Unlock()
	s.sock.cut()
	if stream != nil {
		_ = stream.Cut()
	}
}
