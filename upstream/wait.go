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
	if s.m != nil || !l.rd.in.Parks() {
		_ = l.rd.fill() // the deadline for reading has other uses there, or there is no waiting without reading
		return true
	}
	now := time.Now()
	if left := l.quietBy.Sub(now); left < d || left > 2*d {
		l.quietBy = now.Add(2 * d) // setting it is expensive, so that is not done each time
		_ = l.conn.SetReadDeadline(l.quietBy)
	}
	if err := l.rd.in.Fill(); !errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	l.quietBy = time.Time{}
	_ = l.conn.SetReadDeadline(l.quietBy)
	return false
}

// Park is Wait without a limit, for a goroutine that does nothing else: an idle stream then needs no more than the smallest
// stack there is. It must follow a Wait that returned false.
func (s *Stream) Park() { _ = s.current().rd.in.Park() }
