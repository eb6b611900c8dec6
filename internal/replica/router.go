package replica

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"stanzagate/sessionstore"
)

// Sessions are those that a transport has on this replica, as seen for one request: whoever asks knows the sid.
type Sessions interface {
	// Has reports whether the session is here.
	Has(key sessionstore.Key) bool
	// Adopt takes the session, which this replica has just claimed. Has must report it when Adopt returns, which it does at
	// once: the transport goes on with the session on its own time. If it cannot, the next claim finds out.
	Adopt(key sessionstore.Key, claimed sessionstore.Claimed)
}

// RouterConfig is what a Router needs to know.
type RouterConfig struct {
	Store  sessionstore.Store
	Client *Client // nil: requests are not handed on (no key)
	// Draining reports whether this replica takes no sessions any more; nil: never.
	Draining func() bool
	// Patience is how long a request waits for its owner to be found or to lose its lease, before the browser is asked to
	// repeat it; 0 means 6 s, which is longer than it takes to find a frozen owner out.
	Patience time.Duration
}

// Router brings requests to the owner of their session (failover-design 7.1). Safe for concurrent use.
type Router struct {
	cfg    RouterConfig // immutable
	owners owners
	locks  keyLock
}

// NewRouter makes a Router.
func NewRouter(cfg RouterConfig) *Router {
	if cfg.Patience == 0 {
		cfg.Patience = patience
	}
	if cfg.Draining == nil {
		cfg.Draining = func() bool { return false }
	}
	return &Router{cfg: cfg}
}

// Result says what Route did.
type Result uint8

// Results.
const (
	Done        Result = iota // the owner has answered
	Here                      // the session is on this replica now; the request is still to be served
	NoSession                 // nobody has it, and nobody can go on with it
	Unavailable               // no answer can be had now: 503, so that the browser repeats the request
	Abort                     // the connection to the browser has to be closed without (more of) an answer
)

const (
	patience = 6 * time.Second
	// forceAfter is for how long an owner that lives in the store has to be unreachable before its sessions are taken.
	forceAfter = 5 * time.Second
	retryPause = 150 * time.Millisecond // and up to half of it more, so that many do not ask at once
)

// Route hands a request on to the owner of its session, or takes the session over. keys are the names that the session's
// record may have, most likely first (seal.Keys.RecordKeys); the right one is returned with Here.
func (rt *Router) Route(req Request, keys []sessionstore.Key, sessions Sessions) (Result, sessionstore.Key) {
	ctx := req.R.Context()
	if result, ok := rt.remembered(req, keys); ok {
		return result, ""
	}
	deadline := time.Now().Add(rt.cfg.Patience)
	var know knowledge
	for {
		result, key, final := rt.try(ctx, req, keys, sessions, &know)
		if final {
			return result, key
		}
		if time.Now().After(deadline) {
			return Unavailable, ""
		}
		select {
		case <-ctx.Done():
			return Abort, ""
		case <-time.After(retryPause + rand.N(retryPause/2)):
		}
	}
}

// remembered hands a request on to who had its session last.
func (rt *Router) remembered(req Request, keys []sessionstore.Key) (Result, bool) {
	for _, key := range keys {
		owner, ok := rt.owners.find(key)
		if !ok || rt.cfg.Client == nil || rt.isSelf(owner) {
			continue
		}
		o := rt.cfg.Client.Relay(req, owner)
		if o == Fenced && rt.cfg.Store.Status().Away > 0 {
			// The store is away, for us as for the owner, who alone knows how long to go on without it (failover-design 8).
			o = rt.cfg.Client.Insist(req, owner)
		}
		switch o {
		case Answered:
			return Done, true
		case Aborted, Gone:
			return Abort, true
		default:
			rt.owners.forget(key)
		}
	}
	return 0, false
}

// knowledge is what the tries for one request have taught.
type knowledge struct {
	dead  string // an incarnation that surely is no more
	stuck string // one that does not answer
}

