//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// chaosCase is one server under which replicas die.
type chaosCase struct {
	name  string
	start func() (*server, error)
	tls   bool
}

var chaosCases = []chaosCase{
	{"prosody13 plain", func() (*server, error) { return startProsody13(false) }, false},
	{"prosody13 STARTTLS", func() (*server, error) { return startProsody13(true) }, true},
	{"ejabberd24 STARTTLS", startEjabberd24, true},
}

// TestChaos: replicas are killed, frozen and restarted under load, and no BOSH session and no stanza is lost, doubled or
// reordered. E2E_CHAOS_SECONDS lengthens the run.
//
// Covers: BOSH-136, BOSH-141, UP-122, UP-123, UP-124, UP-125, UP-127.
func TestChaos(t *testing.T) {
	seconds := 20
	if s := os.Getenv("E2E_CHAOS_SECONDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		seconds = n
	}
	for _, c := range chaosCases {
		t.Run(c.name, func(t *testing.T) {
			s, err := c.start()
			if isMissing(err) {
				missing(t, err)
			} else if err != nil {
				t.Fatal(err)
			}
			showLogs(t, s.procs...)
			t.Cleanup(func() {
				for _, p := range s.procs {
					p.stop()
				}
			})
			runChaos(t, s, c.tls, time.Duration(seconds)*time.Second)
		})
	}
}

const chaosPairs = 20

func runChaos(t *testing.T, s *server, tls bool, duration time.Duration) {
	redis := startRedis(t, true)
	ca, err := testCA()
	if err != nil {
		t.Fatal(err)
	}
	setting := s.setting(s.domain, ca.file)
	if !tls {
		setting = fmt.Sprintf("%s=xmpp://127.0.0.1:%d?tls=none", s.domain, s.port)
	}
	replicas := startReplicas(t, 3, redis, "--domain", setting, "--bosh.inactivity", "60s")
	figures := newFigures(replicas)
	port := startHAProxy(t, replicas)
	ep := endpoint{bosh: fmt.Sprintf("http://127.0.0.1:%d/http-bind", port)}

	load := newChaosLoad(t, s, ep)
	ctx, stop := context.WithTimeout(t.Context(), duration)
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { load.talk(ctx) })
	wg.Go(func() { havoc(ctx, t, replicas, figures) })
	time.AfterFunc(duration/2, func() {
		_ = redis.proc.cmd.Process.Kill()
		<-redis.proc.done
		redis.start(t)
	})
	wg.Wait()
	for _, r := range replicas {
		if err := r.ready(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	load.settle()
	figures.collect()
	t.Logf("%d messages, %d requests repeated; %s", load.received.Load(), load.repeats(), figures)
}

// havoc kills or freezes a replica every half second, and restarts all of them in turn once in the middle. At least one is
// always well.
func havoc(ctx context.Context, t *testing.T, replicas []*replica, f *figures) {
	const (
		pause  = 500 * time.Millisecond
		frozen = 4 * time.Second // longer than the lease
	)
	var ill sync.WaitGroup
	defer ill.Wait()
	var down atomic.Int32
	busy := make([]atomic.Bool, len(replicas))
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		i := rand.IntN(len(replicas))
		if int(down.Load()) >= len(replicas)-1 || busy[i].Load() {
			continue
		}
		r := replicas[i]
		busy[i].Store(true)
		down.Add(1)
		ill.Go(func() {
			defer func() {
				busy[i].Store(false)
				down.Add(-1)
			}()
			switch {
			case n%6 == 5:
				f.freezes.Add(1)
				r.freeze()
				time.Sleep(frozen)
				r.thaw()
			case n%10 == 9:
				f.restarts.Add(1)
				f.collectFrom(r)
				r.process().stop()
				r.mustStart(t)
			default:
				f.kills.Add(1)
				f.collectFrom(r)
				r.kill()
				time.Sleep(time.Duration(rand.IntN(600)) * time.Millisecond)
				r.mustStart(t)
			}
		})
	}
}

func (r *replica) mustStart(t *testing.T) {
	if err := r.start(); err != nil {
		t.Error(err)
		return
	}
	if err := r.ready(context.Background()); err != nil {
		t.Error(err)
	}
}

// chaosLoad is pairs of sessions that send each other numbered messages, and a witness who sees their presence.
type chaosLoad struct {
	t        *testing.T
	clients  []*client
	peers    []string
	witness  *client
	received atomic.Int64
	sent     []atomic.Int64
	got      []atomic.Int64
	readers  sync.WaitGroup
	cancel   context.CancelFunc
}

