package replica

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"stanzagate/sessionstore"
	"stanzagate/sessionstore/storetest"
)

// node is one replica of a small gateway: sessions are names, and a request is answered with the name of who has it.
type node struct {
	store  sessionstore.Store
	owner  *owner
	router *Router

	mu       sync.Mutex
	sessions map[sessionstore.Key]sessionstore.Claimed // guarded by mu
	adopted  atomic.Int32
	draining atomic.Bool
}

func (n *node) Has(key sessionstore.Key) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, ok := n.sessions[key]
	return ok
}

func (n *node) Adopt(key sessionstore.Key, claimed sessionstore.Claimed) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sessions[key] = claimed
	n.adopted.Add(1)
}

func (n *node) drop(key sessionstore.Key) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.sessions, key)
}

// create makes a session here.
func (n *node) create(t *testing.T) sessionstore.Key {
	t.Helper()
	key := storetest.NewKey()
	hold, err := n.store.Create(t.Context(), key, sessionstore.Draft{TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sessions[key] = sessionstore.Claimed{Hold: hold}
	return key
}

// startNode starts a replica on a store in memory.
func startNode(t *testing.T, m *sessionstore.Memory, id string) *node {
	t.Helper()
	n := &node{sessions: map[sessionstore.Key]sessionstore.Claimed{}}
	ident := identity(t, "k")
	n.owner = startOwner(t, "127.0.0.1:0", ident, func(w http.ResponseWriter, r *http.Request) bool {
		key := sessionstore.Key(r.URL.Query().Get("key"))
		if !n.Has(key) {
			return false
		}
		_, _ = io.WriteString(w, id)
		return true
	})
	n.owner.ID = id
	store, err := m.Join(n.owner.Replica, 1)
	if err != nil {
		t.Fatal(err)
	}
	n.store = store
	n.router = NewRouter(RouterConfig{Store: store, Client: newClient(t, ident), Draining: n.draining.Load})
	return n
}

// route sends a request that reached n, and returns who answered it: "" for nobody.
func (n *node) route(t *testing.T, keys ...sessionstore.Key) (Result, string) {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/?key="+string(keys[len(keys)-1]), nil).WithContext(t.Context())
	result, key := n.router.Route(Request{W: w, R: r}, keys, n)
	if result == Here {
		if !n.Has(key) {
			t.Error("a session is said to be here, and is not")
		}
		return result, n.owner.ID
	}
	if key != "" || result != Done && w.Body.Len() > 0 {
		t.Errorf("result %d with key %q and answer %q", result, key, w.Body)
	}
	return result, w.Body.String()
}

func (n *node) want(t *testing.T, result Result, who string, keys ...sessionstore.Key) {
	t.Helper()
	if r, got := n.route(t, keys...); r != result || got != who {
		t.Errorf("result %d from %q, want %d from %q", r, got, result, who)
	}
}

// Any replica answers: the owner does, or if it is no more whoever got the request.
func TestRouterFindsTheOwner(t *testing.T) {
	m := sessionstore.NewMemory(sessionstore.MemoryConfig{})
	a, b, c := startNode(t, m, "a"), startNode(t, m, "b"), startNode(t, m, "c")
	first, second := a.create(t), a.create(t)
	b.want(t, Done, "a", first)
	b.want(t, Done, "a", first) // from memory
	b.want(t, Done, "a", "older-key", first)
	c.want(t, Done, "a", second)
	b.want(t, NoSession, "", storetest.NewKey())

	a.owner.kill() // its lease stands: the refused connection tells
	b.want(t, Here, "b", first)
	b.want(t, Here, "b", first)
	c.want(t, Done, "b", first)
	if b.adopted.Load() != 1 {
		t.Errorf("%d adoptions", b.adopted.Load())
	}
	c.want(t, Here, "c", second)
	b.want(t, Done, "c", second)
}

// Sessions move while their former owner lives: it says that it does not have them, whatever others remember.
func TestRouterFollowsSessions(t *testing.T) {
	m := sessionstore.NewMemory(sessionstore.MemoryConfig{})
	a, b, c := startNode(t, m, "a"), startNode(t, m, "b"), startNode(t, m, "c")
	key := a.create(t)
	c.want(t, Done, "a", key)
	if err := a.store.Release(t.Context(), a.sessions[key].Hold); err != nil {
		t.Fatal(err)
	}
	a.drop(key)
	b.want(t, Here, "b", key)
	c.want(t, Done, "b", key)
	// Back to where somebody remembers that another had it.
	if err := b.store.Release(t.Context(), b.sessions[key].Hold); err != nil {
		t.Fatal(err)
	}
	b.drop(key)
	c.want(t, Here, "c", key)
	b.want(t, Done, "c", key)
}

// A session that the store gives to this replica and that is not here (an answer was lost) is taken again.
func TestRouterTakesWhatItHasLost(t *testing.T) {
	m := sessionstore.NewMemory(sessionstore.MemoryConfig{})
	a := startNode(t, m, "a")
	key := a.create(t)
	before := a.sessions[key].Hold.Epoch
	a.drop(key)
	a.want(t, Here, "a", key)
	if got := a.sessions[key]; got.Hold.Epoch <= before || got.Loss != sessionstore.LossForced {
		t.Errorf("taken %+v after epoch %d", got, before)
	}
}

// While the store is away for everybody, owners are fenced and go on all the same as long as they think fit: who remembers
// them brings requests to them.
func TestRouterInsists(t *testing.T) {
	m := sessionstore.NewMemory(sessionstore.MemoryConfig{})
	a, b := startNode(t, m, "a"), startNode(t, m, "b")
	key, unknown := a.create(t), a.create(t)
	b.want(t, Done, "a", key)
	b.router = NewRouter(RouterConfig{Store: away{b.store, time.Now().Add(time.Hour)}, Client: b.router.cfg.Client, Patience: time.Second})
	b.router.owners.learn(key, a.owner.Replica)
	a.owner.fenced.Store(true)
	for range 3 {
		b.want(t, Done, "a", key)
	}
	b.want(t, Unavailable, "", unknown)
	a.owner.kill()
	b.want(t, Unavailable, "", key)
}

// Many requests of one session at one replica take it once.
func TestRouterTakesOnce(t *testing.T) {
	m := sessionstore.NewMemory(sessionstore.MemoryConfig{})
	a, b := startNode(t, m, "a"), startNode(t, m, "b")
	key := a.create(t)
	a.owner.kill()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { b.want(t, Here, "b", key) })
	}
	all.Wait()
	if n := b.adopted.Load(); n != 1 {
		t.Errorf("taken %d times", n)
	}
}

