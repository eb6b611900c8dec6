//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestOvertaking is the control to TestChaos: who is to blame for messages that are overtaken. Pairs of sessions without any
// gateway send each other numbered messages and resume again and again. Nothing may be lost or doubled. A server whose
// sessions are said to keep the order has to; for the other one the figure is only printed, as it is a matter of luck.
func TestOvertaking(t *testing.T) {
	for _, c := range []chaosCase{chaosCases[1], chaosCases[2]} {
		t.Run(c.name, func(t *testing.T) {
			s := ownServer(t, c.start)
			resumed, received, overtaken := 0, 0, 0
			var mu sync.Mutex
			var wg sync.WaitGroup
			duration := time.Duration(number(t, "E2E_OVERTAKING_SECONDS", 5)) * time.Second
			ctx, stop := context.WithTimeout(t.Context(), duration)
			defer stop()
			for range 10 {
				a, b := rawLogin(t, s), rawLogin(t, s)
				wg.Go(func() {
					n := talkRaw(ctx, t, a, b)
					mu.Lock()
					defer mu.Unlock()
					resumed += n
					for _, r := range []*rawClient{a, b} {
						received += len(r.numbers)
						overtaken += displaced(t, r.numbers)
					}
				})
			}
			wg.Wait()
			fmt.Printf("overtaking without a gateway: %s: %d resumptions, %d messages, %d of them overtaken\n", c.name, resumed, received, overtaken)
			if !s.overtakes && overtaken > 0 {
				t.Errorf("%d messages overtaken", overtaken)
			}
			if resumed == 0 || received == 0 {
				t.Error("nothing happened")
			}
		})
	}
}

// talkRaw has both sides of a pair send, and resume at once, until the context ends. It returns when all has arrived, with the
// number of resumptions.
func talkRaw(ctx context.Context, t *testing.T, a, b *rawClient) (resumed int) {
	sides := []*rawClient{a, b}
	var sent [2]int
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
	arrived := func(i int) int {
		sides[i].mu.Lock()
		defer sides[i].mu.Unlock()
		return len(sides[i].numbers)
	}
	if err := until(late, "arrival of every message", nil, func() bool { return arrived(0) >= sent[1] && arrived(1) >= sent[0] }); err != nil {
		t.Errorf("%d of %d and %d of %d arrived", arrived(0), sent[1], arrived(1), sent[0])
	}
	return resumed
}

// displaced counts the numbers that came behind later ones, and sees to it that each came once.
func displaced(t *testing.T, numbers []int64) (n int) {
	highest := int64(-1)
	for _, number := range numbers {
		if number < highest {
			n++
		}
		highest = max(highest, number)
	}
	sorted := slices.Sorted(slices.Values(numbers))
	for i, number := range sorted {
		if int64(i) != number {
			t.Errorf("number %d is not there, or there twice", i)
			break
		}
	}
	return n
}
