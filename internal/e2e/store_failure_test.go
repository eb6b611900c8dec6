//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// What becomes of sessions, of /readyz and of the metrics while Redis is away, when it comes back empty, when it is slow, and
// when another server takes its place (failover-design 8).

// storeCluster is three replicas on the plain Prosody 13, and eight sessions that talk.
type storeCluster struct {
	t        *testing.T
	replicas []*replica
	load     *traffic
	stop     context.CancelFunc
	talking  sync.WaitGroup
}

func startStoreCluster(t *testing.T, redis store) *storeCluster {
	t.Helper()
	s := ownServer(t, func() (*server, error) { return startProsody13(false) })
	c := &storeCluster{t: t}
	var ep endpoint
	c.replicas, ep = startCluster(t, redis, fmt.Sprintf("%s=xmpp://127.0.0.1:%d?tls=none", s.domain, s.port))
	c.load = newTraffic(t, s, ep, 8)
	c.talk()
	return c
}

func (c *storeCluster) talk() {
	ctx, stop := context.WithCancel(c.t.Context())
	c.stop = stop
	c.talking.Go(func() { c.load.talk(ctx) })
}

// flows waits until messages have arrived since it was called.
func (c *storeCluster) flows(within time.Duration) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), within)
	defer cancel()
	want := c.load.received.Load() + int64(5*len(c.load.clients))
	if err := until(ctx, "messages", nil, func() bool { return c.load.received.Load() >= want }); err != nil {
		c.t.Fatal(err)
	}
}

// awaitReadiness waits until /readyz of all replicas says so.
func (c *storeCluster) awaitReadiness(status int, within time.Duration) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), within)
	defer cancel()
	for _, r := range c.replicas {
		if err := until(ctx, fmt.Sprintf("%d of /readyz", status), r.process(), func() bool { n, _ := r.readiness(); return n == status }); err != nil {
			c.t.Fatal(err)
		}
	}
}

// settle kills a replica, to see that sessions can be taken over, and checks that nothing was lost on the way.
func (c *storeCluster) settle() {
	c.t.Helper()
	r := ownerOf(c.t, c.replicas)
	r.kill()
	c.flows(30 * time.Second)
	r.mustStart(c.t)
	c.stop()
	c.talking.Wait()
	c.load.settle()
}

// TestStoreAway: Redis does not answer for a while; `make chaos` makes that long. Responses wait for it; for a minute and more sessions go on without it; and
// in any case all is as before once it is back.
//
// Covers: UP-123.
func TestStoreAway(t *testing.T) {
	t.Run("1 s", func(t *testing.T) {
		redis := startRedis(t, true)
		c := startStoreCluster(t, redis)
		c.flows(stepTimeout)
		_ = redis.proc.cmd.Process.Signal(syscall.SIGSTOP)
		time.Sleep(time.Second)
		_ = redis.proc.cmd.Process.Signal(syscall.SIGCONT)
		c.awaitReadiness(http.StatusOK, stepTimeout)
		c.flows(stepTimeout)
		c.settle()
	})
	absences := []time.Duration{5 * time.Second} // longer than the lease
	if os.Getenv("E2E_CHAOS_SECONDS") != "" {
		absences = []time.Duration{10 * time.Second, 70 * time.Second}
	}
	for _, away := range absences {
		t.Run(away.String(), func(t *testing.T) { testStoreAway(t, away) })
	}
}

func testStoreAway(t *testing.T, away time.Duration) {
	redis := startRedis(t, true)
	c := startStoreCluster(t, redis)
	c.flows(stepTimeout)
	gone := time.Now()
	_ = redis.proc.cmd.Process.Kill()
	<-redis.proc.done
	c.awaitReadiness(http.StatusServiceUnavailable, stepTimeout)
	if n := sumOf(t, c.replicas, `stanzagate_ready`); n != 0 {
		t.Errorf("%v replicas say that they are ready", n)
	}
	const alone = 61 * time.Second
	if away > alone {
		time.Sleep(time.Until(gone.Add(alone)))
		c.flows(stepTimeout) // without the store
	}
	time.Sleep(time.Until(gone.Add(away)))
	redis.start(t)
	c.awaitReadiness(http.StatusOK, stepTimeout)
	c.flows(stepTimeout)
	c.settle()
}

// TestStoreEmpty: what is not in the store can go on nowhere. Sessions end with the condition on which libraries log in again,
// and they can.
//
// Covers: BOSH-142.
func TestStoreEmpty(t *testing.T) {
	redis := startRedis(t, false)
	s := ownServer(t, func() (*server, error) { return startProsody13(false) })
	replicas, ep := startCluster(t, redis, fmt.Sprintf("%s=xmpp://127.0.0.1:%d?tls=none", s.domain, s.port))
	login := func(user string) *client {
		c := stubbornClient(t, ep, s.domain, true)
		c.login("PLAIN", user, password, "")
		c.send(`<presence xmlns="jabber:client"/>`)
		return c
	}
	users := make([]string, 6)
	clients := make([]*client, len(users))
	for i := range users {
		users[i] = s.account(t)
		clients[i] = login(users[i])
	}
	_ = redis.proc.cmd.Process.Kill()
	<-redis.proc.done
	redis.start(t)
	for i, c := range clients {
		_ = c.tr.send(c.ctx(), `<presence xmlns="jabber:client"/>`) // it may know by now
		var told *errTerminated
		if err := c.in.ended(c.ctx()); !errors.As(err, &told) || told.condition != "item-not-found" {
			t.Errorf("session %d ended with %v", i, err)
		}
	}
	for _, r := range replicas {
		if err := r.ready(t.Context()); err != nil {
			t.Error(err)
		}
	}
	for _, user := range users {
		login(user)
	}
}

// TestStoreSlow: every answer of Redis takes 200 ms. That is slow for everybody and hurts nobody.
//
// Covers: UP-123.
func TestStoreSlow(t *testing.T) {
	redis := startRedis(t, true)
	slow := startDelayProxy(t, fmt.Sprintf("127.0.0.1:%d", redis.port), 200*time.Millisecond)
	c := startStoreCluster(t, slow)
	for range 3 {
		c.flows(stepTimeout)
		c.awaitReadiness(http.StatusOK, time.Second)
	}
	c.settle()
}

// delayProxy is a TCP proxy that hands on what comes from the server only after a while.
type delayProxy struct{ ln net.Listener }

func (p delayProxy) url() string { return "redis://" + p.ln.Addr().String() + "/0" }

func startDelayProxy(t *testing.T, to string, delay time.Duration) delayProxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() { // ends with the listener
		for {
			down, err := ln.Accept()
			if err != nil {
				return
			}
			go relayLate(down, to, delay) // ends with either connection
		}
	}()
	return delayProxy{ln}
}

func relayLate(down net.Conn, to string, delay time.Duration) {
	defer down.Close()
	up, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer up.Close()
	go func() {
		_, _ = io.Copy(up, down)
		up.Close()
	}()
	type piece struct {
		at time.Time
		b  []byte
	}
	pieces := make(chan piece, 1024)
	go func() {
		defer close(pieces)
		for {
			b := make([]byte, 16<<10)
			n, err := up.Read(b)
			if err != nil {
				return
			}
			pieces <- piece{time.Now().Add(delay), b[:n]}
		}
	}()
	for p := range pieces {
		time.Sleep(time.Until(p.at))
		if _, err := down.Write(p.b); err != nil {
			up.Close()
		}
	}
}
