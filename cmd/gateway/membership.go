package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"stanzagate/internal/replica"
	"stanzagate/internal/seal"
	"stanzagate/sessionstore"
)

// recordSchema is the version of what this gateway keeps in the store. Records of a newer one are left to newer gateways.
const recordSchema = 1

// membership is this gateway as one of several replicas, or as the only one.
type membership struct {
	// immutable after newMembership
	store  sessionstore.Store
	redis  *sessionstore.Redis // nil: alone, in memory
	member *replica.Member

	// nil without failover.key
	identity *replica.Identity
	client   *replica.Client
	server   *replica.Server // nil before serves
}

// newMembership opens nothing and asks nobody yet; start does.
func newMembership(s *settings, m *metrics, log *slog.Logger) (_ *membership, err error) {
	ms := &membership{}
	keys, err := ms.openKeys(s, m)
	if err != nil {
		return nil, err
	}
	if err := ms.openStore(s, m, log); err != nil {
		return nil, err
	}
	ms.member, err = replica.NewMember(replica.MemberConfig{
		Store: ms.store, Keys: keys, Alone: ms.redis == nil, Unsealed: len(s.Failover.Key) == 0, Client: ms.client, Log: log,
	})
	return ms, err
}

// publicKey names records where the operator has not given a key. Replicas must agree on the names; nothing is sealed by it.
const publicKey = "stanzagate: no failover.key, so this is no secret"

func (ms *membership) openKeys(s *settings, m *metrics) (*seal.Keys, error) {
	if len(s.Failover.Key) == 0 {
		return seal.New([]byte(publicKey))
	}
	keys, err := seal.Load(s.Failover.Key)
	if err != nil {
		return nil, &settingError{key: "failover.key", value: strings.Join(s.Failover.Key, ","), want: keyRemedy(err)}
	}
	if ms.identity, err = replica.NewIdentity(keys.Relay()); err != nil {
		return nil, err
	}
	ms.client, err = replica.NewClient(replica.ClientConfig{Identity: ms.identity, Metrics: m.relay})
	return keys, err
}

// keyRemedy is what is wrong with failover.key, and what to do about it.
func keyRemedy(err error) string {
	return err.Error() + "; want files of 32 random bytes that are the same on all replicas, as made by openssl rand -out FILE 32"
}

func (ms *membership) openStore(s *settings, m *metrics, log *slog.Logger) error {
	self, err := selfOf(s)
	if err != nil {
		return err
	}
	if len(s.Redis) == 0 {
		ms.store, err = sessionstore.NewMemory(sessionstore.MemoryConfig{}).Join(self, recordSchema)
		return err
	}
	ms.redis, err = sessionstore.OpenRedis(sessionstore.RedisConfig{
		URLs: s.Redis, Self: self, Schema: recordSchema, Log: log.With(slog.String("store", "redis")), Metrics: m.store,
	})
	if err != nil {
		return &settingError{key: "redis", value: maskAll(s.Redis), want: err.Error()}
	}
	ms.store = ms.redis
	return nil
}

// selfOf names this replica.
func selfOf(s *settings) (sessionstore.Replica, error) {
	self := sessionstore.Replica{ID: s.Replica.ID, Incarnation: sessionstore.NewIncarnation(), Address: s.Replica.Advertise}
	if self.ID == "" {
		self.ID = defaultReplicaID()
	}
	if self.Address != "" {
		return self, nil
	}
	address, err := net.ResolveTCPAddr("tcp", s.Replica.Listen)
	if err == nil && len(s.Redis) > 0 {
		self.Address, err = replica.Advertise(address)
	} else if err == nil {
		self.Address = address.String() // nobody will use it
	}
	if err != nil {
		return self, &settingError{key: "replica.listen", value: s.Replica.Listen, want: err.Error()}
	}
	if strings.HasPrefix(self.Address, ":") {
		self.Address = "localhost" + self.Address
	}
	return self, nil
}

