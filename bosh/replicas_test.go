package bosh

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"

	"stanzagate/internal/quota"
	"stanzagate/internal/replica"
	"stanzagate/internal/seal"
	"stanzagate/internal/xmpptest"
	"stanzagate/sessionstore"
	"stanzagate/upstream"
)

// replicas are several Handlers in a bubble that share a store, before one scripted XMPP server. None of them can hand a
// request on: a session moves when its owner is dead or has given it away.
type replicas struct {
	t      testing.TB
	xmpp   *xmpptest.Server
	shared *sessionstore.Memory
	keys   *seal.Keys
	number int
}

// oneReplica is a Handler and what it stands on.
type oneReplica struct {
	*rig
	member *replica.Member
	store  *faultyStore
	counts *failoverTally
	lines  *connections
	stop   func() // ends what is handed on to it; nil in bubbles
}

// resumable is a server with stream management, SASL2 and FAST.
func resumable() xmpptest.Options {
	return xmpptest.Options{Resumable: true, SASL2: &xmpptest.SASL2{FAST: []string{"HT-SHA-256-NONE"}}}
}

func newReplicas(t testing.TB, xo xmpptest.Options) *replicas {
	t.Helper()
	keys, err := seal.New([]byte("a secret of the operator, 32 byte"))
	if err != nil {
		t.Fatal(err)
	}
	return &replicas{t: t, xmpp: xmpptest.New(t, xo), shared: sessionstore.NewMemory(sessionstore.MemoryConfig{}), keys: keys}
}

// pair is two replicas.
func pair(t testing.TB, changes ...func(*Config)) (c *replicas, one, two *oneReplica) {
	t.Helper()
	c = newReplicas(t, resumable())
	return c, c.join(changes...), c.join(changes...)
}

// join starts another replica. It ends with the test.
func (c *replicas) join(changes ...func(*Config)) *oneReplica {
	c.t.Helper()
	c.number++
	view, err := c.shared.Join(sessionstore.Replica{
		ID: "r" + strconv.Itoa(c.number), Incarnation: sessionstore.NewIncarnation(), Address: "192.0.2.9:" + strconv.Itoa(c.number),
	}, 1)
	if err != nil {
		c.t.Fatal(err)
	}
	n := &oneReplica{store: &faultyStore{Store: view}, counts: &failoverTally{}, lines: &connections{dial: func() net.Conn { return buffered(c.xmpp.Pipe()) }}}
	n.member, err = replica.NewMember(replica.MemberConfig{Store: n.store, Keys: c.keys})
	if err != nil {
		c.t.Fatal(err)
	}
	dialer, err := upstream.NewDialer(upstream.Config{
		Domains: []string{"example.org=xmpp://192.0.2.1:5222?tls=none"}, Dial: n.lines.open, Failover: &upstream.Failover{},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	cfg := Config{Dialer: dialer, Replica: n.member, Metrics: n.counts, Quota: quota.New(quota.Config{})}
	for _, change := range changes {
		change(&cfg)
	}
	h, err := New(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	n.rig = &rig{t: c.t, h: h, url: "http://gw.example/http-bind", direct: &http.Client{Transport: directly{h: h}}, xmpp: c.xmpp, counted: &n.counts.tally}
	n.member.Start()
	c.t.Cleanup(func() {
		n.shutdown()
		n.member.Close()
	})
	return n
}

// enter logs a user in; the browser acknowledges responses if ack says so.
func (n *oneReplica) enter(user string, more string) *browser {
	n.t.Helper()
	return n.loginWith(nil, user, defaultAttrs+" "+more)
}

// to is the browser once a balancer brings its requests to another replica.
func (b *browser) to(n *oneReplica) *browser {
	moved := *b
	moved.rig, moved.client = n.rig, nil
	return &moved
}

// kill ends a replica as far as all others see: its lease is over, its connections are cut, and it reaches nobody.
func (n *oneReplica) kill() {
	n.store.set(func(f *faultyStore) { f.dead = true })
	_ = n.store.Store.Close(context.Background()) // a Memory has no errors
	n.lines.sever(true)
}

// from has the browser's address be another one.
func from(addr string) func(*http.Request) {
	return func(r *http.Request) { r.RemoteAddr = net.JoinHostPort(addr, "1234") }
}

// encrypted has the browser come over TLS.
func encrypted(r *http.Request) { r.TLS = &tls.ConnectionState{HandshakeComplete: true} }

// altered is the browser on a connection that is not as usual.
func (b *browser) altered(change func(*http.Request)) *browser {
	other := *b
	other.client = &http.Client{Transport: directly{b.h, change}}
	return &other
}

// key is the name of a browser's record.
func (c *replicas) key(b *browser) sessionstore.Key { return sessionstore.Key(c.keys.RecordKey(b.sid)) }

// view is the store as a replica sees it that serves nobody.
func (c *replicas) view(id, incarnation, port string) sessionstore.Store {
	c.t.Helper()
	view, err := c.shared.Join(sessionstore.Replica{ID: id, Incarnation: incarnation, Address: "192.0.2.9:" + port}, 1)
	if err != nil {
		c.t.Fatal(err)
	}
	return view
}

// recorded reports whether the store has a record of a browser's session. It takes nothing.
func (c *replicas) recorded(b *browser) bool {
	c.t.Helper()
	err := c.view("onlooker", "o1", "99").Check(context.Background(), sessionstore.Hold{Key: c.key(b)})
	if err == nil || !errors.Is(err, sessionstore.ErrNotFound) && !errors.Is(err, sessionstore.ErrNotOwner) {
		c.t.Fatalf("onlooker: %v", err)
	}
	return errors.Is(err, sessionstore.ErrNotOwner)
}

// thief takes a browser's session in the store, as a replica that cannot reach the owner would.
func (c *replicas) thief(b *browser) sessionstore.Claimed {
	c.t.Helper()
	got, err := c.view("thief", "t1", "98").Claim(context.Background(), c.key(b), sessionstore.Claim{Force: true})
	if err != nil {
		c.t.Fatal(err)
	}
	return got
}

const aliceFull = "alice@example.org/browser"

// chat is a stanza for alice.
func chat(text string) string { return "<message><body>" + text + "</body></message>" }

// slotTaken reports whether a user agent of alice is taken.
func (c *replicas) slotTaken(slot int) bool {
	c.t.Helper()
	view := c.view("onlooker", "o2", "97")
	account, probe := sessionstore.Account(c.keys.Account("alice@example.org")), sessionstore.Key("probe")
	n, err := view.TakeSlot(context.Background(), account, probe)
	if err != nil {
		c.t.Fatal(err)
	}
	_ = view.FreeSlot(context.Background(), account, n, probe)
	return n > slot
}

// replicated runs f in a bubble.
func replicated(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}
