package replica

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stanzagate/sessionstore"
	"stanzagate/sessionstore/storetest"
)

// listenAgain takes an address that a killed process may still seem to have for a moment.
func listenAgain(address string) (l net.Listener, err error) {
	for range 100 {
		if l, err = net.Listen("tcp", address); err == nil {
			return l, nil
		}
		time.Sleep(10 * time.Millisecond) // in a process of its own, which has nothing else to wait for
	}
	return nil, err
}

// Replicas are killed and frozen, and the store is restarted, while clients count: every request is counted once.
//
// Covers: UP-127.
func TestReplicasDie(t *testing.T) {
	const (
		replicas = 3
		clients  = 30
		duration = 14 * time.Second
	)
	redis := storetest.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	processes := make([]*replicaProcess, replicas)
	for i := range processes {
		processes[i] = &replicaProcess{cfg: processConfig{
			ID: fmt.Sprintf("r%d", i), Redis: "redis://" + redis.Addr(),
			Relay: fmt.Sprintf("127.0.0.1:%d", storetest.FreePort(t)), Browsers: fmt.Sprintf("127.0.0.1:%d", storetest.FreePort(t)),
		}}
		processes[i].start(t)
		t.Cleanup(func() { processes[i].Kill() })
	}
	t.Cleanup(browsers.CloseIdleConnections)
	for _, p := range processes {
		storetest.Until(t, "replica", func() bool { return p.ready(t.Context()) })
	}
	ctx, stop := context.WithTimeout(t.Context(), duration)
	defer stop()
	var all sync.WaitGroup
	var counted, repeated atomic.Int64
	slowest := make([]time.Duration, clients)
	for i := range clients {
		all.Go(func() {
			n, again, slow := count(ctx, t, processes)
			counted.Add(int64(n))
			repeated.Add(int64(again))
			slowest[i] = slow
		})
	}
	var kills, freezes int
	all.Go(func() { freezes = freeze(ctx, t, processes[0]) })
	all.Go(func() { kills = kill(ctx, t, processes[1:]) })
	all.Go(func() {
		select {
		case <-ctx.Done():
		case <-time.After(duration / 2):
			redis.Kill()
			redis.Start(t)
		}
	})
	all.Wait()
	slices.Sort(slowest)
	t.Logf("%d requests counted, %d repeated, %d kills, %d freezes, 1 restart of the store; slowest request per client %s to %s",
		counted.Load(), repeated.Load(), kills, freezes, slowest[0], slowest[clients-1])
	if kills == 0 || freezes == 0 || counted.Load() < 100 {
		t.Error("nothing happened")
	}
}

// count is one client: it sends each request to any replica until it is answered, as a balancer would that avoids for a
// while what has not answered.
func count(ctx context.Context, t *testing.T, processes []*replicaProcess) (n uint64, repeated int, slowest time.Duration) {
	avoid := make([]time.Time, len(processes))
	request := func(query string) (int, string) {
		i := rand.IntN(len(processes))
		for range processes {
			if time.Now().After(avoid[i]) {
				break
			}
			i = (i + 1) % len(processes)
		}
		begun := time.Now()
		status, answer := ask(t.Context(), "http://"+processes[i].cfg.Browsers+query)
		if time.Since(begun) >= askTimeout {
			avoid[i] = time.Now().Add(askTimeout)
		}
		return status, answer
	}
	var key sessionstore.Key
	for {
		if ctx.Err() != nil {
			return 0, 0, 0
		}
		key = storetest.NewKey()
		if status, _ := request("/new?key=" + string(key)); status == http.StatusOK {
			break
		}
	}
	for n = 1; ctx.Err() == nil; n++ {
		begun := time.Now()
		for tries := 0; ; tries++ {
			status, answer := request(fmt.Sprintf("/?key=%s&number=%d", key, n))
			if status == http.StatusOK {
				if answer != fmt.Sprint(n) {
					t.Errorf("after %d requests the sum is %s", n, answer)
					return n, repeated, slowest
				}
				break
			}
			if status == http.StatusNotFound || status == http.StatusConflict || time.Since(begun) > time.Minute {
				t.Errorf("request %d: status %d after %s", n, status, time.Since(begun))
				return n, repeated, slowest
			}
			repeated++
			time.Sleep(20 * time.Millisecond) // a client's back-off
		}
		slowest = max(slowest, time.Since(begun))
	}
	return n - 1, repeated, slowest
}

// freezeLong is longer than it takes others to notice and to take the sessions over.
const freezeLong = silence + beat + redialTimeout + 3*processLease/2

// freeze freezes and thaws a replica.
func freeze(ctx context.Context, t *testing.T, p *replicaProcess) (freezes int) {
	for {
		select {
		case <-ctx.Done():
			return freezes
		case <-time.After(3 * processLease / 2): // in which it gets sessions
		}
		freezes++
		p.Freeze()
		time.Sleep(freezeLong)
		p.Thaw()
		storetest.Until(t, "replica", func() bool { return p.ready(t.Context()) })
	}
}

// kill kills one replica after the other; the rest is well.
func kill(ctx context.Context, t *testing.T, processes []*replicaProcess) (kills int) {
	for {
		select {
		case <-ctx.Done():
			return kills
		case <-time.After(300 * time.Millisecond):
		}
		p := processes[rand.IntN(len(processes))]
		kills++
		p.Kill()
		time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
		p.start(t)
		storetest.Until(t, "replica", func() bool { return p.ready(t.Context()) })
	}
}
