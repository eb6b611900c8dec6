package replica

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"stanzagate/internal/seal"
	"stanzagate/sessionstore"
)

// Holder is a session, as its Record sees it. The methods are called without any lock of this package, by whichever
// goroutine found out; they must not block.
type Holder interface {
	// Stored: counters n are in the store, or the store has been away for so long that sessions go on without it. n grows
	// from call to call, but for calls at the same time.
	Stored(n uint64)
	// Lost: this replica does not have the session any more, or the store has lost it. Called once at most. err matches
	// sessionstore.ErrNotOwner or sessionstore.ErrNotFound.
	Lost(err error)
}

// Record is what the store has of one session, in the hands of the replica that has the session: its name, the right to
// write it, and what is to be written. It knows nothing of what the counters mean. Safe for concurrent use.
type Record struct {
	// immutable
	m      *Member
	sid    string
	key    sessionstore.Key
	holder Holder
	since  time.Time         // of the claim
	loss   sessionstore.Loss // LossNone: made here

	doubts atomic.Uint64 // Member.doubts when the store last said that the session is ours

	mu sync.Mutex
	// guarded by mu
	hold    sessionstore.Hold // Epoch 0: not made yet
	static  Static
	ttl     time.Duration // as written last
	written time.Time     // when
	final   error         // as told by Holder.Lost, or because it has been given away
	quiet   bool          // Holder has been told, or need not be
	saves
}

// Static is the part of a record that changes with the credential only.
type Static struct {
	Transport string `json:"t"` // whose session it is
	Account   string `json:"a,omitempty"`
	Slot      int    `json:"n,omitempty"` // of Account: the number of its user agent
	Upstream  []byte `json:"u,omitempty"` // what upstream needs; nil: nobody can go on with the session
	Own       []byte `json:"o,omitempty"` // what the transport needs
}

// NewRecord returns the record of a session that is about to begin. Nothing is stored yet.
func (m *Member) NewRecord(sid string, h Holder) *Record {
	return &Record{m: m, sid: sid, key: sessionstore.Key(m.keys.Load().RecordKey(sid)), holder: h}
}

// Adopted returns the record of a session that this replica has claimed. The store is to keep it for ttl, until the first
// Put. An error means that nobody can go on with the session; the Record is good for End then.
func (m *Member) Adopted(sid string, claimed sessionstore.Claimed, ttl time.Duration, h Holder) (*Record, Static, error) {
	now := time.Now()
	r := &Record{
		m: m, sid: sid, key: claimed.Hold.Key, holder: h, since: now, loss: claimed.Loss, hold: claimed.Hold,
		ttl: ttl, written: now.Add(min(0, claimedLife/2-ttl/2)),
	}
	r.doubts.Store(m.doubts.Load())
	m.enter(r)
	if err := json.Unmarshal(claimed.Static, &r.static); err != nil {
		return r, Static{}, fmt.Errorf("record: %w", err)
	}
	if len(r.static.Upstream) == 0 || claimed.Counters == "" {
		return r, r.static, errNotResumable
	}
	return r, r.static, nil
}

// claimedLife is how long a claimed record lasts at least if nothing is written.
const claimedLife = time.Minute

var errNotResumable = errors.New("its replica died before it could be taken over")

// Survives reports whether the session can be one that other replicas take over.
func (r *Record) Survives() bool { return !r.m.cfg.Alone && !r.m.cfg.Unsealed }

// Create makes the record, so that requests that reach other replicas find the session. For who is alone it lasts as long
// as user agents do.
func (r *Record) Create(ctx context.Context, transport string, ttl time.Duration) error {
	if r.m.cfg.Alone {
		ttl = sessionstore.SlotLife
	}
	static := Static{Transport: transport}
	b, err := json.Marshal(static)
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	doubts, begun := r.m.doubts.Load(), time.Now()
	hold, err := r.m.cfg.Store.Create(ctx, r.key, sessionstore.Draft{Static: b, TTL: ttl})
	if err != nil {
		return err
	}
	r.doubts.Store(doubts)
	r.mu.Lock()
	r.hold, r.static, r.ttl, r.written = hold, static, ttl, begun
	r.mu.Unlock()
	r.m.enter(r)
	return nil
}

// Publish stores what another replica needs to go on with the session. Not two at a time: upstream.Stream sees to that.
func (r *Record) Publish(ctx context.Context, upstream, own []byte) error {
	r.mu.Lock()
	if own != nil {
		r.static.Own = own
	}
	r.static.Upstream = upstream
	static, hold, ttl := r.static, r.hold, r.ttl
	r.mu.Unlock()
	b, err := json.Marshal(static)
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	begun := time.Now()
	return r.renewed(begun, r.m.cfg.Store.Update(ctx, hold, b, ttl))
}