// defaultReplicaID is the host's name, as far as it may be part of one, and a random suffix: a container that is started
// again is another replica.
func defaultReplicaID() string {
	host, _ := os.Hostname() // without it the suffix does
	host = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '.':
			return r
		}
		return -1
	}, host)
	const longest = 40
	return strings.TrimLeft(host[:min(len(host), longest)]+"-"+strings.ToLower(rand.Text()[:8]), "-")
}

// listen opens the address for other replicas; nil if there are none, or no key by which they could know each other.
func (ms *membership) listen(s *settings) (net.Listener, error) {
	if ms.redis == nil || ms.identity == nil {
		return nil, nil //nolint:nilnil // there is none, and that is no error
	}
	return listenTCP("replica.listen", s.Replica.Listen)
}

// start begins to hold the lease, and to serve other replicas on l, which may be nil. handle has the sessions. The caller
// runs what it returns, which ends with stop; nil: nothing.
func (ms *membership) start(l net.Listener, handle func(http.ResponseWriter, *http.Request) bool, log *slog.Logger) (serve func() error, err error) {
	ms.member.Start()
	if ms.redis == nil {
		return nil, nil //nolint:nilnil // nothing to run, and that is no error
	}
	ms.redis.Start()
	if l == nil {
		log.LogAttrs(context.Background(), slog.LevelWarn,
			"no failover.key: sessions end with their replica, and requests are not handed on; the balancer has to keep a browser to its replica")
		return nil, nil //nolint:nilnil // likewise
	}
	ms.server, err = replica.NewServer(replica.ServerConfig{
		Identity: ms.identity, Incarnation: ms.store.Self().Incarnation, Fenced: ms.member.Fenced, Handle: handle, Log: log,
	})
	if err != nil {
		return nil, err
	}
	server := ms.server
	return func() error { return server.Serve(l) }, nil
}

// notReady says why no sessions should be accepted, "" if they may be.
func (ms *membership) notReady() string { return ms.store.Status().NotReady() }

// describe is the state of the store, for people.
func (ms *membership) describe() string {
	if ms.redis == nil {
		return "in memory; this gateway is alone"
	}
	switch is := ms.store.Status(); {
	case is.Away > 0:
		return fmt.Sprintf("not reached for %s: %v", is.Away.Round(time.Second), is.Err)
	case is.NotReady() != "":
		return is.NotReady()
	case is.Settling > 0:
		return fmt.Sprintf("reached; just back, so for %s no session is taken from a silent replica", is.Settling.Round(time.Second))
	}
	return "reached"
}

// registerGauges has metrics say what describe says.
func (ms *membership) registerGauges(m *metrics) {
	m.gauge("store_away_seconds", "For how long the session store has not answered; 0 while it does.", nil,
		func() float64 { return ms.store.Status().Away.Seconds() })
	m.gauge("store_fenced", "1 while this replica may not serve its sessions, as others may think that it is dead.", nil, func() float64 {
		if ms.member.Fenced() {
			return 1
		}
		return 0
	})
}

// reload reads the keys again and returns what makes them effective: sessions of the old ones go on as long as those are
// there.
func (ms *membership) reload(s *settings) (use func() error, err error) {
	if ms.identity == nil || len(s.Failover.Key) == 0 {
		return func() error { return nil }, nil // from none to some, or back, needs a restart
	}
	keys, err := seal.Load(s.Failover.Key)
	if err != nil {
		return nil, &settingError{key: "failover.key", value: strings.Join(s.Failover.Key, ","), want: keyRemedy(err)}
	}
	return func() error {
		if err := ms.identity.Set(keys.Relay()); err != nil {
			return fmt.Errorf("failover.key: %w", err)
		}
		ms.member.SetKeys(keys)
		return nil
	}, nil
}

// leaveTime is what giving the lease up may take in any case: it spares other replicas the wait until it is over.
const leaveTime = time.Second

// stop ends what start began. Sessions are over by now, or given away.
func (ms *membership) stop(ctx context.Context) error {
	if ms.server != nil {
		_ = ms.server.Shutdown(ctx) // what is left is cut
	}
	ms.member.Close()
	if ms.client != nil {
		ms.client.Close()
	}
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
	defer cancel()
	return ms.store.Close(leaving)
}
