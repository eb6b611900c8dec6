package bosh

import "time"

// Ownership in the store (failover-design 5, 7.1).

const (
	simLease      = 3 * time.Second
	simRenewal    = time.Second
	simStoreGrace = 6 * time.Second // claims are refused that long after the store was away
)

// simLeaseEntry is r:<replica>: its incarnation, alive until expires.
type simLeaseEntry struct {
	incarnation int
	expires     time.Duration
}

type simClaimKind uint8

const (
	claimAway    simClaimKind = iota // try again later
	claimUnknown                     // no such session
	claimOwned                       // another replica has it
	claimMine
)

type simClaim struct {
	kind  simClaimKind
	owner *simReplica
	inc   int
	dead  bool // the old owner is known to be dead: a short pause is enough
	force bool
	epoch int
	entry simEntry // as claimed
}

// claim asks for a session: it is given if its owner's lease is over, or names an incarnation that is known to be dead, or
// force is set.
func (st *simStore) claim(by *simReplica, sid string, deadOwner *simReplica, deadInc int, force bool, done func(simClaim)) {
	w := st.w
	inc := by.incarnation
	w.after(w.between(0, w.plan.storeDelay), func() {
		c := st.claimNow(by, inc, sid, deadOwner, deadInc, force)
		by.later(w.between(0, w.plan.storeDelay), func() { done(c) })
	})
}

func (st *simStore) claimNow(by *simReplica, inc int, sid string, deadOwner *simReplica, deadInc int, force bool) simClaim {
	w := st.w
	if st.away || w.clock < st.backAt+simStoreGrace && st.backAt > 0 {
		return simClaim{kind: claimAway}
	}
	e := st.entries[sid]
	if e == nil {
		return simClaim{kind: claimUnknown}
	}
	lease := st.leases[e.owner]
	alive := e.owner != nil && lease.incarnation == e.inc && lease.expires > w.clock
	named := e.owner != nil && deadOwner == e.owner && deadInc == e.inc
	if alive && !named && !force {
		return simClaim{kind: claimOwned, owner: e.owner, inc: e.inc}
	}
	if !e.saved || !e.resumable {
		delete(st.entries, sid) // it died with its replica
		if truth := by.site.truths[sid]; truth != nil {
			truth.mayDie = "its replica died before it could be resumed"
		}
		return simClaim{kind: claimUnknown}
	}
	c := simClaim{kind: claimMine, dead: !force, force: force && alive && !named}
	e.epoch++
	e.owner, e.inc = by, inc
	c.epoch, c.entry = e.epoch, *e
	w.trace.add(w.clock, "store", "%s claims %s, epoch %d, record %q", by.name, sid, e.epoch, e.record.counters)
	return c
}

// check asks whether the session is still the replica's own.
func (st *simStore) check(s *simSession, done func(storeVerdict)) {
	w := st.w
	w.after(w.between(0, w.plan.storeDelay), func() {
		v := storeRefused
		if e := st.entries[s.sid]; st.away {
			v = storeAway
		} else if e != nil && st.mine(e, s) {
			v = storeOK
		}
		s.later(w.between(0, w.plan.storeDelay), func() { done(v) })
	})
}

func (st *simStore) mine(e *simEntry, s *simSession) bool {
	if st.w.plan.without(ruleEpoch) {
		return true
	}
	return e.owner == s.host && e.inc == s.host.incarnation && e.epoch == s.o.epoch
}

// release gives ownership away at a drain.
func (st *simStore) release(s *simSession) {
	if e := st.entries[s.sid]; e != nil && !st.away && st.mine(e, s) {
		e.owner = nil
	}
}

// renew keeps the replica's lease. A replica that wakes renews before it does anything else (7.4).
func (st *simStore) renew(r *simReplica, done func(ok bool)) {
	w := st.w
	inc := r.incarnation
	w.after(w.between(0, w.plan.storeDelay), func() {
		ok := !st.away
		if ok {
			st.leases[r] = simLeaseEntry{inc, w.clock + simLease}
		}
		w.after(w.between(0, w.plan.storeDelay), func() {
			if r.incarnation == inc && !r.dead {
				done(ok)
			}
		})
	})
}