// Sealer seals and opens what belongs to this session; nil if that is not to be stored.
func (r *Record) Sealer() *seal.Session {
	if !r.Survives() {
		return nil
	}
	return r.m.keys.Load().Session(r.sid, string(r.key))
}

// IsOutdated reports whether the keys have changed since the session began, so that its secret should be sealed again.
func (r *Record) IsOutdated() bool { return r.m.keys.Load().RecordKey(r.sid) != string(r.key) }

// Agent takes a user-agent id of an account (failover-design 9.2), "" for an account that is not known yet.
func (r *Record) Agent(ctx context.Context, bareJID string) (id string, slot int, err error) {
	keys := r.m.keys.Load()
	if bareJID == "" {
		return keys.UserAgent(string(r.key), 0), 0, nil // of nobody else, ever
	}
	account := keys.Account(bareJID)
	r.mu.Lock()
	former, formerSlot := r.static.Account, r.static.Slot
	r.mu.Unlock()
	slot, err = r.m.cfg.Store.TakeSlot(ctx, sessionstore.Account(account), r.key)
	if err != nil {
		return "", 0, fmt.Errorf("user agent: %w", err)
	}
	if former != "" && former != account { // the login before was as somebody else
		_ = r.m.cfg.Store.FreeSlot(ctx, sessionstore.Account(former), formerSlot, r.key) // else it is free after a while
	}
	r.mu.Lock()
	r.static.Account, r.static.Slot = account, slot
	r.mu.Unlock()
	return keys.UserAgent(bareJID, slot), slot, nil
}

// KeepAgent renews the user-agent id of a session that lasts for long.
func (r *Record) KeepAgent(ctx context.Context) error {
	r.mu.Lock()
	account := r.static.Account
	r.mu.Unlock()
	if account == "" {
		return nil
	}
	_, err := r.m.cfg.Store.TakeSlot(ctx, sessionstore.Account(account), r.key)
	return err
}

// FreeAgent gives the user-agent id back. It is called when nothing signs in by it any more.
func (r *Record) FreeAgent(ctx context.Context) error {
	r.mu.Lock()
	account, slot := r.static.Account, r.static.Slot
	r.static.Account, r.static.Slot = "", 0
	r.mu.Unlock()
	if account == "" {
		return nil
	}
	return r.m.cfg.Store.FreeSlot(ctx, sessionstore.Account(account), slot, r.key)
}

// Since returns when this replica claimed the session; zero if it was made here.
func (r *Record) Since() time.Time { return r.since }

// Loss says how its former owner lost it.
func (r *Record) Loss() sessionstore.Loss { return r.loss }

// Release gives the session away: whoever gets its next request takes it. Nothing is told to the Holder.
func (r *Record) Release(ctx context.Context) error {
	r.mu.Lock()
	r.quiet = true
	hold := r.hold
	r.mu.Unlock()
	defer r.Drop()
	return r.m.cfg.Store.Release(ctx, hold)
}

// End forgets the session, unless it is another replica's by now.
func (r *Record) End(ctx context.Context) error {
	r.mu.Lock()
	r.quiet = true
	hold := r.hold
	r.mu.Unlock()
	defer r.Drop()
	if hold.Epoch == 0 {
		return nil
	}
	return r.m.cfg.Store.Delete(ctx, hold)
}

// Drop is called when the session is not here any more. What the store has stays.
func (r *Record) Drop() {
	r.mu.Lock()
	r.quiet = true
	if r.final == nil {
		r.final = errDropped
	}
	r.wakeLocked()
	r.mu.Unlock()
	r.m.leave(r)
}

var errDropped = fmt.Errorf("%w: it has been given up", sessionstore.ErrNotOwner)

// renewed notes what the store has said to a write that began then and renews the record's expiry.
func (r *Record) renewed(begun time.Time, err error) error {
	if err == nil {
		r.mu.Lock()
		r.renewedLocked(begun)
		r.mu.Unlock()
	}
	return r.found(err)
}

func (r *Record) renewedLocked(begun time.Time) {
	if begun.After(r.written) {
		r.written = begun
	}
}

// found notes what the store has said about our hold, and tells the Holder if that is lost.
func (r *Record) found(err error) error {
	if !errors.Is(err, sessionstore.ErrNotOwner) && !errors.Is(err, sessionstore.ErrNotFound) {
		return err
	}
	r.mu.Lock()
	tell := !r.quiet
	r.quiet = true
	if r.final == nil {
		r.final = err
	}
	r.wakeLocked()
	r.mu.Unlock()
	if tell {
		r.holder.Lost(err)
	}
	return err
}
