package bosh

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"stanzagate/internal/xmpptest"
)

// talker is a browser that sends and polls at the same time, on connections that it sometimes breaks off.
type talker struct {
	*browser
	rng  *rand.Rand
	want int // messages that are to come
	stop context.CancelFunc
	ctx  context.Context

	slots chan struct{} // requests that may be open
	polls chan struct{} // how many of them may be empty (XEP-0124 §11)

	mu      sync.Mutex
	answers map[int]reply // by rid, not looked at yet
	seen    int           // the highest rid whose answer has been looked at
	got     []int         // numbers of messages, as they came
	failure error
}

func newTalker(r *rig, client *http.Client, name string, hold, want int, seed uint64) *talker {
	b := r.loginWith(client, name, fmt.Sprintf("ver='1.11' wait='2' hold='%d'", hold))
	ctx, stop := context.WithCancel(context.Background())
	return &talker{
		browser: b, rng: rand.New(rand.NewPCG(seed, 1)), want: want, ctx: ctx, stop: stop,
		slots: make(chan struct{}, hold+1), polls: make(chan struct{}, hold), answers: map[int]reply{}, seen: b.rid,
	}
}

// ask takes a slot and sends one request, again and again until it is answered.
func (k *talker) ask(wg *sync.WaitGroup, payload string) {
	if payload == "" {
		k.polls <- struct{}{}
	}
	k.slots <- struct{}{}
	k.mu.Lock()
	body := k.next("", payload)
	rid := k.rid
	breaks := k.rng.IntN(8) == 0
	k.mu.Unlock()
	wg.Go(func() {
		defer func() {
			<-k.slots
			if payload == "" {
				<-k.polls
			}
		}()
		for {
			ctx, cancel := context.WithCancel(context.Background())
			if breaks {
				time.AfterFunc(time.Duration(rid%7)*time.Millisecond, cancel)
				breaks = false
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, k.url, strings.NewReader(body))
			if err != nil {
				k.fail(err)
				cancel()
				return
			}
			out := k.send(k.client, req)
			cancel()
			if out.err == nil && out.status == http.StatusOK && out.attr("type") != "error" {
				k.answered(rid, out)
				return
			}
			if out.err == nil && out.status != http.StatusServiceUnavailable && out.attr("type") != "error" {
				k.fail(fmt.Errorf("status %d: %s", out.status, out.raw))
				return
			}
		}
	})
}

func (k *talker) fail(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failLocked(err)
}

func (k *talker) failed() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.failure != nil
}

func (k *talker) failLocked(err error) {
	if k.failure == nil {
		k.failure = err
	}
	k.stop()
}

// answered looks at answers in the order of their rids.
func (k *talker) answered(rid int, out reply) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.answers[rid] = out
	for {
		next, ok := k.answers[k.seen+1]
		if !ok {
			return
		}
		k.seen++
		delete(k.answers, k.seen)
		if next.attr("type") != "" {
			k.failLocked(fmt.Errorf("rid %d: %s", k.seen, next.raw))
		}
		for _, m := range next.Nodes {
			n, err := strconv.Atoi(m.Nodes[0].Text)
			if err != nil {
				k.failLocked(fmt.Errorf("got %s", next.raw))
			}
			k.got = append(k.got, n)
		}
		if len(k.got) >= k.want {
			k.stop()
		}
	}
}

// run sends count messages, and polls until all that are to come are there.
func (k *talker) run(to string, count int) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for k.ctx.Err() == nil {
			k.ask(&wg, "")
		}
	})
	for n := 1; n <= count && !k.failed(); n++ {
		k.ask(&wg, message(to, strconv.Itoa(n)))
	}
}

// Many sessions at once, on connections that break: every message comes once, and in order.
//
// Covers: BOSH-018, BOSH-071, BOSH-129, BOSH-136, BOSH-168.
func TestManySessions(t *testing.T) {
	const pairs, count = 12, 25
	r := newRig(t, xmpptest.Options{}, Config{Polling: time.Second})
	transport := &http.Transport{MaxIdleConnsPerHost: 1000}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	var talkers []*talker
	for i := range 2 * pairs {
		talkers = append(talkers, newTalker(r, client, "user"+strconv.Itoa(i), 1+i%2, count, uint64(i)))
	}
	var wg sync.WaitGroup
	for i, k := range talkers {
		wg.Go(func() { k.run("user"+strconv.Itoa(i^1)+"@example.org", count) })
	}
	wg.Wait()
	for i, k := range talkers {
		if k.failure != nil {
			t.Errorf("user%d: %v", i, k.failure)
		}
		for n, got := range k.got {
			if got != n+1 {
				t.Errorf("user%d: message %d is %v", i, n, k.got)
				break
			}
		}
		if len(k.got) != count {
			t.Errorf("user%d: %d messages", i, len(k.got))
		}
		k.say("type='terminate'", "")
	}
	if n := r.h.Sessions(); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}