func newChaosLoad(t *testing.T, s *server, ep endpoint) *chaosLoad {
	l := &chaosLoad{t: t, sent: make([]atomic.Int64, 2*chaosPairs), got: make([]atomic.Int64, 2*chaosPairs)}
	l.witness = stubbornClient(t, ep, s.domain, true)
	l.witness.login("SCRAM-SHA-1", s.account(t), password, "witness")
	l.witness.send(`<presence xmlns="jabber:client"/>`)
	var wg sync.WaitGroup
	l.clients = make([]*client, 2*chaosPairs)
	users := make([]string, len(l.clients))
	for i := range users {
		users[i] = s.account(t)
		l.clients[i] = stubbornClient(t, ep, s.domain, i%4 < 2)
	}
	for i, c := range l.clients {
		wg.Go(func() { c.login([]string{"SCRAM-SHA-1", "PLAIN"}[i%2], users[i], password, "chaos") })
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for i, c := range l.clients {
		c.send(`<presence xmlns="jabber:client"/>`)
		c.send(`<presence xmlns="jabber:client" to="%s"/>`, l.witness.jid)
		l.peers = append(l.peers, l.clients[i^1].jid)
	}
	for _, c := range l.clients {
		l.witness.awaitPresence(c.jid, "")
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	t.Cleanup(cancel)
	for i := range l.clients {
		l.readers.Go(func() { l.read(ctx, i) })
	}
	return l
}

// stubbornClient repeats requests for a minute, as browsers' libraries do.
func stubbornClient(t *testing.T, ep endpoint, domain string, acks bool) *client {
	c := newClient(t, "bosh", ep, domain)
	b := c.tr.(*boshTransport)
	b.acks, b.repeat = acks, time.Minute
	return c
}

// talk sends from everybody until the context ends.
func (l *chaosLoad) talk(ctx context.Context) {
	var wg sync.WaitGroup
	for i, c := range l.clients {
		wg.Go(func() {
			for ctx.Err() == nil {
				n := l.sent[i].Load()
				if err := c.tr.send(ctx, fmt.Sprintf(`<message xmlns="jabber:client" to="%s" type="chat"><body>%d</body></message>`, l.peers[i], n)); err != nil {
					l.t.Errorf("client %d: %v", i, err)
					return
				}
				l.sent[i].Add(1)
				select {
				case <-ctx.Done():
				case <-time.After(time.Duration(10+rand.IntN(80)) * time.Millisecond):
				}
			}
		})
	}
	wg.Wait()
}

// read takes what one client gets and checks every number.
func (l *chaosLoad) read(ctx context.Context, i int) {
	for next := int64(0); ; {
		n, err := l.clients[i].in.take(ctx, "a message", func(n *node) bool { return n.is(nsClient, "message") && n.kid("body") != nil })
		if err != nil {
			if ctx.Err() == nil {
				l.t.Errorf("client %d: %v", i, err)
			}
			return
		}
		got, err := strconv.ParseInt(n.kid("body").Text, 10, 64)
		if err != nil || got != next {
			l.t.Errorf("client %d got %q, want %d", i, n.kid("body").Text, next)
			next = got
		}
		next++
		l.received.Add(1)
		l.got[i].Add(1)
	}
}

// settle waits until everything has arrived and checks that nobody left.
func (l *chaosLoad) settle() {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	err := until(ctx, "arrival of every message", nil, func() bool {
		for i := range l.got {
			if l.got[i].Load() < l.sent[i^1].Load() {
				return false
			}
		}
		return true
	})
	if err != nil {
		for i := range l.got {
			if got, want := l.got[i].Load(), l.sent[i^1].Load(); got != want {
				l.t.Errorf("client %d got %d of %d", i, got, want)
			}
		}
	}
	l.cancel()
	l.readers.Wait()
	for i, c := range l.clients {
		if c.in.overNow() != nil {
			l.t.Errorf("session %d ended: %v", i, c.in.overNow())
		}
	}
	ping := l.witness.query("get", "", `<query xmlns="jabber:iq:roster"/>`) // everything before it has been delivered
	if ping.attr("type") != "result" {
		l.t.Errorf("the witness got %v", ping)
	}
	if n := l.witness.in.find(func(n *node) bool { return n.is(nsClient, "presence") && n.attr("from") != l.witness.jid }); n != nil {
		l.t.Errorf("the witness saw %v", n)
	}
}

func (l *chaosLoad) repeats() (n int64) {
	for _, c := range l.clients {
		n += c.tr.(*boshTransport).repeats.Load()
	}
	return n
}
