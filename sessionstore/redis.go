package sessionstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// RedisConfig says where the store is and who asks.
type RedisConfig struct {
	// URLs name the servers: one of redis://, rediss://, redis+sentinel://, rediss+sentinel://, redis+cluster:// and
	// rediss+cluster://, or several of redis:// or rediss:// or host:port, which are nodes of one cluster.
	URLs []string
	Self Replica

	Schema  int           // version of what callers store; records of a higher one are left alone. 0 means 1
	Prefix  string        // of all keys; "" means stanzagate:
	Lease   time.Duration // how long this replica counts as alive without a sign of life; 0 means 3 s
	Timeout time.Duration // of one round trip, connecting included; 0 means 1 s

	Log     *slog.Logger // nil: silent
	Metrics Metrics      // nil: none
}

func (c RedisConfig) withDefaults() RedisConfig {
	if c.Schema == 0 {
		c.Schema = 1
	}
	if c.Prefix == "" {
		c.Prefix = "stanzagate:"
	}
	if c.Lease == 0 {
		c.Lease = 3 * time.Second
	}
	if c.Timeout == 0 {
		c.Timeout = time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = noMetrics{}
	}
	return c
}

func (c RedisConfig) validate() error {
	switch {
	case strings.ContainsAny(c.Prefix, "{} \r\n"):
		return fmt.Errorf("prefix %q: braces and spaces have a meaning in keys", c.Prefix)
	case c.Schema < 0:
		return fmt.Errorf("schema %d: want 1 or more", c.Schema)
	case c.Lease < 10*time.Millisecond:
		return fmt.Errorf("lease %s: too short", c.Lease)
	case c.Timeout < time.Millisecond:
		return fmt.Errorf("timeout %s: too short", c.Timeout)
	}
	return c.Self.validate()
}

// Redis is the store that replicas share. Its zero value is not usable. Safe for concurrent use.
type Redis struct {
	// immutable after OpenRedis
	cfg     RedisConfig
	target  *redisTarget
	client  redis.UniversalClient
	keys    redisKeys
	owner   string // as records name this replica
	batch   *batcher
	lease   lease
	notices notices

	updates  atomic.Uint64 // numbers updates
	requests atomic.Uint64 // numbers requests that a repetition must not do again

	mu      sync.Mutex
	started bool               // guarded by mu
	closed  bool               // guarded by mu
	stop    context.CancelFunc // guarded by mu; ends running
	running sync.WaitGroup     // keeper of the lease and listener for notices; added to once, by Start
}

var _ Store = (*Redis)(nil)

// OpenRedis checks cfg; its errors name what is wrong and never contain a password. Nothing is connected yet.
func OpenRedis(cfg RedisConfig) (*Redis, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	target, err := parseRedis(cfg.URLs)
	if err != nil {
		return nil, err
	}
	config, err := target.tlsConfig()
	if err != nil {
		return nil, err
	}
	muteLibrary()
	r := &Redis{
		cfg: cfg, target: target, client: redis.NewUniversalClient(target.options(cfg.Timeout, config)),
		keys: redisKeys{prefix: cfg.Prefix}, owner: ownerOf(cfg.Self),
	}
	r.lease.init(cfg.Lease)
	r.batch = newBatcher(r.fly)
	return r, nil
}

// Start begins to hold the lease and to listen for notices, and returns at once; Status tells when the store has been
// reached. Once only. Close ends what it starts.
func (r *Redis) Start() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.started || r.closed {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.started, r.stop = true, cancel
	r.running.Go(func() { r.keepLease(ctx) })
	r.running.Go(func() { r.listen(ctx) })
}

// Self implements Store.
func (r *Redis) Self() Replica { return r.cfg.Self }

// Fenced implements Store.
func (r *Redis) Fenced() bool { return r.lease.fenced() }

// Status implements Store.
func (r *Redis) Status() Status { return r.lease.status() }

// Close implements Store. Calls that are under way fail.
func (r *Redis) Close(ctx context.Context) error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	stop := r.stop
	r.mu.Unlock()
	r.batch.close()
	if stop != nil {
		stop()
	}
	r.running.Wait()
	err := r.leave(ctx)
	r.lease.end()
	return errors.Join(err, r.client.Close())
}

// leave gives the lease up, if there is one.
func (r *Redis) leave(ctx context.Context) error {
	if r.lease.fenced() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	if err := leaveScript.Run(ctx, r.client, []string{r.keys.lease(r.cfg.Self.ID)}, r.cfg.Self.Incarnation).Err(); err != nil {
		return fmt.Errorf("give up lease: %w", unavailable(err))
	}
	return nil
}

// redisKeys is the one place that makes the names of keys.
type redisKeys struct{ prefix string }

// session is the record's. The braces make a cluster put all keys of a session into one slot, should there be more of them.
func (k redisKeys) session(key Key) string   { return k.prefix + "s:{" + string(key) + "}" }
func (k redisKeys) lease(id string) string   { return k.prefix + "r:" + id }
func (k redisKeys) slots(a Account) string   { return k.prefix + "ua:{" + string(a) + "}" }
func (k redisKeys) notices(id string) string { return k.prefix + "down:" + id }
func ownerOf(r Replica) string               { return r.ID + "/" + r.Incarnation }
func (r *Redis) request() string {
	return r.cfg.Self.Incarnation + "." + strconv.FormatUint(r.requests.Add(1), 36)
}

func ownedBy(owner, address string) Replica {
	id, incarnation, _ := strings.Cut(owner, "/")
	return Replica{ID: id, Incarnation: incarnation, Address: address}
}

// unavailable marks an error of the library. Its text is the server's or the network's and holds no credentials.
func unavailable(err error) error { return fmt.Errorf("%w: %w", ErrUnavailable, err) }
