//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// stepTimeout bounds each single expectation of a scenario.
const stepTimeout = 20 * time.Second

// transport is what differs between BOSH and WebSocket.
type transport interface {
	// open starts the session; features arrive like any other element.
	open(ctx context.Context, domain string) error
	// restart asks for a new stream after authentication.
	restart(ctx context.Context) error
	send(ctx context.Context, xml string) error
	// end closes the session as its protocol demands.
	end(ctx context.Context) error
	// drop loses the connection without a word.
	drop()
}

// inbox collects what the other side sent until somebody expects it. Safe for concurrent use.
type inbox struct {
	mu      sync.Mutex
	items   []*node
	over    error // why nothing will come any more
	changed chan struct{}
}

func newInbox() *inbox { return &inbox{changed: make(chan struct{})} }

func (b *inbox) put(n *node) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.items = append(b.items, n)
	b.wakeLocked()
}

// end records the first reason for the end.
func (b *inbox) end(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over == nil {
		b.over = err
		b.wakeLocked()
	}
}

func (b *inbox) wakeLocked() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// take waits for the first element that matches and removes it; the others stay in order.
func (b *inbox) take(ctx context.Context, what string, match func(*node) bool) (*node, error) {
	for {
		b.mu.Lock()
		for i, n := range b.items {
			if match(n) {
				b.items = append(b.items[:i:i], b.items[i+1:]...)
				b.mu.Unlock()
				return n, nil
			}
		}
		over, changed, have := b.over, b.changed, b.describeLocked()
		b.mu.Unlock()
		if over != nil {
			return nil, fmt.Errorf("waiting for %s: session over: %w; unread: %s", what, over, have)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for %s: %w; unread: %s", what, ctx.Err(), have)
		}
	}
}

func (b *inbox) describeLocked() string {
	var s []string
	for _, n := range b.items {
		s = append(s, n.String())
	}
	return strings.Join(s, "\n  ")
}

// ended waits for the end of the session.
func (b *inbox) ended(ctx context.Context) error {
	_, err := b.take(ctx, "the end", func(*node) bool { return false })
	if ctx.Err() != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.over
}

// client is one XMPP client over either transport, owned by one test.
type client struct {
	t        *testing.T
	in       *inbox
	tr       transport
	domain   string
	jid      string // full JID once bound
	features *node
	ids      int
}

// errTerminated is why a session ended that the other side terminated.
type errTerminated struct {
	condition string
	body      *node
}

func (e *errTerminated) Error() string { return "terminated: " + e.condition }

// newClient makes a client for one of an endpoint's transports; it goes away with the test.
func newClient(t *testing.T, kind string, ep endpoint, domain string) *client {
	t.Helper()
	c := &client{t: t, in: newInbox(), domain: domain}
	if kind == "bosh" {
		c.tr = newBOSH(ep.bosh, c.in)
	} else {
		c.tr = newWebSocket(ep.websocket, c.in)
	}
	t.Cleanup(func() {
		if domain == jabberd2Domain && c.jid != "" {
			leaveJabberd2(t, c)
		}
		c.tr.drop()
	})
	return c
}

func (c *client) ctx() context.Context {
	ctx, cancel := context.WithTimeout(c.t.Context(), stepTimeout)
	context.AfterFunc(ctx, cancel)
	return ctx
}

func (c *client) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) await(what string, match func(*node) bool) *node {
	c.t.Helper()
	n, err := c.in.take(c.ctx(), what, match)
	c.must(err)
	return n
}

func (c *client) awaitName(space, local string) *node {
	c.t.Helper()
	return c.await(local, func(n *node) bool { return n.is(space, local) })
}

func (c *client) send(format string, args ...any) {
	c.t.Helper()
	c.must(c.tr.send(c.ctx(), fmt.Sprintf(format, args...)))
}

// open starts the session and waits for the stream features.
func (c *client) open() {
	c.t.Helper()
	c.must(c.tr.open(c.ctx(), c.domain))
	c.features = c.awaitName(nsStreams, "features")
}

func (c *client) offers(mechanism string) bool {
	if list := c.features.kid("mechanisms"); list != nil {
		for _, m := range list.Kids {
			if m.Text == mechanism {
				return true
			}
		}
	}
	return false
}

var errAuth = errors.New("authentication failed")

// login opens, authenticates and binds a resource.
func (c *client) login(mechanism, user, pass, resource string) {
	c.t.Helper()
	c.open()
	c.must(c.authenticate(mechanism, user, pass))
	c.finish(resource)
}

// finish restarts the stream after authentication and binds.
func (c *client) finish(resource string) {
	c.t.Helper()
	c.restart()
	want := ""
	if resource != "" {
		want = "<resource>" + resource + "</resource>"
	}
	reply := c.query("set", "", `<bind xmlns="`+nsBind+`">`+want+`</bind>`)
	if c.jid = ""; reply.kid("bind", "jid") != nil {
		c.jid = reply.kid("bind", "jid").Text
	}
	if c.jid == "" {
		c.t.Fatalf("bind answered %v", reply)
	}
	// Servers that still demand the session of RFC 3921 refuse stanzas without it.
	if s := c.features.kid("session"); s.is(nsSession, "session") && s.kid("optional") == nil {
		c.query("set", "", `<session xmlns="`+nsSession+`"/>`)
	}
}

func (c *client) restart() {
	c.t.Helper()
	c.must(c.tr.restart(c.ctx()))
	c.features = c.awaitName(nsStreams, "features")
}

func (c *client) nextID() string {
	c.ids++
	return fmt.Sprintf("q%d", c.ids)
}

// query sends an IQ and returns its answer, a result or an error.
func (c *client) query(kind, to, payload string) *node {
	c.t.Helper()
	id := c.nextID()
	addr := ""
	if to != "" {
		addr = ` to="` + escape(to) + `"`
	}
	c.send(`<iq xmlns="jabber:client" type="%s" id="%s"%s>%s</iq>`, kind, id, addr, payload)
	return c.await("answer to iq "+id, func(n *node) bool {
		return n.is(nsClient, "iq") && n.attr("id") == id && (n.attr("type") == "result" || n.attr("type") == "error")
	})
}

// awaitMessage waits for the next message with a body from one sender.
func (c *client) awaitMessage(from string) *node {
	c.t.Helper()
	return c.await("message from "+from, func(n *node) bool {
		return n.is(nsClient, "message") && n.attr("from") == from && n.kid("body") != nil
	})
}

func (c *client) awaitPresence(from, kind string) *node {
	c.t.Helper()
	return c.await("presence "+kind+" from "+from, func(n *node) bool {
		return n.is(nsClient, "presence") && n.attr("from") == from && n.attr("type") == kind
	})
}

// overNow returns why the session has ended, nil if it has not.
func (b *inbox) overNow() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.over
}

// find returns an element that is there and matches, without taking it.
func (b *inbox) find(match func(*node) bool) *node {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range b.items {
		if match(n) {
			return n
		}
	}
	return nil
}
