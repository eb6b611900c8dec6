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
		return nil, &settingError{key: "failover.key", value: strings.Join(s.Failover.Key, ","), want: err.Error()}
	}
	if ms.identity, err = replica.NewIdentity(keys.Relay()); err != nil {
		return nil, err
	}
	ms.client, err = replica.NewClient(replica.ClientConfig{Identity: ms.identity, Metrics: m.relay})
	return keys, err
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

// reload reads the keys again: sessions of the old ones go on as long as those are there.
func (ms *membership) reload(s *settings) error {
	if ms.identity == nil || len(s.Failover.Key) == 0 {
		return nil // from none to some needs a restart
	}
	keys, err := seal.Load(s.Failover.Key)
	if err == nil {
		err = ms.identity.Set(keys.Relay())
	}
	if err != nil {
		return fmt.Errorf("failover.key: %w", err)
	}
	ms.member.SetKeys(keys)
	return nil
}

// stop ends what start began. Sessions are over by now, or given away.
func (ms *membership) stop(ctx context.Context) error {
	if ms.server != nil {
		_ = ms.server.Shutdown(ctx) // what is left is cut
	}
	ms.member.Close()
	if ms.client != nil {
		ms.client.Close()
	}
	return ms.store.Close(ctx)
}
