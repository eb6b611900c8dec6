package replica

import (
	"context"
	"sync"

	"stanzagate/sessionstore"
)

// keyLock lets one at a time do something for a key. Safe for concurrent use.
type keyLock struct {
	mu sync.Mutex
	// guarded by mu
	held map[sessionstore.Key]*turn
}

// turn is the right to go on for one key. waiting is guarded by keyLock.mu.
type turn struct {
	token   chan struct{} // capacity 1; holds a token while somebody has the turn
	waiting int           // who has it, and who wants it
}

// lock waits for the turn, or until ctx ends.
func (l *keyLock) lock(ctx context.Context, key sessionstore.Key) (unlock func(), err error) {
	l.mu.Lock()
	if l.held == nil {
		l.held = map[sessionstore.Key]*turn{}
	}
	t := l.held[key]
	if t == nil {
		t = &turn{token: make(chan struct{}, 1)}
		l.held[key] = t
	}
	t.waiting++
	l.mu.Unlock()
	select {
	case t.token <- struct{}{}:
		return func() {
			<-t.token
			l.leave(key, t)
		}, nil
	case <-ctx.Done():
		l.leave(key, t)
		return nil, ctx.Err()
	}
}

func (l *keyLock) leave(key sessionstore.Key, t *turn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.waiting--; t.waiting == 0 {
		delete(l.held, key)
	}
}
