package upstream

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"stanzagate/internal/xmpptest"
)

// vault is a Sealer that hides nothing, but checks what a secret is tied to.
type vault struct{}

func (vault) Seal(plain, associated []byte) ([]byte, error) {
	return append(append(bytes.Clone(associated), 0), plain...), nil
}

func (vault) Open(sealed, associated []byte) ([]byte, error) {
	plain, ok := bytes.CutPrefix(sealed, append(bytes.Clone(associated), 0))
	if !ok {
		return nil, errors.New("sealed for something else")
	}
	return plain, nil
}

// session is an Owner, and remembers what it was asked.
type session struct {
	*Owner

	mu      sync.Mutex
	h       uint32 // what the browser surely has
	agents  []string
	asked   int // Resuming
	renewed [][]byte
	refuse  error // of Resuming
}

func newSession() *session {
	x := &session{}
	x.Owner = &Owner{
		Sealer: vault{}, Max: 150 * time.Second,
		Agent: func(_ context.Context, bare string) (Agent, error) {
			x.mu.Lock()
			defer x.mu.Unlock()
			x.agents = append(x.agents, bare)
			return Agent{ID: "4f0e5a0c-0000-4000-8000-000000000001", Slot: 1}, nil
		},
		Resuming: func(context.Context) (uint32, error) {
			x.mu.Lock()
			defer x.mu.Unlock()
			x.asked++
			return x.h, x.refuse
		},
		Renewed: func(_ context.Context, state []byte) error {
			x.mu.Lock()
			defer x.mu.Unlock()
			x.renewed = append(x.renewed, state)
			return nil
		},
	}
	return x
}

func (x *session) has(h uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.h = h
}

func (x *session) resumptions() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.asked
}

// modern is a server with all that fail-over needs.
func modern() xmpptest.Options {
	return xmpptest.Options{Resumable: true, SASL2: &xmpptest.SASL2{FAST: []string{htExporter, htNone}, Types: true}}
}

// managedDialer serves the server with fail-over on.
func managedDialer(t testing.TB, cfg Config, settings ...string) *Dialer {
	t.Helper()
	cfg.Domains = settings
	if cfg.Failover == nil {
		cfg.Failover = &Failover{}
	}
	return newDialer(t, cfg)
}

// enter logs in over a managed stream and returns what KindEnabled says. The bind result is next.
func (c *conn) enter(user string) Event {
	c.t.Helper()
	c.expect("features")
	c.signIn(plainAuth(user, "secret"))
	c.forward(bindRequest)
	ev := c.next()
	if ev.Kind != KindEnabled {
		c.t.Fatalf("want KindEnabled, got kind %d %s", ev.Kind, ev.Element.Raw)
	}
	return ev
}

// signIn goes from <auth/> to the features behind the restart.
func (c *conn) signIn(auth string) {
	c.t.Helper()
	c.forward(auth)
	c.expect("success")
	if err := c.Restart(Opening{Lang: c.client.Lang}); err != nil {
		c.t.Fatal(err)
	}
	c.expect("features")
}

// resumable opens a stream that can be resumed by token.
func resumable(t testing.TB, d *Dialer, x *session) *conn {
	t.Helper()
	c := openWith(t, d, Opening{Managed: true, Owner: x.Owner})
	if ev := c.enter("juliet"); ev.Class != ClassFAST || !ev.Acks || ev.Early != 0 {
		t.Fatalf("%+v", ev)
	}
	c.expect("iq")
	return c
}

// counted returns the next element, which must count. Acks are skipped.
func (c *conn) counted() string {
	c.t.Helper()
	ev := c.next()
	for ev.Kind == KindAcked {
		ev = c.next()
	}
	if ev.Kind != KindElement || !ev.Counted {
		c.t.Fatalf("want a counted stanza, got %+v %s", ev, ev.Element.Raw)
	}
	return string(ev.Element.Raw)
}

// until skips elements up to an event of that kind.
func (c *conn) until(kind Kind) Event {
	c.t.Helper()
	for {
		if ev := c.next(); ev.Kind == kind {
			return ev
		}
	}
}
