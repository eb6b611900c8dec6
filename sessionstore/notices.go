package sessionstore

import "sync"

// notices are those who want to know of sessions that were taken. The zero value is ready; safe for concurrent use.
type notices struct {
	mu sync.RWMutex
	// guarded by mu
	watchers map[int]func(Key)
	next     int
}

// watch implements Store.Watch.
func (n *notices) watch(f func(Key)) (stop func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.watchers == nil {
		n.watchers = map[int]func(Key){}
	}
	id := n.next
	n.next++
	n.watchers[id] = f
	return func() {
		n.mu.Lock() // waits for tell
		defer n.mu.Unlock()
		delete(n.watchers, id)
	}
}

func (n *notices) tell(key Key) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	for _, f := range n.watchers {
		f(key)
	}
}
