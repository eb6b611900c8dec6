package sessionstore_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stanzagate/sessionstore"
	"stanzagate/sessionstore/storetest"
)

// When the store stops answering, all calls return in time, however many there are: what waits for a flight does not wait
// for many.
func TestManyCallsOfAStoreThatStalls(t *testing.T) {
	server := storetest.StartRedis(t)
	p := newProxy(t, server.Addr())
	const timeout = time.Second
	r := joinRedis(t, sessionstore.RedisConfig{URLs: []string{p.url()}, Self: storetest.Self("a"), Timeout: timeout})
	hold := createIn(t, r)
	p.stall()
	var all sync.WaitGroup
	var slowest atomic.Int64
	for range 5000 {
		all.Go(func() {
			begun := time.Now()
			if err := r.Check(context.Background(), hold); err == nil {
				t.Error("an answer")
			}
			took := int64(time.Since(begun))
			for was := slowest.Load(); took > was && !slowest.CompareAndSwap(was, took); was = slowest.Load() {
			}
		})
	}
	all.Wait()
	if took := time.Duration(slowest.Load()); took > 3*timeout { // two, and what a busy machine adds
		t.Errorf("the slowest took %s", took)
	}
}

// All browsers of a replica that has stopped come to the others at once. Its lease is asked for as their claims are, many in
// a round trip, so that this replica's own lease does not wait behind them.
func TestManyClaimsAtOnce(t *testing.T) {
	server := storetest.StartRedis(t)
	p := newProxy(t, server.Addr())
	dead := joinRedis(t, sessionstore.RedisConfig{URLs: []string{"redis://" + server.Addr()}, Self: storetest.Self("dead")})
	var keys []sessionstore.Key
	for range 3000 {
		keys = append(keys, createIn(t, dead).Key)
	}
	r := joinRedis(t, sessionstore.RedisConfig{URLs: []string{p.url()}, Self: storetest.Self("a")})
	dead.Abandon()
	server.Must(t, "DEL stanzagate:r:"+dead.Self().ID)
	server.Must(t, "SCRIPT FLUSH") // as if it had been restarted
	p.delay(20 * time.Millisecond)
	var all sync.WaitGroup
	var failed atomic.Int32
	fenced := false
	for _, key := range keys {
		all.Go(func() {
			if got, err := r.Claim(context.Background(), key, sessionstore.Claim{}); err != nil || got.Loss != sessionstore.LossExpired {
				if failed.Add(1) == 1 {
					t.Errorf("%+v, %v", got, err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	begun := time.Now()
	for tick := time.NewTicker(10 * time.Millisecond); ; <-tick.C {
		fenced = fenced || r.Fenced()
		select {
		case <-done:
			if failed.Load() > 0 || fenced {
				t.Errorf("%d of %d claims failed; fenced %t", failed.Load(), len(keys), fenced)
			}
			t.Logf("%d claims in %s", len(keys), time.Since(begun))
			return
		default:
		}
	}
}
