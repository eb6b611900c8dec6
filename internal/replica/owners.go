package replica

import (
	"sync"

	"stanzagate/sessionstore"
)

// owners remembers who owned a session last, so that the store is not asked for every request that lands elsewhere. What it
// says may be old: a replica that is asked for a session that it does not have, or may not serve, says so. Safe for
// concurrent use.
type owners struct {
	mu sync.Mutex
	// guarded by mu
	of map[sessionstore.Key]sessionstore.Replica // at most maxOwners
}

const maxOwners = 50_000

func (o *owners) find(key sessionstore.Key) (sessionstore.Replica, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r, ok := o.of[key]
	return r, ok
}

func (o *owners) learn(key sessionstore.Key, r sessionstore.Replica) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.of == nil {
		o.of = map[sessionstore.Key]sessionstore.Replica{}
	}
	if _, known := o.of[key]; !known && len(o.of) >= maxOwners {
		for old := range o.of { // any one: it costs its session one question to the store
			delete(o.of, old)
			break
		}
	}
	o.of[key] = r
}

func (o *owners) forget(key sessionstore.Key) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.of, key)
}
