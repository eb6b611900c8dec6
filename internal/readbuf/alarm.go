package readbuf

import (
	"sync/atomic"
	"syscall"
	"time"
)

// Alarm waits for a connection without a goroutine, which would keep 2.5 KiB for it. It is set by who reads, while nobody
// does; anybody may ring it. The zero value is ready.
//
// What ends a read that waits does not end an Alarm: who closes the connection, or sets a deadline for reading, has to Ring
// it. And what happened before it was set does not ring it: who sets it looks again at what might have.
type Alarm struct {
	id    atomic.Uint64 // in the poller; 0: not set
	timer *time.Timer   // of RingIn; guarded by the poller
}

// set has ring called, once, on a goroutine of its own: when there is something to read, or the connection ends, or Ring is
// called. It reports false, and does nothing, where that cannot be.
func (a *Alarm) set(raw syscall.RawConn, ring func()) bool {
	return raw != nil && alarms.add(a, raw, ring)
}

// Ring rings the alarm if it is set.
func (a *Alarm) Ring() {
	if id := a.id.Load(); id != 0 {
		alarms.ring(id)
	}
}

// RingIn rings the alarm after d, if it is still set for the same wait then.
func (a *Alarm) RingIn(d time.Duration) { alarms.ringIn(a, d) }
