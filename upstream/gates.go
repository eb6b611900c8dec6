package upstream

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// gates cap how many resumptions go on at once towards each server address (failover design §7.3): when a replica dies, or
// a server restarts, thousands of sessions want the same at the same moment.
type gates struct {
	each int

	mu    sync.Mutex
	gates map[string]*gate // only those in use
}

type gate struct {
	slots chan struct{} // capacity each: held while a resumption goes on
	users int           // guarded by gates.mu
}

// gateJitter spreads those who had to wait, so that they do not come in step.
const gateJitter = 50 * time.Millisecond

// enter waits for a slot. leave must be called once.
func (g *gates) enter(ctx context.Context, addr string) (leave func(), err error) {
	x := g.use(addr)
	select {
	case x.slots <- struct{}{}:
	default:
		select {
		case x.slots <- struct{}{}:
			err = pause(ctx, rand.N(gateJitter))
		case <-ctx.Done():
			g.release(addr, x)
			return nil, ctx.Err()
		}
	}
	leave = func() {
		<-x.slots
		g.release(addr, x)
	}
	if err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

func (g *gates) use(addr string) *gate {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gates == nil {
		g.gates = map[string]*gate{}
	}
	x := g.gates[addr]
	if x == nil {
		x = &gate{slots: make(chan struct{}, g.each)}
		g.gates[addr] = x
	}
	x.users++
	return x
}

func (g *gates) release(addr string, x *gate) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if x.users--; x.users == 0 {
		delete(g.gates, addr)
	}
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
