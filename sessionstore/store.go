package sessionstore

import (
	"context"
	"time"
)

// Store is what one replica sees of the shared store. Safe for concurrent use. Every method that takes a context returns
// within twice the time-out of the store, or when the context ends. Errors match ErrUnavailable unless their method says
// otherwise.
type Store interface {
	// Self is the replica whose view this is.
	Self() Replica

	// Create makes the record of a new session; this replica owns it. ErrExists if the key is in use, ErrFull if the
	// store takes no more.
	Create(ctx context.Context, key Key, draft Draft) (Hold, error)
	// Claim asks for a session that this replica does not serve, and takes it if nobody else may be serving it.
	// ErrNotFound, ErrNewer.
	Claim(ctx context.Context, key Key, claim Claim) (Claimed, error)

	// Persist stores counters. ErrNotOwner, ErrNotFound.
	Persist(ctx context.Context, hold Hold, counters Counters) error
	// Update stores another static part, and renews the expiry. Updates of one session must be made one after the other.
	// ErrNotOwner, ErrNotFound.
	Update(ctx context.Context, hold Hold, static []byte, ttl time.Duration) error
	// Touch renews the expiry. ErrNotOwner, ErrNotFound.
	Touch(ctx context.Context, hold Hold, ttl time.Duration) error
	// Check asks whether hold is still good. ErrNotOwner, ErrNotFound.
	Check(ctx context.Context, hold Hold) error

	// Release gives a session away: it has no owner until somebody claims it. Nothing can be written under hold any
	// more. ErrNotOwner, ErrNotFound.
	Release(ctx context.Context, hold Hold) error
	// Delete forgets a session. No error if there is none. ErrNotOwner.
	Delete(ctx context.Context, hold Hold) error

	// TakeSlot returns the lowest number that no other session of the account has, and keeps it for session: until
	// FreeSlot, or until session has no record any more (but not before SlotGrace has passed, as a session gets its
	// slot before its record). Called again for the same session it returns the same number, and renews it; a session
	// that lasts for weeks does that at least every SlotLife/2. ErrFull beyond MaxSlots.
	TakeSlot(ctx context.Context, account Account, session Key) (int, error)
	// FreeSlot gives a slot back. No error if session does not have it.
	FreeSlot(ctx context.Context, account Account, slot int, session Key) error

	// Watch has f called for every session of this replica that another one says to have taken, until stop is called.
	// It is a hint, which may be lost or wrong: who gets it calls Check. f must not block. stop waits for calls that
	// are under way.
	Watch(f func(Key)) (stop func())

	// Fenced reports whether this replica has to stop writing upstream and releasing responses, because others may think
	// that it is dead (failover-design 7.4). It costs next to nothing.
	Fenced() bool
	// Status is for readiness and metrics.
	Status() Status

	// Close gives the replica's lease up, so that others may claim its sessions at once, and ends the view.
	Close(ctx context.Context) error
}

// Key names the record of a session. It is derived from the sid and a key that the store does not have, so that who reads
// the store cannot speak for a session. 1 to 64 letters, digits, - and _.
type Key string

// Account names an account, likewise derived.
type Account string

// Replica is one process.
type Replica struct {
	ID          string // 1 to 64 letters, digits, ., - and _; the same after a restart, if it is configured
	Incarnation string // 1 to 64 letters, digits, - and _; of this process alone
	Address     string // host:port where other replicas reach it
}

// Epoch is a fencing number.
type Epoch uint64

// Hold is the right to write to a session's record for as long as its epoch is the newest.
type Hold struct {
	Key   Key
	Epoch Epoch
}

// Draft is the first content of a record.
type Draft struct {
	Static []byte        // may be empty
	TTL    time.Duration // the store may forget the session after so long without a write
}

// Counters is one version of a record's counters.
type Counters struct {
	Seq  uint64 // grows from write to write under one hold; at least 1
	Data string
	TTL  time.Duration // as in Draft
}

// Claim says what the claimant knows. The zero value knows nothing.
type Claim struct {
	Dead  string // an incarnation that surely is no more: its address refused a connection
	Force bool   // take it in any case: the owner lives and does not answer, or is this replica and has lost it
}

// Claimed is the answer to a claim. If Hold.Epoch is 0 the session was not taken: Owner has it, perhaps this very replica.
type Claimed struct {
	Hold     Hold
	Static   []byte
	Counters string // "" if none were stored
	Loss     Loss
	Owner    Replica // before the claim; zero if there was none
	Presumed bool    // not taken only because the store has just come back, and its leases mean nothing yet
}

// Loss says how the former owner lost a session. What the new one has to wait for before it goes on depends on it
// (failover-design 7.2).
type Loss uint8

const (
	LossNone     Loss = iota // the session was not taken
	LossReleased             // it gave the session away
	LossDead                 // the claimant knew it to be dead, or another process has taken its name
	LossExpired              // its lease ran out: dead, frozen, or away from the store and fenced
	LossForced               // it may live
)

// String is the loss as it is logged.
func (l Loss) String() string {
	return [...]string{"none", "released", "dead", "expired", "forced"}[l]
}

// Bounds of what is stored.
const (
	MaxStatic   = 64 * 1024
	MaxCounters = 64 * 1024
	MaxSlots    = 1024 // of one account

	SlotGrace = 2 * time.Minute
	SlotLife  = 30 * 24 * time.Hour
)
