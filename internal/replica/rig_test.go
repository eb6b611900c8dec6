package replica

import (
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stanzagate/internal/peer"
	"stanzagate/sessionstore"
)

// relayKey makes a relay key.
func relayKey(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return sum[:]
}

func identity(t testing.TB, names ...string) *Identity {
	t.Helper()
	var keys [][]byte
	for _, name := range names {
		keys = append(keys, relayKey(name))
	}
	id, err := NewIdentity(keys)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// owner is a replica that requests are handed on to.
type owner struct {
	sessionstore.Replica
	server   *Server
	listener *counted
	fenced   atomic.Bool
	serving  sync.WaitGroup
}

// counted counts connections.
type counted struct {
	net.Listener
	accepted atomic.Int32
}

func (c *counted) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.accepted.Add(1)
	}
	return conn, err
}

func listen(t testing.TB, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// startOwner starts a replica on an address, "127.0.0.1:0" for any.
func startOwner(t testing.TB, address string, id *Identity, handle func(http.ResponseWriter, *http.Request) bool) *owner {
	t.Helper()
	o := &owner{listener: &counted{Listener: listen(t, address)}}
	o.Replica = sessionstore.Replica{ID: "owner", Incarnation: sessionstore.NewIncarnation(), Address: o.listener.Addr().String()}
	var err error
	o.server, err = NewServer(ServerConfig{Identity: id, Incarnation: o.Incarnation, Fenced: o.fenced.Load, Handle: handle})
	if err != nil {
		t.Fatal(err)
	}
	o.serving.Go(func() {
		if err := o.server.Serve(o.listener); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	t.Cleanup(o.kill)
	return o
}

// kill ends it as far as others see: connections break, and its address refuses others.
func (o *owner) kill() {
	_ = o.listener.Close()
	o.server.mu.Lock()
	for c := range o.server.conns {
		_ = c.close(errClosed)
	}
	o.server.mu.Unlock()
	_ = o.server.Shutdown(canceled()) // stops what else runs
	o.serving.Wait()
}

func newClient(t testing.TB, id *Identity) *Client {
	t.Helper()
	c, err := NewClient(ClientConfig{Identity: id})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// front is the browser side: an HTTP server that hands everything on.
type front struct {
	*httptest.Server
	outcomes chan Outcome // of each request; capacity for all of a test
}

func startFront(t testing.TB, c *Client, to func() sessionstore.Replica) *front {
	t.Helper()
	f := &front{outcomes: make(chan Outcome, 1000)}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		o := c.Relay(Request{W: w, R: r, Peer: (*peer.Resolver)(nil).Of(r), Body: body}, to())
		f.outcomes <- o
		switch o {
		case Answered:
		case Aborted, Gone:
			panic(http.ErrAbortHandler)
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(f.Close)
	return f
}

// outcome waits for the next one.
func (f *front) outcome(t *testing.T) Outcome {
	t.Helper()
	select {
	case o := <-f.outcomes:
		return o
	case <-time.After(patienceOfTests):
		t.Fatal("no outcome")
		return 0
	}
}

const patienceOfTests = 30 * time.Second

// between stands between two replicas: pass moves what goes one way. It ends with the test.
func between(t testing.TB, target string, pass func(to, from net.Conn)) (address string) {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	var running sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn // guarded by mu
	running.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", target)
			if err != nil {
				near.Close()
				continue
			}
			mu.Lock()
			conns = append(conns, near, far)
			mu.Unlock()
			running.Go(func() { pass(far, near) })
			running.Go(func() { pass(near, far) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return l.Addr().String()
}

// post sends a request to the front.
func (f *front) post(t testing.TB, body string) (status int, answer string) {
	t.Helper()
	return answered(f.Client().Post(f.URL+"/http-bind", "text/xml", strings.NewReader(body)))
}

// answered reads a response, zero if there is none or it breaks.
func answered(resp *http.Response, err error) (status int, answer string) {
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, ""
	}
	return resp.StatusCode, string(b)
}