// An owner that is fenced, or frozen, keeps its sessions until its lease is over; the request waits for that.
func TestRouterWaitsForTheLease(t *testing.T) {
	m := sessionstore.NewMemory(sessionstore.MemoryConfig{})
	for name, stop := range map[string]func(*node){
		"fenced": func(n *node) { n.owner.fenced.Store(true) },
		"silent": func(*node) {},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := startNode(t, m, "a-"+name), startNode(t, m, "b-"+name)
			key := a.create(t)
			if name == "silent" { // nobody answers at the address, and nobody refuses either
				a.owner.kill()
				l := listen(t, a.owner.Address)
				defer l.Close()
			}
			stop(a)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				b.want(t, Here, "b-"+name, key)
			}()
			select {
			case <-ended:
				t.Error("taken although the lease stands")
			case <-time.After(500 * time.Millisecond):
			}
			if err := a.store.Close(t.Context()); err != nil { // the lease is over
				t.Error(err)
			}
			<-ended
		})
	}
}

// An owner that lives in the store and has not been reached for five seconds loses the session by force.
func TestRouterForces(t *testing.T) {
	m := sessionstore.NewMemory(sessionstore.MemoryConfig{})
	a, b := startNode(t, m, "a"), startNode(t, m, "b")
	key := a.create(t)
	a.owner.kill()
	l := listen(t, a.owner.Address)
	defer l.Close()
	told := make(chan sessionstore.Key, 1)
	defer a.store.Watch(func(k sessionstore.Key) { told <- k })()
	begun := time.Now()
	storetest.Until(t, "takeover", func() bool {
		result, _ := b.route(t, key)
		return result == Here
	})
	if took := time.Since(begun); took < forceAfter {
		t.Errorf("taken after %s", took)
	}
	if got := b.sessions[key]; got.Loss != sessionstore.LossForced || <-told != key {
		t.Errorf("taken %+v", got)
	}
}

