package websocket

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"stanzagate/internal/origin"
	"stanzagate/internal/xmpptest"
	"stanzagate/upstream"
)

const domain = "example.org"

// rig is a Handler behind net/http, in front of a scripted XMPP server.
type rig struct {
	t        testing.TB
	xmpp     *xmpptest.Server
	handler  *Handler
	metrics  *counters
	dial     func() net.Conn    // to the HTTP server
	accepted chan *writeCounter // the Handler's ends of the browsers' connections, without sockets
	taken    int                // connections of the server that latest has gone through
}

// setup changes what newRig starts with.
type setup struct {
	xmpp     xmpptest.Options
	cfg      Config
	upstream upstream.Config
	origins  []string // nil: any
	pipes    bool     // no sockets: for a synctest bubble
	tls      *tls.Config
}

// newRig starts one over loopback TCP, or without sockets. It ends with the test.
func newRig(t testing.TB, s setup) *rig {
	t.Helper()
	r := &rig{t: t, metrics: &counters{ended: map[string]int{}}}
	up := s.upstream
	if s.pipes {
		r.xmpp = xmpptest.New(t, s.xmpp)
		if up.Dial == nil {
			up.Dial = func(context.Context, string, string) (net.Conn, error) { return r.xmpp.Pipe(), nil }
		}
		up.Domains = append(up.Domains, domain+"=xmpp://server.example:5222?tls=none")
	} else {
		r.xmpp = xmpptest.Start(t, s.xmpp)
		up.Domains = append(up.Domains, r.xmpp.Setting(""))
	}
	d, err := upstream.NewDialer(up)
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.cfg
	cfg.Dialer = d
	if cfg.Metrics == nil {
		cfg.Metrics = r.metrics
	}
	if s.origins == nil {
		s.origins = []string{"*"}
	}
	if cfg.Origins, err = origin.Parse(s.origins); err != nil {
		t.Fatal(err)
	}
	if r.handler, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	r.serve(s.pipes, s.tls)
	return r
}

func (r *rig) serve(pipes bool, secure *tls.Config) {
	var ln net.Listener
	if pipes {
		mem := newMemoryListener()
		r.accepted = make(chan *writeCounter, 16)
		ln, r.dial = countingListener{mem, r.accepted}, mem.dial
	} else {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			r.t.Fatal(err)
		}
		ln = tcp
		r.dial = func() net.Conn {
			c, err := net.Dial("tcp", tcp.Addr().String())
			if err != nil {
				r.t.Fatal(err)
			}
			return c
		}
	}
	if secure != nil {
		ln = tls.NewListener(ln, secure)
		dial := r.dial
		r.dial = func() net.Conn {
			return tls.Client(dial(), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the server's certificate is of no interest here
		}
	}
	srv := &http.Server{Handler: r.handler, ReadHeaderTimeout: time.Minute}
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(ln) })
	r.t.Cleanup(func() {
		_ = srv.Close()
		wg.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), xmpptest.Patience)
		defer cancel()
		// What a test has left open is not waited for.
		for _, s := range r.handler.all() {
			s.kill()
		}
		if err := r.handler.Shutdown(ctx); err != nil {
			r.t.Errorf("Shutdown: %v", err)
		}
	})
}

// counters is a Metrics.
type counters struct {
	mu                                    sync.Mutex
	requests, started                     int
	ended                                 map[string]int
	upElements, upBytes, downEls, downLen int
}

func (c *counters) Request()        { c.add(&c.requests, 1) }
func (c *counters) SessionStarted() { c.add(&c.started, 1) }
func (c *counters) SessionEnded(condition string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended[condition]++
}
func (c *counters) FromBrowser(n, b int) { c.add(&c.upElements, n); c.add(&c.upBytes, b) }
func (c *counters) ToBrowser(n, b int)   { c.add(&c.downEls, n); c.add(&c.downLen, b) }

func (c *counters) add(to *int, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*to += n
}

func (c *counters) get(of *int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return *of
}

// endedAs waits until a session has ended with that condition.
func (r *rig) endedAs(condition string) {
	r.t.Helper()
	eventually(r.t, "session ended with "+condition, func() bool {
		r.metrics.mu.Lock()
		defer r.metrics.mu.Unlock()
		return r.metrics.ended[condition] > 0
	})
}

// latest returns the server's side of the session that was opened last.
func (r *rig) latest() *xmpptest.Conn {
	r.t.Helper()
	var c *xmpptest.Conn
	for range max(1, r.xmpp.Accepted()-r.taken) {
		c = r.xmpp.Next()
		r.taken++
	}
	return c
}

// endsCleanly expects that the server of the latest session hears </stream:stream>, and returns all that it heard.
func (r *rig) endsCleanly() string {
	r.t.Helper()
	c := r.latest()
	eventually(r.t, "</stream:stream>", func() bool { return strings.HasSuffix(c.Received(), "</stream:stream>") })
	return c.Received()
}

// forwardedNothing expects that the server of the latest session never heard the text, up to the stream's end.
func (r *rig) forwardedNothing(text string) {
	r.t.Helper()
	if heard := r.endsCleanly(); strings.Contains(heard, text) {
		r.t.Errorf("server heard %q: %s", text, heard)
	}
}

// eventually waits for something that another goroutine does.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for late := time.Now().Add(xmpptest.Patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("never: %s", what)
		}
	}
}

// fixed replaces what differs from run to run in an <open/>: its id.
func fixed(open string) string {
	head, rest, found := strings.Cut(open, ` id="`)
	if !found {
		return open
	}
	_, tail, _ := strings.Cut(rest, `"`)
	return head + tail
}
