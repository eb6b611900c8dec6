package bosh

import "time"

// record is what the store keeps of a session: counters, never a payload.
type record struct {
	n        uint64        // counts the records of a session on this replica
	counters string        // encoded; the store knows nothing of it. "": nobody can take the session over now
	expires  time.Duration // the store may forget the session after so long without another record
}