// What cannot be served here now is not refused for good.
func TestRouterAsksToRepeat(t *testing.T) {
	m := sessionstore.NewMemory(sessionstore.MemoryConfig{})
	a, b := startNode(t, m, "a"), startNode(t, m, "b")
	key := a.create(t)
	t.Run("draining", func(t *testing.T) {
		b.draining.Store(true)
		defer b.draining.Store(false)
		b.want(t, Done, "a", key) // handing on takes nothing
		b.want(t, Done, "a", key) // from memory too
		b.want(t, NoSession, "", storetest.NewKey())
		given := a.create(t)
		if err := a.store.Release(t.Context(), a.sessions[given].Hold); err != nil {
			t.Fatal(err)
		}
		a.drop(given)
		b.want(t, Unavailable, "", given)
		a.want(t, Here, "a", given) // whoever is asked next gets it
	})
	t.Run("no key", func(t *testing.T) {
		alone := NewRouter(RouterConfig{Store: b.store})
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		if got, _ := alone.Route(Request{W: httptest.NewRecorder(), R: r}, []sessionstore.Key{key}, b); got != Unavailable {
			t.Errorf("result %d", got)
		}
	})
	t.Run("newer", func(t *testing.T) {
		newer, err := m.Join(storetest.Self("newer"), 2)
		if err != nil {
			t.Fatal(err)
		}
		theirs := storetest.NewKey()
		if _, err := newer.Create(t.Context(), theirs, sessionstore.Draft{TTL: time.Minute}); err != nil {
			t.Fatal(err)
		}
		b.want(t, Unavailable, "", theirs)
	})
	t.Run("browser gone", func(t *testing.T) {
		r := httptest.NewRequest(http.MethodPost, "/", nil).WithContext(canceled())
		if got, _ := b.router.Route(Request{W: httptest.NewRecorder(), R: r}, []sessionstore.Key{key}, b); got != Abort {
			t.Errorf("result %d", got)
		}
	})
}

// away is a store that cannot be asked for a while.
type away struct {
	sessionstore.Store
	until time.Time
}

func (a away) Status() sessionstore.Status {
	s := a.Store.Status()
	if left := time.Until(a.until); left > 0 {
		s.Away = left
	}
	return s
}

func (a away) Claim(ctx context.Context, key sessionstore.Key, c sessionstore.Claim) (sessionstore.Claimed, error) {
	if time.Now().Before(a.until) {
		return sessionstore.Claimed{}, sessionstore.ErrUnavailable
	}
	return a.Store.Claim(ctx, key, c)
}

// A request outlasts a short absence of the store, and not a long one.
func TestRouterOutlastsTheStore(t *testing.T) {
	for absence, want := range map[time.Duration]Result{patience / 2: NoSession, 2 * patience: Unavailable} {
		synctest.Test(t, func(t *testing.T) {
			s, err := sessionstore.NewMemory(sessionstore.MemoryConfig{}).Join(storetest.Self("a"), 1)
			if err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			rt := NewRouter(RouterConfig{Store: away{s, begun.Add(absence)}})
			r := httptest.NewRequest(http.MethodPost, "/", nil)
			got, _ := rt.Route(Request{W: httptest.NewRecorder(), R: r}, []sessionstore.Key{"key"}, &node{})
			if took := time.Since(begun); got != want || took > patience+2*retryPause {
				t.Errorf("result %d after %s, want %d", got, took, want)
			}
		})
	}
}

func TestOwnersAreBounded(t *testing.T) {
	var o owners
	o.forget("nothing")
	for i := range maxOwners + 10 {
		o.learn(sessionstore.Key(strconv.Itoa(i)), sessionstore.Replica{ID: "x"})
	}
	o.learn("last", sessionstore.Replica{ID: "y"})
	if r, ok := o.find("last"); !ok || r.ID != "y" || len(o.of) != maxOwners {
		t.Errorf("%+v, %d are kept", r, len(o.of))
	}
	o.forget("last")
	if _, ok := o.find("last"); ok {
		t.Error("not forgotten")
	}
}

func TestKeyLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l keyLock
		unlock, err := l.lock(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		other, err := l.lock(t.Context(), "b")
		if err != nil {
			t.Fatal(err)
		}
		other()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.lock(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		got := make(chan func())
		go func() {
			unlock, err := l.lock(t.Context(), "a")
			if err != nil {
				t.Error(err)
			}
			got <- unlock
		}()
		synctest.Wait()
		select {
		case <-got:
			t.Error("two have the turn")
		default:
		}
		unlock()
		(<-got)()
		if len(l.held) != 0 {
			t.Errorf("%d turns are kept", len(l.held))
		}
	})
}
