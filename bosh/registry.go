package bosh

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"sync"
)

const (
	sidBytes    = 20 // 160 random bits (BOSH-054)
	nameBytes   = 12 // of a stream's name (BOSH-153); a multiple of 3, so that each is a part of the encoding of all
	shardCount  = 64
	shortHashed = 4 // bytes of a sid's hash in logs
)

// newSID returns a session id: opaque, unpredictable, never used before.
func newSID() string { return randomName(sidBytes) }

// newNames returns the names of the streams that a session may have.
func newNames(n int) []string {
	all, names := randomName(n*nameBytes), make([]string, n) // they share one allocation
	for i := range names {
		names[i] = all[i*len(all)/n : (i+1)*len(all)/n]
	}
	return names
}

func randomName(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b)
}

// sidKey is what sessions are looked up by. BOSH-181: the look-up compares hashes, so its time tells nothing about sids.
type sidKey [16]byte

func keyOf[T string | []byte](sid T) sidKey {
	sum := sha256.Sum256([]byte(sid))
	return sidKey(sum[:len(sidKey{})])
}

// String is what logs call a session.
func (k sidKey) String() string { return hex.EncodeToString(k[:shortHashed]) }

// registry has the sessions of this replica. Their number is bounded by the quota that each has a place in. Safe for
// concurrent use; no lock is held while another one is taken.
type registry struct {
	shards [shardCount]struct {
		mu       sync.RWMutex
		sessions map[sidKey]*session // guarded by mu
	}
}

func newRegistry() *registry {
	g := &registry{}
	for i := range g.shards {
		g.shards[i].sessions = map[sidKey]*session{}
	}
	return g
}

func (g *registry) get(key sidKey) *session {
	shard := &g.shards[key[0]%shardCount]
	shard.mu.RLock()
	defer shard.mu.RUnlock()
	return shard.sessions[key]
}

func (g *registry) add(s *session) {
	shard := &g.shards[s.key[0]%shardCount]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	shard.sessions[s.key] = s
}

func (g *registry) remove(s *session) {
	shard := &g.shards[s.key[0]%shardCount]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	delete(shard.sessions, s.key)
}

// all returns the sessions that there are at some moment for each shard.
func (g *registry) all() []*session {
	var list []*session
	for i := range g.shards {
		shard := &g.shards[i]
		shard.mu.RLock()
		for _, s := range shard.sessions {
			list = append(list, s)
		}
		shard.mu.RUnlock()
	}
	return list
}
