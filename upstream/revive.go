package upstream

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"time"
)

// Resuming in place: the connection has broken and the replica lives (failover design §6).

// revivable are the stream errors after which one resumption is tried, once the owner knows that it still is the owner
// (AMB-2, failover design §6): conflict may be the echo of a race that we won.
var revivable = map[string]bool{"conflict": true, "connection-timeout": true, "reset": true, "system-shutdown": true}

// revive resumes the session of a stream whose connection has ended for cause. ok is false if that is not to be tried, or
// has failed: the stream then ends with the error returned.
func (s *Stream) revive(cause error) (ev Event, err error, ok bool) {
	var se *StreamError
	var high *tooHigh
	once := errors.As(cause, &se)
	switch {
	case s.m == nil, once && !revivable[se.Condition], errors.Is(cause, io.EOF), errors.As(cause, &high):
		return Event{}, cause, false
	case conditionOf(cause) != "" && !errors.Is(cause, errExpired) && !errors.Is(cause, errNoAnswer):
		return Event{}, cause, false // a fault in what the server sent
	}
	r, past, probe, alive := s.interrupt()
	if !alive {
		return Event{}, cause, false
	}
	if probe && errors.Is(cause, errNoAnswer) {
		return Event{}, &Error{Op: OpRead, Addr: r.o.Domain, Err: &LostError{Stage: "probe", Condition: errNoAnswer.Error()}}, false
	}
	l, live, err := s.reviveWithin(r, once)
	if err != nil {
		if once {
			err = cause
		}
		return Event{}, err, false
	}
	if !live {
		s.part(l)
		return Event{}, cause, false
	}
	s.probed(l.took)
	return Event{Kind: KindResumed, H: l.H, Told: l.Told, Break: past}, nil, true
}

// interrupt stops writing and gives up the broken connection. alive is false if the stream has been closed or is not
// resumable.
func (s *Stream) interrupt() (r *resumption, past uint32, probe, alive bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, cred, owner := s.stateLocked()
	if st == nil || s.closed {
		return nil, 0, false, false
	}
	s.m.gap, s.m.down = true, true
	s.m.breaks++
	past = s.m.breaks
	s.link.cut()
	o := s.client
	o.Owner, o.From, o.Lang = owner, s.m.bare, s.out.Lang
	id := identity{bare: s.m.bare, agent: s.m.agent.ID, cred: cred}
	return &resumption{dom: s.dom, st: st, o: o, id: id}, past, s.m.probe, true
}

const (
	defaultWindow = 300 * time.Second      // how long a server keeps a session if it does not say (UP-070)
	firstPause    = 100 * time.Millisecond // between attempts; doubled each time
	longestPause  = 10 * time.Second
)

// reviveWithin tries until the server must have given the session up. UP-008: at once, then at growing, random intervals. live
// is false if the stream has been closed meanwhile.
func (s *Stream) reviveWithin(r *resumption, once bool) (l *resumedLink, live bool, err error) {
	window := defaultWindow
	if r.st.Max > 0 {
		window = time.Duration(r.st.Max) * time.Second
	}
	ctx, cancel := context.WithTimeout(context.Background(), window)
	defer cancel()
	s.mu.Lock()
	if s.cancel = cancel; s.closed {
		cancel() // since interrupt: nobody else will
	}
	s.mu.Unlock()
	known := r.id.cred.token
	for wait := firstPause; ; wait = min(2*wait, longestPause) {
		l, live, err = s.reviveOnce(ctx, r, &known)
		if err == nil || once || !errors.Is(err, ErrUnreachable) || ctx.Err() != nil {
			return l, live, err
		}
		if e := pause(ctx, wait/2+rand.N(wait)); e != nil {
			return nil, false, err
		}
	}
}

// reviveOnce makes one attempt, by the token that is the newest then: of the attempt before, or, if the stream's is not the
// known one any more, of RenewToken.
func (s *Stream) reviveOnce(ctx context.Context, r *resumption, known **token) (l *resumedLink, live bool, err error) {
	done, err := s.change(ctx)
	if err != nil {
		return nil, false, err
	}
	defer done()
	s.mu.Lock()
	if s.m.cred.token != *known {
		*known, r.id.cred = s.m.cred.token, s.m.cred
	}
	s.mu.Unlock()
	if l, err = s.d.resume(ctx, r); err != nil {
		return nil, false, err
	}
	return l, s.continueOn(l, r.id.cred), nil
}

// continueOn makes a resumed connection the stream's, and what it signed in by, or was given for the next time. That may be of
// an attempt before.
func (s *Stream) continueOn(l *resumedLink, cred credential) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.m
	s.cancel = nil
	if s.closed || m.leaving {
		return false
	}
	m.cred = cred
	s.link, m.down = l.link, false
	s.p.learn(l.offered)
	l.arm()
	m.sm.acked = l.H
	if notAfter(m.sm.sent, l.H) {
		m.sm.sent = l.H
	}
	if notAfter(m.sm.told, l.Told) {
		m.sm.told = l.Told
	}
	return true
}

// part gives up a connection that came too late: with a last word if the stream was closed, without if it was cut.
func (s *Stream) part(l *resumedLink) {
	s.mu.Lock()
	leaving := s.m.leaving && !s.closed
	if notAfter(s.m.sm.told, l.Told) {
		s.m.sm.told = l.Told
	}
	s.mu.Unlock()
	if !leaving {
		l.cut()
		return
	}
	_ = l.write(s.lastWords(), byeTimeout)
	l.close()
}
