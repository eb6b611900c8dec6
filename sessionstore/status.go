package sessionstore

import "time"

// Status is the state of a replica's view of the store.
type Status struct {
	Away     time.Duration // how long the store has not answered this replica; 0: it does
	Err      error         // why, while it does not
	Fenced   bool          // as Store.Fenced
	Replaced bool          // another process goes by this replica's name; this one is fenced for good
	Settling time.Duration // the store has just come back: no session is taken from a silent owner for so long
}

// NotReady says why no session should be accepted, "" if there is no reason.
func (s Status) NotReady() string {
	switch {
	case s.Replaced:
		return "another process uses the name of this replica"
	case s.Away > 0:
		return "session store is not available"
	case s.Fenced:
		return "this replica has no lease in the session store"
	}
	return ""
}

// Metrics receives what operators count. Its methods must not block and must be safe for concurrent use.
type Metrics interface {
	// StoreCall: one operation took so long. outcome is "ok", "refused" (not the owner, no record) or "failed".
	StoreCall(op string, took time.Duration, outcome string)
	// StoreBatch: so many writes shared one round trip.
	StoreBatch(n int)
}

// Operations as Metrics names them.
const (
	opCreate  = "create"
	opClaim   = "claim"
	opPersist = "persist"
	opUpdate  = "update"
	opCheck   = "check"
	opRelease = "release"
	opDelete  = "delete"
	opSlot    = "slot"
	opLease   = "lease"
	opHolder  = "holder"
)

// Operations lists the names that Metrics gets, so that series can be made beforehand.
func Operations() []string {
	return []string{opCreate, opClaim, opPersist, opUpdate, opCheck, opRelease, opDelete, opSlot, opLease, opHolder}
}

// Outcomes as Metrics names them.
const (
	outcomeOK      = "ok"
	outcomeRefused = "refused"
	outcomeFailed  = "failed"
)

// Outcomes lists them, for the same purpose.
func Outcomes() []string { return []string{outcomeOK, outcomeRefused, outcomeFailed} }

type noMetrics struct{}

func (noMetrics) StoreCall(string, time.Duration, string) {}
func (noMetrics) StoreBatch(int)                          {}
