package bosh

import (
	"net/http"
	"slices"
	"time"
)

// A request that is held for longer than restAfter leaves net/http and its goroutine: see package parked. A session's
// conversation is not slowed down by that, and most sessions have none going on.

func (h *Handler) newVisit() *visit {
	v := &visit{waiter: waiter{done: make(chan struct{}, 1)}}
	if h.cfg.Lot != nil {
		v.timer = time.NewTimer(h.long)
	}
	return v
}

// long returns what comes when the request should be parked; nil for never.
func (v *visit) long() <-chan time.Time {
	if v.timer == nil || v.unread || v.handed {
		return nil
	}
	v.timer.Reset(v.h.long)
	return v.timer.C
}

// park has the visit go on without this goroutine, which must return then. It reports false if that cannot be.
func (v *visit) park() bool {
	p := v.h.cfg.Lot.Take(v.w, v.r)
	if p == nil {
		return false
	}
	v.coding = responseCoding(v.r.Header["Accept-Encoding"])
	v.r = nil // it keeps net/http's buffers alive
	v.w, v.control, v.late, v.timer = p, *http.NewResponseController(p), p, nil
	s := v.session
	if !s.goesOn(v) {
		p.Watch(func() {})
		v.conclude() // the answer was quicker
	}
	return true
}

// goesOn notes that nobody waits for the visit's answer any more: conclude is called with it. It reports false if the answer
// is there already.
func (s *session) goesOn(v *visit) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.waiting, &v.waiter) {
		return false
	}
	v.parked = v
	v.late.Watch(v.lost)
	return true
}

// lost is called when the browser of a parked request goes away (BOSH-018).
func (v *visit) lost() { v.session.leave(&v.waiter) }

// conclude answers a parked request. The visit is not used again: lost may be under way.
func (v *visit) conclude() {
	defer v.late.End()
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler { // that one closes the connection
			panic(p)
		}
	}()
	defer v.contain()
	<-v.done // at once
	v.finish(true)
}
