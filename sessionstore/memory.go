package sessionstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// MemoryConfig bounds a Memory.
type MemoryConfig struct {
	Sessions int // records; 0: as many as callers make
}

// Memory is the store of a gateway that runs alone, and what several replicas in one process share in tests. It lasts as
// long as the process. Safe for concurrent use.
type Memory struct {
	cfg MemoryConfig // immutable

	mu sync.Mutex
	// guarded by mu
	records map[Key]*memoryRecord
	leases  map[string]*MemoryReplica // by replica
	slots   map[Account]memorySlots
	epoch   Epoch // the newest that was given
}

// memoryRecord is guarded by Memory.mu.
type memoryRecord struct {
	schema   int
	epoch    Epoch
	owner    Replica // zero: none
	static   []byte  // never written to, only replaced
	counters string
	seq      uint64 // of counters, under this epoch
	expires  time.Time
}

// NewMemory makes an empty store.
func NewMemory(cfg MemoryConfig) *Memory {
	return &Memory{cfg: cfg, records: map[Key]*memoryRecord{}, leases: map[string]*MemoryReplica{}, slots: map[Account]memorySlots{}}
}

// MemoryReplica is one replica's view of a Memory.
type MemoryReplica struct {
	// immutable after Join
	m      *Memory
	self   Replica
	schema int

	notices  notices
	replaced atomic.Bool // another one has joined under the name
	gone     atomic.Bool // Close was called
}

var _ Store = (*MemoryReplica)(nil)

// Join makes the view of a replica; schema as in RedisConfig. It has its lease until Close, or until another replica joins
// under its name.
func (m *Memory) Join(self Replica, schema int) (*MemoryReplica, error) {
	if err := self.validate(); err != nil {
		return nil, err
	}
	r := &MemoryReplica{m: m, self: self, schema: max(schema, 1)}
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.leases[self.ID]; old != nil {
		old.replaced.Store(true)
	}
	m.leases[self.ID] = r
	return r, nil
}

// Self implements Store.
func (r *MemoryReplica) Self() Replica { return r.self }

// Fenced implements Store.
func (r *MemoryReplica) Fenced() bool { return r.replaced.Load() || r.gone.Load() }

// Status implements Store.
func (r *MemoryReplica) Status() Status {
	return Status{Fenced: r.Fenced(), Replaced: r.replaced.Load()}
}

// Watch implements Store.
func (r *MemoryReplica) Watch(f func(Key)) (stop func()) { return r.notices.watch(f) }

// Close implements Store.
func (r *MemoryReplica) Close(context.Context) error {
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	r.gone.Store(true)
	if r.m.leases[r.self.ID] == r {
		delete(r.m.leases, r.self.ID)
	}
	return nil
}

// enter begins an operation. The caller unlocks m.mu if there is no error.
func (r *MemoryReplica) enter(ctx context.Context, invalid ...error) error {
	if err := errors.Join(invalid...); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if r.gone.Load() {
		return fmt.Errorf("%w: %w", ErrUnavailable, errClosed)
	}
	r.m.mu.Lock()
	return nil
}

// mayOwn: who is fenced takes no session, as others would take it at once.
func (r *MemoryReplica) mayOwn() error {
	if r.Fenced() {
		return fmt.Errorf("%w: %w", ErrUnavailable, errFenced)
	}
	return nil
}

// recordLocked returns a record that has not expired, or nil.
func (m *Memory) recordLocked(key Key, now time.Time) *memoryRecord {
	rec := m.records[key]
	if rec == nil || now.Before(rec.expires) {
		return rec
	}
	delete(m.records, key)
	return nil
}

// sweepLocked drops expired records: a few on each call, beginning anywhere, so that their number stays small beside that
// of the others; all of them if the store is full.
func (m *Memory) sweepLocked(now time.Time) {
	few := 8
	if m.fullLocked() {
		few = len(m.records)
	}
	for key, rec := range m.records {
		if few--; few < 0 {
			return
		}
		if !now.Before(rec.expires) {
			delete(m.records, key)
		}
	}
}

func (m *Memory) fullLocked() bool { return m.cfg.Sessions > 0 && len(m.records) >= m.cfg.Sessions }

// nextEpochLocked is above all that were given, also after a restart of the process: it comes from the clock.
func (m *Memory) nextEpochLocked(now time.Time) Epoch {
	m.epoch = max(m.epoch+1, Epoch(now.UnixMicro()))
	return m.epoch
}

// Create implements Store.
func (r *MemoryReplica) Create(ctx context.Context, key Key, draft Draft) (Hold, error) {
	if err := r.enter(ctx, key.validate(), validTTL(draft.TTL), validStatic(draft.Static), r.mayOwn()); err != nil {
		return Hold{}, err
	}
	m, now := r.m, time.Now()
	defer m.mu.Unlock()
	if m.recordLocked(key, now) != nil {
		return Hold{}, ErrExists
	}
	m.sweepLocked(now)
	if m.fullLocked() {
		return Hold{}, ErrFull
	}
	rec := &memoryRecord{
		schema: r.schema, epoch: m.nextEpochLocked(now), owner: r.self, static: append([]byte(nil), draft.Static...), expires: now.Add(draft.TTL),
	}
	m.records[key] = rec
	return Hold{Key: key, Epoch: rec.epoch}, nil
}

