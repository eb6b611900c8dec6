package replica

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"time"

	"stanzagate/sessionstore"
)

// ClientConfig is what a Client needs to know.
type ClientConfig struct {
	Identity *Identity
	Metrics  Metrics // nil: none
}

// Metrics receives what operators count. Its methods must not block and must be safe for concurrent use.
type Metrics interface {
	// Relayed: a request was handed on. added is how much longer it took than the owner itself needed, the time for
	// which it held the request included; without an answer, how long it took to know that there is none.
	Relayed(outcome Outcome, added time.Duration)
}

type noMetrics struct{}

func (noMetrics) Relayed(Outcome, time.Duration) {}

// Client is the browser's side of handing on. Safe for concurrent use. It ends with Close.
type Client struct {
	// immutable
	cfg     ClientConfig
	ctx     context.Context // of connecting; ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup // connections; added to under mu, while not closed

	mu sync.Mutex
	// guarded by mu
	links  map[string]*link // by address
	closed bool
}

const (
	dialTimeout = 2 * time.Second // TCP and TLS
	// redialTimeout is how long a request waits for another connection when one has broken. That an address refuses, or
	// that another process is there, is known in less.
	redialTimeout = 500 * time.Millisecond
	sendTimeout   = 30 * time.Second // for a browser to fetch an answer
)

// NewClient checks cfg. Nothing is connected before the first request.
func NewClient(cfg ClientConfig) (*Client, error) {
	if cfg.Identity == nil {
		return nil, errors.New("relay client: no identity")
	}
	if cfg.Metrics == nil {
		cfg.Metrics = noMetrics{}
	}
	c := &Client{cfg: cfg, links: map[string]*link{}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c, nil
}

// Relay hands a request on to a replica and passes its answer on to the browser. It returns when the answer has been
// written, the browser is gone, or it is known that there will be no answer.
func (c *Client) Relay(req Request, to sessionstore.Replica) Outcome { return c.send(req, to, false) }

// Insist is Relay to an owner that is fenced, for want of anybody else who could serve the request.
func (c *Client) Insist(req Request, to sessionstore.Replica) Outcome { return c.send(req, to, true) }

func (c *Client) send(req Request, to sessionstore.Replica, insist bool) Outcome {
	begun := time.Now()
	o, held := Unknown, time.Duration(0)
	if l := c.link(to.Address); l != nil {
		o, held = c.relay(l, req, outbound(req, to, insist))
		l.note(o)
	}
	c.cfg.Metrics.Relayed(o, max(0, time.Since(begun)-held))
	return o
}

// relay makes up to two attempts: one on the connection that stands, and if that breaks one on another, which tells
// whether the process is still there.
func (c *Client) relay(l *link, req Request, m *message) (o Outcome, held time.Duration) {
	ctx := req.R.Context()
	for patience := dialTimeout; ; patience = redialTimeout {
		conn, err := l.connectWithin(ctx, patience)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return Gone, 0
		case errors.Is(err, syscall.ECONNREFUSED):
			return Dead, 0
		default:
			return Unknown, 0
		}
		a, err := conn.ask(ctx, m)
		switch {
		case err == nil:
			return pass(req, a), time.Duration(a.held) * time.Microsecond //nolint:gosec // at most maxHeld
		case ctx.Err() != nil:
			return Gone, 0
		}
		l.discard(conn)
		if patience == redialTimeout {
			return Unknown, 0
		}
	}
}

// pass passes an answer on.
func pass(req Request, a *answer) Outcome {
	switch a.says {
	case saysThis:
	case saysNotMine:
		return NotMine
	case saysStranger:
		return Dead // the address is the owner's no more
	case saysFenced:
		return Fenced
	case saysAborted:
		return Aborted
	default: // a newer gateway
		return Unknown
	}
	w := req.W
	out := w.Header()
	maps.Copy(out, a.header)
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Now().Add(sendTimeout)) // connections without deadlines are those of tests
	if len(a.body) > 0 {
		out["Content-Length"] = []string{strconv.Itoa(len(a.body))}
	}
	w.WriteHeader(a.status)
	if len(a.body) > 0 { // with some statuses not even nothing may be written
		if _, err := w.Write(a.body); err != nil {
			return Gone
		}
	}
	if req.R.ProtoMajor < 2 {
		// net/http keeps a deadline of HTTP/1 for the next request on the connection.
		if err := control.Flush(); err != nil {
			return Gone
		}
		_ = control.SetWriteDeadline(time.Time{})
	}
	return Answered
}

// Unreachable returns for how long a replica has not been reached although it was tried; 0 if the last try succeeded. After
// five seconds the session of a replica that is alive in the store may be taken by force (failover-design 7.1).
func (c *Client) Unreachable(address string) time.Duration {
	c.mu.Lock()
	l := c.links[address]
	c.mu.Unlock()
	if l == nil {
		return 0
	}
	return l.unreachable()
}

// Close closes all connections. Requests that are under way end as Unknown.
func (c *Client) Close() {
	c.cancel()
	c.mu.Lock()
	c.closed = true
	for _, l := range c.links {
		l.close()
	}
	c.mu.Unlock()
	c.running.Wait()
}

// dial connects on a goroutine of its own, which then reads and which Close waits for. False: closed.
func (c *Client) dial(l *link, d *dial) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.running.Go(func() {
		conn, err := c.connect(l.address)
		if l.dialed(d, conn, err) {
			conn.run()
		}
	})
	return true
}

func (c *Client) connect(address string) (*caller, error) {
	ctx, cancel := context.WithTimeout(c.ctx, dialTimeout)
	defer cancel()
	raw, err := (&net.Dialer{KeepAlive: -1}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, c.cfg.Identity.clientTLS())
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("handshake: %w", err)
	}
	return newCaller(conn), nil
}

// link returns what leads to an address; nil after Close. Links that were not used for long make room for new ones, so
// that replicas that are no more are forgotten.
func (c *Client) link(address string) *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	l := c.links[address]
	if l == nil {
		for a, old := range c.links {
			if old.idle() > linkLife {
				old.close()
				delete(c.links, a)
			}
		}
		l = &link{client: c, address: address, used: time.Now()}
		c.links[address] = l
	}
	return l
}

// linkLife is after how long without use a link may be forgotten.
const linkLife = time.Hour
