//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// TestOvertaking is the control to TestChaos: who is to blame for messages that are overtaken, come back to their sender as
// errors, or are lost. Pairs of sessions without any gateway send each other numbered messages and resume again and again.
// Nothing may be doubled. A server whose sessions are said to be exact has to be; for the other one the figures are only
// printed, as they are a matter of luck.
func TestOvertaking(t *testing.T) {
	for _, c := range chaosCases {
		if !c.tls {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			s := ownServer(t, c.start)
			var resumed, received, overtaken, returned, lost int64
			var mu sync.Mutex
			var wg sync.WaitGroup
			duration := time.Duration(number(t, "E2E_OVERTAKING_SECONDS", 5)) * time.Second
			ctx, stop := context.WithTimeout(t.Context(), duration)
			defer stop()
			for range 10 {
				a, b := rawLogin(t, s), rawLogin(t, s)
				a.peer, b.peer = b, a
				wg.Go(func() {
					n, gone := talkRaw(ctx, t, a, b)
					mu.Lock()
					defer mu.Unlock()
					resumed, lost = resumed+n, lost+gone
					for _, r := range []*rawClient{a, b} {
						got, late, back := r.inbox.counts()
						received, overtaken, returned = received+got, overtaken+late, returned+back
					}
				})
			}
			wg.Wait()
			fmt.Printf("overtaking without a gateway: %s: %d resumptions, %d messages, %d of them overtaken, %d given back by the server, %d lost\n",
				c.name, resumed, received, overtaken, returned, lost)
			if !s.loose && overtaken+returned+lost > 0 {
				t.Errorf("%d messages overtaken, %d given back, %d lost", overtaken, returned, lost)
			}
			if resumed == 0 || received == 0 {
				t.Error("nothing happened")
			}
		})
	}
}

// talkRaw has both sides of a pair send, and resume at once, until the context ends. It returns when all has arrived, with the
// numbers of resumptions and of messages lost.
func talkRaw(ctx context.Context, t *testing.T, a, b *rawClient) (resumed, lost int64) {
	sides := []*rawClient{a, b}
	var sent [2]int64
	var talking sync.WaitGroup
	for i, r := range sides {
		talking.Go(func() {
			for ctx.Err() == nil {
				took := r.send(fmt.Sprintf(`<message to='%s' type='chat'><body>%d</body></message>`, sides[1-i].jid, sent[i]))
				if took {
					sent[i]++
				}
				if !took || rand.IntN(8) == 0 {
					time.Sleep(rand.N(40 * time.Millisecond))
				}
			}
		})
	}
	both := func() {
		var wg sync.WaitGroup
		for _, r := range sides {
			wg.Go(func() {
				if err := r.resume(30 * time.Millisecond); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		resumed += 2
	}
	for wait(ctx, 200*time.Millisecond+rand.N(300*time.Millisecond)) {
		both()
	}
	talking.Wait()
	both() // sends again what was written to a connection that was gone
	late, cancel := context.WithTimeout(context.Background(), stepTimeout)
	defer cancel()
	err := until(late, "arrival of every message", nil, func() bool { return a.inbox.settled(sent[1]) && b.inbox.settled(sent[0]) })
	for i, r := range sides {
		gone, e := r.inbox.verify(sent[1-i])
		if lost += gone; e != nil || err != nil && !r.s.loose {
			t.Error(e, err)
		}
	}
	return resumed, lost
}