// Claim implements Store.
func (r *MemoryReplica) Claim(ctx context.Context, key Key, claim Claim) (Claimed, error) {
	if err := r.enter(ctx, key.validate(), r.mayOwn()); err != nil {
		return Claimed{}, err
	}
	c, former, err := r.claimLocked(key, claim)
	r.m.mu.Unlock()
	if former != nil {
		former.notices.tell(key) // not under the lock: it calls back
	}
	return c, err
}

// claimLocked also returns whom to tell.
func (r *MemoryReplica) claimLocked(key Key, claim Claim) (Claimed, *MemoryReplica, error) {
	m, now := r.m, time.Now()
	rec := m.recordLocked(key, now)
	switch {
	case rec == nil:
		return Claimed{}, nil, ErrNotFound
	case rec.schema > r.schema:
		return Claimed{}, nil, ErrNewer
	}
	c := Claimed{Owner: rec.owner, Loss: r.lossLocked(rec.owner, claim)}
	if c.Loss == LossNone {
		return c, nil, nil
	}
	rec.schema, rec.epoch, rec.owner, rec.seq = r.schema, m.nextEpochLocked(now), r.self, 0
	if least := now.Add(leastTTL); rec.expires.Before(least) {
		rec.expires = least
	}
	c.Hold, c.Static, c.Counters = Hold{Key: key, Epoch: rec.epoch}, append([]byte(nil), rec.static...), rec.counters
	former := m.leases[c.Owner.ID]
	if c.Loss != LossForced || former == nil || former == r || former.self != c.Owner {
		former = nil
	}
	return c, former, nil
}

// lossLocked says how the owner has lost the session to the claimant, if it has.
func (r *MemoryReplica) lossLocked(owner Replica, claim Claim) Loss {
	lease := r.m.leases[owner.ID]
	switch {
	case owner == Replica{}:
		return LossReleased
	case claim.Force:
		return LossForced
	case owner.Incarnation == claim.Dead:
		return LossDead
	case lease == nil:
		return LossExpired
	case lease.self.Incarnation != owner.Incarnation:
		return LossDead
	}
	return LossNone
}

// hold enters and finds the record, if the epoch is the newest. The caller unlocks m.mu if there is no error.
func (r *MemoryReplica) hold(ctx context.Context, hold Hold, invalid ...error) (*memoryRecord, time.Time, error) {
	if err := r.enter(ctx, append(invalid, hold.Key.validate())...); err != nil {
		return nil, time.Time{}, err
	}
	now := time.Now()
	rec := r.m.recordLocked(hold.Key, now)
	var err error
	switch {
	case rec == nil:
		err = ErrNotFound
	case rec.epoch != hold.Epoch:
		err = ErrNotOwner
	}
	if err != nil {
		r.m.mu.Unlock()
	}
	return rec, now, err
}

// Persist implements Store.
func (r *MemoryReplica) Persist(ctx context.Context, hold Hold, c Counters) error {
	rec, now, err := r.hold(ctx, hold, c.validate())
	if err != nil {
		return err
	}
	defer r.m.mu.Unlock()
	if c.Seq > rec.seq {
		rec.seq, rec.counters = c.Seq, c.Data
	}
	rec.expires = now.Add(c.TTL)
	return nil
}

// Update implements Store.
func (r *MemoryReplica) Update(ctx context.Context, hold Hold, static []byte, ttl time.Duration) error {
	rec, now, err := r.hold(ctx, hold, validStatic(static), validTTL(ttl))
	if err != nil {
		return err
	}
	defer r.m.mu.Unlock()
	rec.static, rec.expires = append([]byte(nil), static...), now.Add(ttl)
	return nil
}

// Touch implements Store.
func (r *MemoryReplica) Touch(ctx context.Context, hold Hold, ttl time.Duration) error {
	rec, now, err := r.hold(ctx, hold, validTTL(ttl))
	if err != nil {
		return err
	}
	defer r.m.mu.Unlock()
	rec.expires = now.Add(ttl)
	return nil
}

// Check implements Store.
func (r *MemoryReplica) Check(ctx context.Context, hold Hold) error {
	_, _, err := r.hold(ctx, hold)
	if err == nil {
		r.m.mu.Unlock()
	}
	return err
}

// Release implements Store.
func (r *MemoryReplica) Release(ctx context.Context, hold Hold) error {
	rec, now, err := r.hold(ctx, hold)
	if err != nil {
		return err
	}
	defer r.m.mu.Unlock()
	rec.epoch, rec.owner = r.m.nextEpochLocked(now), Replica{}
	return nil
}

// Delete implements Store.
func (r *MemoryReplica) Delete(ctx context.Context, hold Hold) error {
	_, _, err := r.hold(ctx, hold)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer r.m.mu.Unlock()
	delete(r.m.records, hold.Key)
	return nil
}
