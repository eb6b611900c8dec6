//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// traffic is pairs of BOSH sessions that send each other numbered messages, and a witness who sees their presence.
type traffic struct {
	t        *testing.T
	pause    time.Duration // mean time between two messages of one session
	clients  []*client
	peers    []string
	witness  *client
	received atomic.Int64
	sent     []atomic.Int64
	toward   []numbering // what was sent to each client
	loose    bool        // of server
	lost     int64       // after settle, if the server is loose
	readers  sync.WaitGroup
	cancel   context.CancelFunc
}

// newTraffic logs the sessions in, by the mechanisms in turn.
func newTraffic(t *testing.T, s *server, ep endpoint, sessions int, mechanisms ...string) *traffic {
	if len(mechanisms) == 0 {
		mechanisms = []string{"SCRAM-SHA-1", "PLAIN"}
	}
	l := &traffic{loose: s.loose, t: t, pause: 50 * time.Millisecond, sent: make([]atomic.Int64, sessions), toward: make([]numbering, sessions)}
	l.witness = stubbornClient(t, ep, s.domain, true)
	l.witness.login(mechanisms[0], s.account(t), password, "witness")
	l.witness.send(`<presence xmlns="jabber:client"/>`)
	var wg sync.WaitGroup
	turns := make(chan struct{}, 16)
	l.clients = make([]*client, sessions)
	users := make([]string, len(l.clients))
	accounts := make([]string, min(sessions, 40)) // more sessions share them
	for i := range accounts {
		accounts[i] = s.account(t)
	}
	for i := range users {
		users[i] = accounts[i%len(accounts)]
		l.clients[i] = stubbornClient(t, ep, s.domain, i%4 < 2)
	}
	for i, c := range l.clients {
		wg.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			c.login(mechanisms[i%len(mechanisms)], users[i], password, fmt.Sprintf("traffic%d", i))
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for i, c := range l.clients {
		// Directed only: the sessions of one account would tell each other of every change.
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

// stubbornClient repeats requests for two minutes, as browsers' libraries do.
func stubbornClient(t *testing.T, ep endpoint, domain string, acks bool) *client {
	c := newClient(t, "bosh", ep, domain)
	b := c.tr.(*boshTransport)
	b.acks, b.repeat = acks, 2*time.Minute
	return c
}

// talk sends from everybody until the context ends.
func (l *traffic) talk(ctx context.Context) {
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
				case <-time.After(l.pause/4 + rand.N(l.pause*3/2)):
				}
			}
		})
	}
	wg.Wait()
}

// read takes what one client gets and checks every number.
func (l *traffic) read(ctx context.Context, i int) {
	for {
		n, err := l.clients[i].in.take(ctx, "a message", func(n *node) bool { return n.is(nsClient, "message") && n.kid("body") != nil })
		if err != nil {
			if ctx.Err() == nil {
				l.t.Errorf("client %d: %v", i, err)
			}
			return
		}
		number, err := strconv.ParseInt(n.kid("body").Text, 10, 64)
		if err != nil {
			l.t.Errorf("client %d got %q", i, n.kid("body").Text)
			continue
		}
		if n.attr("type") == "error" {
			if err := l.toward[i^1].comesBack(number); err != nil || !l.loose {
				l.t.Errorf("client %d got %d back: %v %v", i, number, n.kid("error"), err)
			}
			continue
		}
		ordered, err := l.toward[i].arrives(number)
		if err != nil || !ordered && !l.loose {
			l.t.Errorf("client %d got %d out of order: %v", i, number, err)
		}
		l.received.Add(1)
	}
}

// settle waits until everything has arrived and checks that nobody left.
func (l *traffic) settle() {
	patience := 60 * time.Second
	if l.loose {
		patience = 20 * time.Second
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := until(ctx, "arrival of every message", nil, func() bool {
		for i := range l.toward {
			if !l.toward[i].settled(l.sent[i^1].Load()) {
				return false
			}
		}
		return true
	})
	if err != nil && !l.loose {
		l.t.Error(err)
	}
	l.cancel()
	l.readers.Wait()
	for i, c := range l.clients {
		lost, err := l.toward[i].verify(l.sent[i^1].Load())
		if l.lost += lost; err != nil || lost > 0 && !l.loose {
			l.t.Errorf("client %d: %d messages lost, %v", i, lost, err)
		}
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

// irregular says what has become of messages beside arriving in order.
func (l *traffic) irregular() string {
	var overtaken, returned int64
	for i := range l.toward {
		_, o, r := l.toward[i].counts()
		overtaken, returned = overtaken+o, returned+r
	}
	return fmt.Sprintf("%d of them overtaken, %d given back by the server, %d lost", overtaken, returned, l.lost)
}

func (l *traffic) repeats() (n int64) {
	for _, c := range l.clients {
		n += c.tr.(*boshTransport).repeats.Load()
	}
	return n
}