// try asks the store once and acts on the answer. Not final: it is worth another try.
func (rt *Router) try(ctx context.Context, req Request, keys []sessionstore.Key, sessions Sessions, know *knowledge) (result Result, key sessionstore.Key, final bool) {
	for {
		key, owner, err := rt.acquire(ctx, keys, sessions, know)
		switch {
		case ctx.Err() != nil:
			return Abort, "", true
		case errors.Is(err, sessionstore.ErrNotFound):
			return NoSession, "", true
		case errors.Is(err, sessionstore.ErrNewer), errors.Is(err, errDraining):
			return Unavailable, "", true // another replica can serve it
		case err != nil:
			return Unavailable, "", false
		case owner == sessionstore.Replica{}:
			return Here, key, true
		case rt.cfg.Client == nil:
			return Unavailable, "", true
		}
		switch rt.cfg.Client.Relay(req, owner) {
		case Answered:
			rt.owners.learn(key, owner)
			return Done, "", true
		case Aborted, Gone:
			return Abort, "", true
		case Dead:
			if know.dead == owner.Incarnation {
				return Unavailable, "", false // the claim did not go through
			}
			know.dead = owner.Incarnation
			continue // at once: what is dead stays dead
		case Unknown:
			if rt.cfg.Client.Unreachable(owner.Address) >= forceAfter {
				know.stuck = owner.Incarnation
			}
		default: // NotMine, Fenced: the store will know better
		}
		return Unavailable, "", false
	}
}

var errDraining = errors.New("this replica is draining")

// acquire finds out who has the session, and takes it if nobody has. A zero owner: it is here. Two requests of one session
// must not take it twice, so they do this one after the other.
func (rt *Router) acquire(ctx context.Context, keys []sessionstore.Key, sessions Sessions, know *knowledge) (sessionstore.Key, sessionstore.Replica, error) {
	var err error
	for _, key := range keys {
		var owner sessionstore.Replica
		owner, err = rt.acquireKey(ctx, key, sessions, know)
		if !errors.Is(err, sessionstore.ErrNotFound) {
			return key, owner, err
		}
	}
	if err == nil {
		err = sessionstore.ErrNotFound // no keys
	}
	return "", sessionstore.Replica{}, err
}

func (rt *Router) acquireKey(ctx context.Context, key sessionstore.Key, sessions Sessions, know *knowledge) (owner sessionstore.Replica, err error) {
	unlock, err := rt.locks.lock(ctx, key)
	if err != nil {
		return owner, err
	}
	defer unlock()
	if sessions.Has(key) {
		return owner, nil
	}
	claim := sessionstore.Claim{Dead: know.dead}
	for {
		got, err := rt.cfg.Store.Claim(ctx, key, claim)
		switch {
		case err != nil:
			return owner, err
		case got.Hold.Epoch != 0:
			rt.owners.forget(key)
			if rt.cfg.Draining() {
				return owner, rt.decline(got)
			}
			sessions.Adopt(key, got)
			return owner, nil
		case claim.Force:
			return owner, sessionstore.ErrUnavailable // cannot be
		case rt.isSelf(got.Owner), got.Owner.Incarnation == know.stuck:
			// Ours, and not here: the answer to an earlier claim was lost, or the session broke down. Or: it lives and
			// has not answered anybody here for long.
			claim.Force = true
		default:
			return got.Owner, nil
		}
	}
}

// decline gives back what was claimed only to find out who has it. Who claims next does not learn how the owner before us
// lost the session, so the time that has to pass because of that (failover-design 7.2) passes here.
func (rt *Router) decline(got sessionstore.Claimed) error {
	if got.Loss == sessionstore.LossExpired || got.Loss == sessionstore.LossForced {
		time.Sleep(pauseOf(got.Loss))
	}
	ctx, cancel := context.WithTimeout(context.Background(), declineTimeout)
	defer cancel()
	_ = rt.cfg.Store.Release(ctx, got.Hold) // else whoever gets the next request waits until our lease is over
	return errDraining
}

const declineTimeout = 2 * time.Second

func (rt *Router) isSelf(r sessionstore.Replica) bool {
	return r.Incarnation == rt.cfg.Store.Self().Incarnation
}
