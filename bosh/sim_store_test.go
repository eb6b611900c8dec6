package bosh

import "time"

type storeVerdict uint8

const (
	storeOK      storeVerdict = iota
	storeAway                 // cannot be asked just now
	storeRefused              // another replica owns the session
)

// simStore is the store of a world: one entry per session, owned under an epoch, with the newest record.
type simStore struct {
	w       *simWorld
	away    bool
	entries map[string]*simEntry
	leases  map[*simReplica]simLeaseEntry
	backAt  time.Duration // end of the last outage
}

type simEntry struct {
	epoch     int
	owner     *simReplica // nil: given away
	inc       int         // incarnation of the owner
	saved     bool
	resumable bool
	record    record
	settings  string
	mark      simMark
	before    *simEntry // what the newest write replaced
}

// lose forgets the newest record of a session, as a replica of the store that was behind and is promoted.
func (st *simStore) lose(sid string, truth *simTruth) {
	e := st.entries[sid]
	if e == nil || e.before == nil || !e.before.saved {
		return
	}
	st.w.trace.add(st.w.clock, "store", "loses record %d of %s", e.record.n, sid)
	b := e.before
	e.saved, e.record, e.mark, e.resumable, e.before = b.saved, b.record, b.mark, b.resumable, nil
	truth.lossy, truth.mayDie = true, "the store lost a record"
}

func newSimStore(w *simWorld) *simStore {
	return &simStore{w: w, entries: map[string]*simEntry{}, leases: map[*simReplica]simLeaseEntry{}}
}

// save writes a record if the session's epoch is still the writer's.
func (st *simStore) save(s *simSession, rec *record, done func(storeVerdict)) {
	w := st.w
	w.after(w.between(0, w.plan.storeDelay), func() {
		v := st.write(s, rec)
		s.later(w.between(0, w.plan.storeDelay), func() { done(v) })
	})
}

func (st *simStore) write(s *simSession, rec *record) storeVerdict {
	if st.away {
		return storeAway
	}
	e := st.entries[s.sid]
	if e == nil || !st.mine(e, s) {
		return storeRefused
	}
	e.before = &simEntry{saved: e.saved, record: e.record, mark: e.mark, resumable: e.resumable}
	e.saved, e.record, e.mark = true, *rec, s.o.marks[rec.n]
	e.resumable = rec.counters != ""
	return storeOK
}

// register notes a new session's owner.
func (st *simStore) register(s *simSession) {
	s.o.epoch = 1
	st.entries[s.sid] = &simEntry{epoch: 1, owner: s.host, inc: s.host.incarnation}
}

func (st *simStore) remove(s *simSession) {
	if e := st.entries[s.sid]; e != nil && st.mine(e, s) {
		delete(st.entries, s.sid)
	}
}

// outage takes the store away for d.
func (st *simStore) outage(d time.Duration) {
	if st.away {
		return
	}
	st.away = true
	w := st.w
	w.trace.add(w.clock, "store", "away for %v", d)
	w.after(d, func() {
		st.away, st.backAt = false, w.clock
		w.trace.add(w.clock, "store", "back")
	})
}
