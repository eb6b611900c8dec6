package replica

import (
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"stanzagate/internal/seal"
	"stanzagate/sessionstore"
)

// MemberConfig is what a Member needs to know.
type MemberConfig struct {
	Store sessionstore.Store
	Keys  *seal.Keys
	// Alone: there are no other replicas, and the store lasts no longer than this process. Nothing is written with a
	// response then, and nobody is asked for unknown sessions.
	Alone bool
	// Unsealed: Keys are no secret of the operator's, so no credential is stored and no session can be taken over.
	Unsealed bool
	Client   *Client // nil: requests are not handed on
	Log      *slog.Logger
}

// Member is this process as one of several replicas: what the sessions of all transports share. Safe for concurrent use. It
// ends with Close.
type Member struct {
	// immutable after NewMember
	cfg    MemberConfig
	router *Router
	base   time.Time // what beat counts from
	unhint func()    // ends Store.Watch; set by Start

	keys     atomic.Pointer[seal.Keys]
	draining atomic.Bool
	beat     atomic.Int64  // when watch looked last, since base
	beatWall atomic.Int64  // the same by the wall clock, since 1970: it goes on while a machine is suspended
	doubts   atomic.Uint64 // counts the times that sessions may have been lost unnoticed
	lone     atomic.Bool   // the store has been away for so long that sessions go on without it

	mu sync.Mutex
	// guarded by mu
	records  map[sessionstore.Key]*Record // of this replica; bounded by its sessions
	unsaved  map[*Record]struct{}         // have counters that the store could not take
	hinted   []*Record                    // are said to be taken by others; bounded by records
	catching bool                         // catchUp is at work
	closed   bool

	quit    chan struct{} // closed by Close
	running sync.WaitGroup
}

const (
	beatEvery = 250 * time.Millisecond
	// frozenAfter is for how long watch may not have run before this process counts as having been frozen.
	frozenAfter = time.Second
	// loneAfter is for how long sessions wait for the store (failover-design 8).
	loneAfter = 60 * time.Second
	// errands is how many records are written, or asked for, at a time when the store has come back.
	errands = 32
)

