// Package quota limits what one client address, and all of them together, may take: sessions, session creations, failed
// logins. IPv6 counts per /64, because that is what one customer gets.
//
// Memory is bounded: an address is remembered while it has sessions, and beyond that at most about 100,000 addresses are.
// A flood of addresses makes the Quota forget the least suspicious ones first. That gives nothing away: who can use so many
// addresses has as many fresh limits anyway.
package quota

import (
	"errors"
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Config has the settings limit.sessions, limit.sessions-per-address, limit.creations-per-address and
// limit.auth-failures-per-address. Zero fields mean no limit.
type Config struct {
	Sessions, SessionsPerAddress int
	Creations, AuthFailures      Rate
}

// Reasons why Admit refuses, for errors.Is.
var (
	ErrSessions     = errors.New("too many sessions")
	ErrAddress      = errors.New("too many sessions from this address")
	ErrCreations    = errors.New("sessions created too fast from this address")
	ErrAuthFailures = errors.New("too many failed logins from this address")
)

const (
	shardCount   = 32
	shardEntries = 4096 // remembered per shard besides those with sessions
	sampleSize   = 8    // entries looked at to find one to forget
)

// Quota counts. Safe for concurrent use; its memory is bounded. The nil Quota admits everything.
type Quota struct {
	// immutable after New
	cfg  Config
	seed maphash.Seed

	sessions atomic.Int64
	shards   [shardCount]shard
}

// shard has a part of the addresses. No lock is held while another one is taken.
type shard struct {
	mu      sync.Mutex
	entries map[netip.Addr]*entry // guarded by mu
	idle    int                   // guarded by mu: entries without sessions
}

// entry is one address; guarded by its shard's mu.
type entry struct {
	sessions        int
	creations, auth bucket
}

// New returns a Quota in which nothing is used.
func New(cfg Config) *Quota {
	q := &Quota{cfg: cfg, seed: maphash.MakeSeed()}
	for i := range q.shards {
		q.shards[i].entries = map[netip.Addr]*entry{}
	}
	return q
}

// Admit takes a place for one more session of addr, before anything is spent on it. The zero address, of a connection
// without IP, counts like any other.
func (q *Quota) Admit(addr netip.Addr) (*Place, error) {
	if q == nil {
		return nil, nil
	}
	if n := q.sessions.Add(1); q.cfg.Sessions > 0 && n > int64(q.cfg.Sessions) {
		q.sessions.Add(-1)
		return nil, ErrSessions
	}
	key := keyOf(addr)
	if err := q.shardOf(key).admit(key, &q.cfg, time.Now()); err != nil {
		q.sessions.Add(-1)
		return nil, err
	}
	return &Place{q: q, key: key}, nil
}

// Readmit takes a place for a session that another replica has admitted, whatever the limits.
func (q *Quota) Readmit(addr netip.Addr) *Place {
	if q == nil {
		return nil
	}
	q.sessions.Add(1)
	key := keyOf(addr)
	s := q.shardOf(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.enterLocked(s.entryLocked(key, &q.cfg, time.Now()))
	return &Place{q: q, key: key}
}

// keyOf is what counts as one address.
func keyOf(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if !addr.Is6() {
		return addr
	}
	prefix, err := addr.Prefix(64)
	if err != nil { // an IPv6 address without a zone has a /64
		return addr
	}
	return prefix.Addr()
}

func (q *Quota) shardOf(key netip.Addr) *shard {
	return &q.shards[maphash.Comparable(q.seed, key)%shardCount]
}

func (s *shard) admit(key netip.Addr, cfg *Config, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entryLocked(key, cfg, now)
	switch {
	case cfg.SessionsPerAddress > 0 && e.sessions >= cfg.SessionsPerAddress:
		return ErrAddress
	case e.auth.level(cfg.AuthFailures, now) < 1:
		return ErrAuthFailures
	case !e.creations.take(cfg.Creations, now):
		return ErrCreations
	}
	s.enterLocked(e)
	return nil
}

func (s *shard) enterLocked(e *entry) {
	if e.sessions == 0 {
		s.idle--
	}
	e.sessions++
}

// entryLocked finds or makes the entry of an address, forgetting another one if too many are idle.
func (s *shard) entryLocked(key netip.Addr, cfg *Config, now time.Time) *entry {
	if e := s.entries[key]; e != nil {
		return e
	}
	if s.idle >= shardEntries {
		s.forgetLocked(cfg, now)
	}
	e := &entry{creations: newBucket(cfg.Creations, now), auth: newBucket(cfg.AuthFailures, now)}
	s.entries[key] = e
	s.idle++
	return e
}

// forgetLocked drops, of a few idle entries in the map's random order, the one that has used its rates least. With sessions
// in most entries it looks further, at most until it has seen one idle entry; there are shardEntries of them.
func (s *shard) forgetLocked(cfg *Config, now time.Time) {
	var victim netip.Addr
	best, seen := -1.0, 0
	for key, e := range s.entries {
		if e.sessions == 0 {
			if unused := e.creations.unused(cfg.Creations, now) + e.auth.unused(cfg.AuthFailures, now); unused > best {
				victim, best = key, unused
			}
			seen++
		}
		if seen == sampleSize {
			break
		}
	}
	if seen > 0 {
		delete(s.entries, victim)
		s.idle--
	}
}

// Place is what one session holds. The nil Place is valid and does nothing. Safe for concurrent use.
type Place struct {
	q        *Quota
	key      netip.Addr
	released atomic.Bool
}

// AuthFailed notes a failed login of the session's address.
func (p *Place) AuthFailed() {
	if p == nil {
		return
	}
	s := p.q.shardOf(p.key)
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entryLocked(p.key, &p.q.cfg, now).auth.charge(p.q.cfg.AuthFailures, now)
}

// Release gives the place back; only the first call counts.
func (p *Place) Release() {
	if p == nil || p.released.Swap(true) {
		return
	}
	p.q.sessions.Add(-1)
	s := p.q.shardOf(p.key)
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[p.key] // never forgotten while it has sessions
	e.sessions--
	if e.sessions > 0 {
		return
	}
	s.idle++
	if e.creations.full(p.q.cfg.Creations, now) && e.auth.full(p.q.cfg.AuthFailures, now) || s.idle > shardEntries {
		delete(s.entries, p.key)
		s.idle--
	}
}
