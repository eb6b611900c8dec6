package replica

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// hooked is a connection of which every Write first does something.
type hooked struct {
	net.Conn
	before func(n int)
}

func (c *hooked) Write(b []byte) (int, error) {
	c.before(len(b))
	return c.Conn.Write(b)
}

// wiresInMemory connects two wires, a and b, each of which runs; before is what a does before it writes once a and b know
// each other.
func wiresInMemory(t *testing.T, before func(n int), takeB func(kind, uint64, []byte) error) (a, b *wire) {
	t.Helper()
	id := identity(t, "k")
	near, far := net.Pipe()
	var ready atomic.Bool
	server := tls.Server(&hooked{near, func(n int) {
		if ready.Load() {
			before(n)
		}
	}}, id.serverTLS())
	client := tls.Client(far, id.clientTLS())
	a, b = newWire(server), newWire(client)
	var running, greeting sync.WaitGroup
	greeting.Go(func() {
		if err := server.HandshakeContext(t.Context()); err != nil {
			t.Error(err)
		}
	})
	running.Go(func() { _ = b.run(takeB) }) // also reads what ends the handshake
	greeting.Wait()
	ready.Store(true)
	running.Go(func() { _ = a.run(func(kind, uint64, []byte) error { return nil }) })
	t.Cleanup(func() {
		_, _ = a.close(errClosed), b.close(errClosed)
		running.Wait()
	})
	return a, b
}

// A frame that takes longer to arrive than the other side may be silent is no silence, for neither side.
func TestWireIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 2 << 20
		got := make(chan int, 1)
		a, b := wiresInMemory(t, func(n int) { time.Sleep(time.Duration(n) * 5 * time.Microsecond) }, func(_ kind, _ uint64, content []byte) error {
			got <- len(content)
			return nil
		})
		begun := time.Now()
		if err := a.send(kindAnswer, 1, func(b []byte) []byte { return append(b, make([]byte, size)...) }); err != nil {
			t.Fatalf("after %s: %v; the other side: %v", time.Since(begun), err, b.ended())
		}
		if n := <-got; n != size || time.Since(begun) < 10*time.Second {
			t.Errorf("%d bytes after %s", n, time.Since(begun))
		}
		time.Sleep(time.Minute) // with nothing to say
		if a.ended() != nil || b.ended() != nil {
			t.Errorf("ended: %v, %v", a.ended(), b.ended())
		}
	})
}

// A process that was frozen does not blame the other side for what it could not hear itself; a side that stays silent is found
// out within three seconds.
func TestWireIsFrozen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := wiresInMemory(t, func(int) {}, func(kind, uint64, []byte) error { return nil })
		time.Sleep(beat / 2) // between checks
		a.mu.Lock()
		long := int64(2 * silence)
		a.checked -= long
		a.heard.Add(-long)
		a.mu.Unlock()
		time.Sleep(time.Minute)
		if a.ended() != nil || b.ended() != nil {
			t.Fatalf("ended: %v, %v", a.ended(), b.ended())
		}
		b.mu.Lock()
		b.watch.Stop() // it says nothing any more
		b.mu.Unlock()
		begun := time.Now()
		<-a.gone
		if took := time.Since(begun); !errors.Is(a.ended(), errSilent) || took > 3*time.Second {
			t.Errorf("ended after %s: %v", took, a.ended())
		}
	})
}

// Whoever sends gets away although there is always more to write.
func TestWireLetsSendersGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a *wire
		var others sync.WaitGroup
		var left atomic.Int64
		more := func(int) {
			time.Sleep(10 * time.Millisecond)
			if left.Add(-1) > 0 {
				others.Go(func() { _ = a.send(kindAnswer, 2, nil) })
				synctest.Wait()
			}
		}
		arrived := make(chan struct{}, 1000)
		a, _ = wiresInMemory(t, more, func(kind, uint64, []byte) error {
			arrived <- struct{}{}
			return nil
		})
		left.Store(500)
		begun := time.Now()
		if err := a.send(kindAnswer, 1, nil); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > 100*time.Millisecond {
			t.Errorf("it took %s", took)
		}
		for range 500 {
			<-arrived // what it left is written nevertheless
		}
		others.Wait()
	})
}

// A request that comes while the owner waits for others to end is sent back at once.
func TestWireFinishes(t *testing.T) {
	id := identity(t, "k")
	held, release := make(chan struct{}), make(chan struct{})
	o := startOwner(t, "127.0.0.1:0", id, func(http.ResponseWriter, *http.Request) bool {
		close(held)
		<-release
		return true
	})
	c := newClient(t, id)
	relay := func() Outcome {
		return c.Insist(Request{W: httptest.NewRecorder(), R: httptest.NewRequest(http.MethodPost, "/", nil)}, o.Replica)
	}
	var all sync.WaitGroup
	all.Go(func() {
		if got := relay(); got != Answered {
			t.Errorf("outcome %s", got)
		}
	})
	<-held
	all.Go(func() {
		if err := o.server.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
	for !o.isFinishing() {
		time.Sleep(time.Millisecond)
	}
	again := make(chan Outcome)
	go func() { again <- relay() }()
	select {
	case got := <-again:
		if got != Fenced {
			t.Errorf("outcome %s", got)
		}
	case <-time.After(5 * time.Second):
		t.Error("no outcome")
		defer func() { <-again }()
	}
	close(release)
	all.Wait()
}

// isFinishing reports whether Shutdown waits for what is being served.
func (o *owner) isFinishing() bool {
	o.server.mu.Lock()
	defer o.server.mu.Unlock()
	for c := range o.server.conns {
		c.serving.Lock()
		defer c.serving.Unlock()
		if c.finishing {
			return true
		}
	}
	return false
}