// NewMember checks cfg. Nothing runs before Start.
func NewMember(cfg MemberConfig) (*Member, error) {
	if cfg.Store == nil || cfg.Keys == nil {
		return nil, errors.New("replica: Store and Keys are needed")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	m := &Member{
		cfg: cfg, base: time.Now(), quit: make(chan struct{}),
		records: map[sessionstore.Key]*Record{}, unsaved: map[*Record]struct{}{},
	}
	m.keys.Store(cfg.Keys)
	m.look()
	m.router = NewRouter(RouterConfig{Store: cfg.Store, Client: cfg.Client, Draining: m.draining.Load})
	return m, nil
}

// Start begins to watch the store. Once only; before any session.
func (m *Member) Start() {
	m.unhint = m.cfg.Store.Watch(m.hint)
	m.look()
	m.running.Go(m.watch)
}

// SetKeys replaces the keys: what is sealed and named from now on is by the first of them.
func (m *Member) SetKeys(keys *seal.Keys) { m.keys.Store(keys) }

// Shared reports whether other replicas may have the sessions that this one does not have.
func (m *Member) Shared() bool { return !m.cfg.Alone }

// Drain has this replica take no session any more.
func (m *Member) Drain() { m.draining.Store(true) }

// Fenced reports whether this replica must not serve its sessions now (failover-design 7.4).
func (m *Member) Fenced() bool { return m.cfg.Store.Fenced() && !m.lone.Load() }

// Away reports whether the store does not answer.
func (m *Member) Away() bool { return m.cfg.Store.Status().Away > 0 }

// Close ends watching. It does not close the store.
func (m *Member) Close() {
	m.mu.Lock()
	closed := m.closed
	m.closed = true
	m.mu.Unlock()
	if closed {
		return
	}
	if m.unhint != nil {
		m.unhint()
	}
	close(m.quit)
	m.running.Wait()
}

// Route finds who has the session with that sid, and hands the request on or takes the session over; see Router.
func (m *Member) Route(req Request, sid string, sessions Sessions) Result {
	if m.cfg.Alone {
		return NoSession
	}
	names := m.keys.Load().RecordKeys(sid)
	keys := make([]sessionstore.Key, len(names))
	for i, name := range names {
		keys[i] = sessionstore.Key(name)
	}
	result, _ := m.router.Route(req, keys, sessions)
	return result
}

// watch looks after what may happen to the whole of this replica. One goroutine.
func (m *Member) watch() {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	fenced, settling := false, time.Duration(0)
	for {
		select {
		case <-m.quit:
			return
		case <-tick.C:
		}
		is, was := m.cfg.Store.Status(), fenced
		fenced = m.cfg.Store.Fenced()
		// Settling begins when the store has been away or has lost our lease. Also if we never felt fenced, as on a machine
		// that was suspended: others may have.
		if fenced && !was || is.Settling > settling || m.stale() {
			m.doubts.Add(1) // before the beat: whoever sees that one sees this
		}
		settling = is.Settling
		m.look()
		if lone := is.Away >= loneAfter; lone != m.lone.Swap(lone) {
			m.announce(lone)
		}
		if is.Away == 0 {
			m.catchUp()
		}
	}
}

// look notes that watch is at work.
func (m *Member) look() {
	now := time.Now()
	m.beat.Store(int64(now.Sub(m.base)))
	m.beatWall.Store(now.UnixNano())
}

func (m *Member) announce(lone bool) {
	if lone {
		m.cfg.Log.Warn("session store is away for long: sessions go on, and die with this replica")
		return
	}
	m.cfg.Log.Info("session store is back: sessions can be taken over again")
}

// stale reports whether watch has not run for so long that this process may have been frozen, and may not have noticed yet
// what became of its sessions.
func (m *Member) stale() bool {
	now := time.Now()
	return now.Sub(m.base)-time.Duration(m.beat.Load()) > frozenAfter ||
		now.UnixNano()-m.beatWall.Load() > int64(frozenAfter)
}

// sure reports whether nothing has happened since doubts was that number that makes it worth asking whether sessions are
// still ours.
func (m *Member) sure(doubts uint64) bool {
	return m.doubts.Load() == doubts && !m.stale() && !m.cfg.Store.Fenced()
}

// hint is told by the store that another replica has taken a session.
func (m *Member) hint(key sessionstore.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.records[key]; r != nil && len(m.hinted) < len(m.records) {
		m.hinted = append(m.hinted, r)
	}
}

// later has a record's counters written once the store is there again.
func (m *Member) later(r *Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.records[r.key] == r { // else it has been dropped meanwhile
		m.unsaved[r] = struct{}{}
	}
}

// catchUp does what the store was needed for, at most once at a time: it takes as long as the store does.
func (m *Member) catchUp() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.unsaved) == 0 && len(m.hinted) == 0 || m.catching {
		return
	}
	m.catching = true
	work := make([]func(), 0, len(m.unsaved)+len(m.hinted))
	for _, r := range m.hinted {
		work = append(work, r.verify)
	}
	for r := range m.unsaved {
		work = append(work, r.retry)
	}
	m.unsaved, m.hinted = map[*Record]struct{}{}, nil
	m.running.Go(func() {
		m.share(work)
		m.mu.Lock()
		defer m.mu.Unlock()
		m.catching = false
	})
}

// share has a few goroutines do all of the work, unless Close comes first.
func (m *Member) share(work []func()) {
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(errands, len(work)) {
		workers.Go(func() {
			for i := next.Add(1); i <= int64(len(work)); i = next.Add(1) {
				select {
				case <-m.quit:
					return
				default:
					work[i-1]()
				}
			}
		})
	}
	workers.Wait()
}

func (m *Member) enter(r *Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records[r.key] = r
}

func (m *Member) leave(r *Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.records[r.key] == r {
		delete(m.records, r.key)
	}
	delete(m.unsaved, r)
}
