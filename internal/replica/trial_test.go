package replica

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"stanzagate/internal/seal"
	"stanzagate/sessionstore"
	"stanzagate/sessionstore/storetest"
)

// trial is a store in memory whose troubles the test decides.
type trial struct {
	sessionstore.Store

	mu sync.Mutex
	// guarded by mu
	away     time.Time     // since when it does not answer; zero: it does
	settling time.Duration // of Status
	fenced   bool          // whatever away says
	asleep   time.Duration // for how long Status takes, which stops Member.watch: this process is frozen
	calls    map[string]int
	working  int                  // Persist calls under way
	busiest  int                  // the most of them at a time
	persist  func(n uint64) error // called before each write of counters; nil: nothing special
}

// do counts a call and fails it if the store is away.
func (s *trial) do(op string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[op]++
	if !s.away.IsZero() {
		return fmt.Errorf("%w: in a test", sessionstore.ErrUnavailable)
	}
	return nil
}

func (s *trial) count(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[op]
}

// set changes the trouble.
func (s *trial) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *trial) leave()    { s.set(func() { s.away = time.Now() }) }
func (s *trial) comeBack() { s.set(func() { s.away = time.Time{} }) }

// freeze has Member.watch stand still for d, from its next look on.
func (s *trial) freeze(d time.Duration) { s.set(func() { s.asleep = d }) }

func (s *trial) Fenced() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fenced || !s.away.IsZero() && time.Since(s.away) > 2*time.Second
}

func (s *trial) Status() sessionstore.Status {
	s.mu.Lock()
	asleep := s.asleep
	s.asleep = 0
	s.mu.Unlock()
	time.Sleep(asleep)
	s.mu.Lock()
	defer s.mu.Unlock()
	is := sessionstore.Status{Settling: s.settling}
	if !s.away.IsZero() {
		is.Away = max(time.Since(s.away), 1)
	}
	return is
}

func (s *trial) Create(ctx context.Context, key sessionstore.Key, d sessionstore.Draft) (sessionstore.Hold, error) {
	if err := s.do("create"); err != nil {
		return sessionstore.Hold{}, err
	}
	return s.Store.Create(ctx, key, d)
}

func (s *trial) Persist(ctx context.Context, hold sessionstore.Hold, c sessionstore.Counters) error {
	s.mu.Lock()
	before := s.persist
	s.working++
	s.busiest = max(s.busiest, s.working)
	s.mu.Unlock()
	defer s.set(func() { s.working-- })
	if before != nil {
		if err := before(c.Seq); err != nil {
			_ = s.do("persist")
			return err
		}
	}
	if err := s.do("persist"); err != nil {
		return err
	}
	return s.Store.Persist(ctx, hold, c)
}

func (s *trial) Update(ctx context.Context, hold sessionstore.Hold, static []byte, ttl time.Duration) error {
	if err := s.do("update"); err != nil {
		return err
	}
	return s.Store.Update(ctx, hold, static, ttl)
}

func (s *trial) Touch(ctx context.Context, hold sessionstore.Hold, ttl time.Duration) error {
	if err := s.do("touch"); err != nil {
		return err
	}
	return s.Store.Touch(ctx, hold, ttl)
}

func (s *trial) Check(ctx context.Context, hold sessionstore.Hold) error {
	if err := s.do("check"); err != nil {
		return err
	}
	return s.Store.Check(ctx, hold)
}

func (s *trial) Release(ctx context.Context, hold sessionstore.Hold) error {
	if err := s.do("release"); err != nil {
		return err
	}
	return s.Store.Release(ctx, hold)
}

func (s *trial) TakeSlot(ctx context.Context, account sessionstore.Account, session sessionstore.Key) (int, error) {
	if err := s.do("slot"); err != nil {
		return 0, err
	}
	return s.Store.TakeSlot(ctx, account, session)
}

// club is a member with its store, and another replica that takes its sessions.
type club struct {
	t     *testing.T
	store *trial
	other sessionstore.Store
	m     *Member
}

// join makes a member that watches until the test ends. In a bubble of synctest the test has to end it with Close.
func join(t *testing.T, change func(*MemberConfig)) *club {
	t.Helper()
	memory := sessionstore.NewMemory(sessionstore.MemoryConfig{})
	here, err := memory.Join(storetest.Self("here"), 1)
	if err != nil {
		t.Fatal(err)
	}
	other, err := memory.Join(storetest.Self("other"), 1)
	if err != nil {
		t.Fatal(err)
	}
	c := &club{t: t, store: &trial{Store: here, calls: map[string]int{}}, other: other}
	cfg := MemberConfig{Store: c.store, Keys: sealKeys(t, 1)}
	if change != nil {
		change(&cfg)
	}
	if c.m, err = NewMember(cfg); err != nil {
		t.Fatal(err)
	}
	c.m.Start()
	t.Cleanup(c.m.Close)
	return c
}

func sealKeys(t *testing.T, numbers ...byte) *seal.Keys {
	t.Helper()
	var secrets [][]byte
	for _, n := range numbers {
		secrets = append(secrets, append([]byte("0123456789abcdefghijklmnopqrstuvwxyz"), n))
	}
	keys, err := seal.New(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

const recordLife = 4 * time.Minute

// create makes a session.
func (c *club) create(sid string) (*Record, *holder) {
	c.t.Helper()
	h := &holder{}
	r := c.m.NewRecord(sid, h)
	if err := r.Create(c.t.Context(), "test", recordLife); err != nil {
		c.t.Fatal(err)
	}
	return r, h
}

// put sets counters n.
func put(r *Record, n uint64) { r.Put(n, fmt.Sprint("counters ", n), recordLife) }

// steal has the other replica take a session, whatever this one thinks.
func (c *club) steal(r *Record) sessionstore.Claimed {
	c.t.Helper()
	got, err := c.other.Claim(c.t.Context(), r.key, sessionstore.Claim{Force: true})
	if err != nil {
		c.t.Fatal(err)
	}
	return got
}

// holder notes what a Record says.
type holder struct {
	mu     sync.Mutex
	stored []uint64 // guarded by mu
	lost   []error  // guarded by mu
}

func (h *holder) Stored(n uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stored = append(h.stored, n)
}

func (h *holder) Lost(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lost = append(h.lost, err)
}

// told returns what was said so far.
func (h *holder) told() (stored []uint64, lost []error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append(stored, h.stored...), append(lost, h.lost...)
}
