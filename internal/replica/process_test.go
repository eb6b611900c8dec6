package replica

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"stanzagate/internal/peer"
	"stanzagate/sessionstore"
	"stanzagate/sessionstore/storetest"
)

// The smallest transport there is, run in processes of their own that tests kill and freeze: a session is a counter, a
// request with the next number adds one, and the answer is the sum. A request that is repeated gets the same answer. So a
// lost session, a lost request or one that counts twice shows in the sum.

const (
	processEnv   = "STANZAGATE_TEST_REPLICA"
	processLease = time.Second
)

// processConfig is what a process is told.
type processConfig struct {
	ID, Redis       string
	Relay, Browsers string // addresses
}

type counterReplica struct {
	store  *sessionstore.Redis
	router *Router

	mu       sync.Mutex
	sessions map[sessionstore.Key]*counter // guarded by mu
}

// counter is one session.
type counter struct {
	hold sessionstore.Hold

	mu sync.Mutex
	// guarded by mu
	number, sum uint64 // of the last request that was counted
	over        bool   // another replica has it
}

// runProcess is the main function of such a process.
func runProcess() {
	var cfg processConfig
	if err := errors.Join(json.Unmarshal([]byte(os.Getenv(processEnv)), &cfg), serveCounters(cfg)); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(1)
}

func serveCounters(cfg processConfig) error {
	self := sessionstore.Replica{ID: cfg.ID, Incarnation: sessionstore.NewIncarnation(), Address: cfg.Relay}
	store, err := sessionstore.OpenRedis(sessionstore.RedisConfig{URLs: []string{cfg.Redis}, Self: self, Lease: processLease})
	if err != nil {
		return err
	}
	store.Start()
	id, err := NewIdentity([][]byte{relayKey("k")})
	if err != nil {
		return err
	}
	client, err := NewClient(ClientConfig{Identity: id})
	if err != nil {
		return err
	}
	c := &counterReplica{store: store, sessions: map[sessionstore.Key]*counter{}}
	c.router = NewRouter(RouterConfig{Store: store, Client: client})
	server, err := NewServer(ServerConfig{
		Identity: id, Incarnation: self.Incarnation, Fenced: store.Fenced,
		Handle: func(w http.ResponseWriter, r *http.Request) bool { return c.serve(w, r) },
	})
	if err != nil {
		return err
	}
	relay, err := listenAgain(cfg.Relay)
	if err != nil {
		return err
	}
	browsers, err := listenAgain(cfg.Browsers)
	if err != nil {
		return err
	}
	ended := make(chan error, 2)
	go func() { ended <- server.Serve(relay) }()
	go func() { ended <- http.Serve(browsers, http.HandlerFunc(c.browser)) }()
	return <-ended
}

// browser serves what comes from outside.
func (c *counterReplica) browser(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/ready" {
		if c.store.Fenced() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return
	}
	key := sessionstore.Key(r.URL.Query().Get("key"))
	if r.URL.Path == "/new" {
		hold, err := c.store.Create(r.Context(), key, sessionstore.Draft{TTL: time.Minute})
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		c.put(key, &counter{hold: hold})
		return
	}
	if c.serve(w, r) {
		return
	}
	result, _ := c.router.Route(Request{W: w, R: r, Peer: (*peer.Resolver)(nil).Of(r)}, []sessionstore.Key{key}, c)
	switch result {
	case Done:
	case Here:
		if !c.serve(w, r) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	case NoSession:
		w.WriteHeader(http.StatusNotFound)
	case Unavailable:
		w.WriteHeader(http.StatusServiceUnavailable)
	case Abort:
		panic(http.ErrAbortHandler)
	}
}

// serve counts one request, if its session is here.
func (c *counterReplica) serve(w http.ResponseWriter, r *http.Request) bool {
	key := sessionstore.Key(r.URL.Query().Get("key"))
	c.mu.Lock()
	s := c.sessions[key]
	c.mu.Unlock()
	if s == nil {
		return false
	}
	number, err := strconv.ParseUint(r.URL.Query().Get("number"), 10, 64)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		panic(http.ErrAbortHandler)
	}
	if number == s.number+1 {
		s.number, s.sum = number, s.sum+1
	}
	// The answer leaves after the store has it, also that of a repetition: it may be this replica's last word.
	err = c.store.Persist(r.Context(), s.hold, sessionstore.Counters{Seq: s.number + 1, Data: fmt.Sprint(s.number, " ", s.sum), TTL: time.Minute})
	switch {
	case errors.Is(err, sessionstore.ErrNotOwner), errors.Is(err, sessionstore.ErrNotFound):
		s.over = true
		c.mu.Lock()
		if c.sessions[key] == s {
			delete(c.sessions, key)
		}
		c.mu.Unlock()
		panic(http.ErrAbortHandler)
	case err != nil:
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	if number != s.number {
		w.WriteHeader(http.StatusConflict)
		return true
	}
	_, _ = fmt.Fprint(w, s.sum)
	return true
}

func (c *counterReplica) put(key sessionstore.Key, s *counter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sessions[key] = s
}

// Has implements Sessions.
func (c *counterReplica) Has(key sessionstore.Key) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sessions[key] != nil
}

// Adopt implements Sessions.
func (c *counterReplica) Adopt(key sessionstore.Key, claimed sessionstore.Claimed) {
	s := &counter{hold: claimed.Hold}
	_, _ = fmt.Sscan(claimed.Counters, &s.number, &s.sum) // "": nothing was counted yet
	c.put(key, s)
}

// replicaProcess is such a process as the test sees it.
type replicaProcess struct {
	cfg processConfig
	*storetest.Process
}

func (p *replicaProcess) start(t *testing.T) {
	t.Helper()
	text, err := json.Marshal(p.cfg)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), processEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	p.Process = storetest.StartProcess(t, cmd)
}

func (p *replicaProcess) ready(ctx context.Context) bool {
	status, _ := ask(ctx, "http://"+p.cfg.Browsers+"/ready")
	return status == http.StatusOK
}

// askTimeout is longer than it takes to notice that an owner is frozen.
const askTimeout = silence + beat + 2*redialTimeout

func ask(ctx context.Context, url string) (status int, answer string) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		return 0, ""
	}
	return answered(browsers.Do(r))
}

var browsers = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
