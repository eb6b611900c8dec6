package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
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
	cfg       ClientConfig
	transport *http.Transport
	ctx       context.Context // of connecting; ends with Close
	cancel    context.CancelFunc
	dialing   sync.WaitGroup // added to under mu, while not closed

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
	// wholeBytes is up to which size an answer is read to its end before the browser gets the first byte: if the owner
	// dies in the middle, the browser need not notice.
	wholeBytes = 64 * 1024
)

// NewClient checks cfg. Nothing is connected before the first request.
func NewClient(cfg ClientConfig) (*Client, error) {
	if cfg.Identity == nil {
		return nil, errors.New("relay client: no identity")
	}
	if cfg.Metrics == nil {
		cfg.Metrics = noMetrics{}
	}
	protocols := &http.Protocols{}
	protocols.SetHTTP2(true)
	c := &Client{
		cfg: cfg, links: map[string]*link{},
		transport: &http.Transport{
			Protocols: protocols, TLSClientConfig: cfg.Identity.clientTLS(), TLSHandshakeTimeout: dialTimeout,
			DialContext: (&net.Dialer{Timeout: dialTimeout, KeepAlive: -1}).DialContext, DisableCompression: true,
			HTTP2: &http.HTTP2Config{
				SendPingTimeout: pingAfter, PingTimeout: pingWait,
				MaxReceiveBufferPerConnection: windowBytes, MaxReceiveBufferPerStream: windowBytes,
			},
		},
	}
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
	l := c.link(to.Address)
	o, held := Unknown, time.Duration(0)
	if l != nil {
		header := outbound(req.R, req.Peer, to.Incarnation)
		if insist {
			header[headerInsist] = []string{"1"}
		}
		o, held = c.relay(l, req, header, to)
		l.note(o)
	}
	c.cfg.Metrics.Relayed(o, max(0, time.Since(begun)-held))
	return o
}

// relay makes up to two attempts: one on the connection that stands, and if that breaks one on another, which tells
// whether the process is still there.
func (c *Client) relay(l *link, req Request, header http.Header, to sessionstore.Replica) (o Outcome, held time.Duration) {
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
		resp, err := conn.RoundTrip(request(req.R, header, req.Body, to))
		if err == nil {
			o, err := pass(req.W, req.R, resp)
			if err == nil {
				return o, heldFor(resp.Header)
			}
		}
		if ctx.Err() != nil {
			return Gone, 0
		}
		l.discard(conn)
		if patience == redialTimeout {
			return Unknown, 0
		}
	}
}

// request makes the request for the owner.
func request(r *http.Request, header http.Header, body []byte, to sessionstore.Replica) *http.Request {
	out := &http.Request{
		Method: r.Method,
		URL:    &url.URL{Scheme: "https", Host: to.Address, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery},
		Header: header, Host: to.Address, ContentLength: int64(len(body)),
	}
	if len(body) > 0 {
		out.Body = io.NopCloser(bytes.NewReader(body))
	}
	return out.WithContext(r.Context())
}

// pass passes an answer on. An error means that nothing has been written, and the connection is no good.
func pass(w http.ResponseWriter, r *http.Request, resp *http.Response) (Outcome, error) {
	defer resp.Body.Close()
	switch said := resp.Header.Get(headerOutcome); said {
	case "":
	case saysNotMine:
		return NotMine, nil
	case saysStranger:
		return Dead, nil // the address is the owner's no more
	case saysFenced:
		return Fenced, nil
	case saysAborted:
		return Aborted, nil
	default:
		return Unknown, nil // a newer gateway
	}
	whole := resp.ContentLength >= 0 && resp.ContentLength <= wholeBytes
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	b := (*buf)[:wholeBytes]
	if whole {
		b = b[:resp.ContentLength]
		if _, err := io.ReadFull(resp.Body, b); err != nil {
			return Unknown, fmt.Errorf("read answer: %w", err)
		}
	}
	out := w.Header()
	for name, values := range resp.Header {
		if name != headerHeld {
			out[name] = values
		}
	}
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Now().Add(sendTimeout)) // connections without deadlines are those of tests
	if whole && resp.ContentLength > 0 {
		out["Content-Length"] = []string{strconv.FormatInt(resp.ContentLength, 10)}
	}
	w.WriteHeader(resp.StatusCode)
	switch {
	case !whole:
		if _, err := io.CopyBuffer(struct{ io.Writer }{w}, resp.Body, b); err != nil {
			return Broken, nil
		}
	case len(b) > 0: // with some statuses not even nothing may be written
		if _, err := w.Write(b); err != nil {
			return Gone, nil
		}
	}
	if r.ProtoMajor < 2 {
		// net/http keeps a deadline of HTTP/1 for the next request on the connection.
		if err := control.Flush(); err != nil {
			return Gone, nil
		}
		_ = control.SetWriteDeadline(time.Time{})
	}
	return Answered, nil
}

var buffers = sync.Pool{New: func() any { b := make([]byte, wholeBytes); return &b }}

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
	c.dialing.Wait()
}

// dial connects on a goroutine of its own, which Close waits for. False: closed.
func (c *Client) dial(l *link, d *dial) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.dialing.Go(func() {
		ctx, cancel := context.WithTimeout(c.ctx, dialTimeout)
		defer cancel()
		conn, err := c.transport.NewClientConn(ctx, "https", l.address)
		l.dialed(d, conn, err)
	})
	return true
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

// linkLife is after how long without use a link may be forgotten. Idle connections end sooner, at the server.
const linkLife = time.Hour
