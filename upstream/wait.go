package upstream

import (
	"errors"
	"os"
	"time"
)

// Wait waits until the server says something, unless the next Recv need not. It belongs to the goroutine that calls Recv.
// Recv waits as well, but deeper in the stack: twice as much of it stays with every idle stream. What goes wrong shows in
// Recv. Wait returns false when the server has been silent for d, or up to twice that; the owner may call Park then.
func (s *Stream) Wait(d time.Duration) bool {
	if s.awaiting || s.holding || s.Buffered() {
		return true
	}
	l := s.current()
	for {
		quiet := l.rd.in.Parks() && s.quieten(l, d)
		if err := l.rd.fill(); !errors.Is(err, os.ErrDeadlineExceeded) || !s.undisturbed(l) {
			return true
		}
		if quiet {
			return false
		}
	}
}

// quieten has the next read end with the silence of a server. It reports false while there is a deadline of another kind to
// come soon: an answer to <r/>, or the end of the certificate.
func (s *Stream) quieten(l *link, d time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if !l.readBy.IsZero() && l.readBy.Sub(now) < 2*d || s.m != nil && !s.m.asked.IsZero() {
		return false
	}
	if left := l.quietBy.Sub(now); left < d || left > 2*d {
		l.quietBy = now.Add(2 * d) // setting it is expensive, so that is not done each time
		_ = l.conn.SetReadDeadline(l.quietBy)
	}
	return true
}

// undisturbed sets the deadline that is left when one has passed. It reports false if that one means something to Recv.
func (s *Stream) undisturbed(l *link) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.quietBy = time.Time{}
	ends := l.certificateEnds()
	if s.m != nil && !s.m.asked.IsZero() || !ends.IsZero() && !time.Now().Before(ends) {
		_ = l.conn.SetReadDeadline(l.readBy)
		return false
	}
	l.readBy = ends
	_ = l.conn.SetReadDeadline(ends)
	return true
}

// Await is Park without a goroutine: it has ring called, once, on a goroutine of its own, when Park would return, or earlier.
// It reports false where it cannot wait; then the stream is the caller's still.
func (s *Stream) Await(ring func()) bool {
	l := s.current()
	since := l.rd.since
	l.rd.since = time.Time{} // nobody reads from now on, and who is woken by an <r/> may wait for the browser first (see overdue)
	if !l.rd.in.Await(ring) {
		l.rd.since = since
		return false
	}
	// What has happened since Wait did not ring.
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.m != nil && !s.m.asked.IsZero(), s.link != l, s.closed:
		l.rd.in.Ring()
	case !l.readBy.IsZero():
		l.rd.in.RingIn(time.Until(l.readBy))
	}
	return true
}

// limit sets the deadline for reading, whoever reads or waits to.
func (l *link) limit(t time.Time) {
	_ = l.conn.SetReadDeadline(t)
	l.ring()
}

// ring ends Await.
func (l *link) ring() {
	if l.rd != nil {
		l.rd.in.Ring()
	}
}

// Park is Wait without a limit, for a goroutine that does nothing else: an idle stream then needs no more than the smallest
// stack there is. It must follow a Wait that returned false. What Recv watches for ends it as well.
func (s *Stream) Park() { _ = s.current().rd.in.Park() }
