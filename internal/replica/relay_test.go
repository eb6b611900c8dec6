package replica

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"stanzagate/internal/peer"
	"stanzagate/sessionstore"
)

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// seen is what an owner's handler sees of a request.
type seen struct {
	method, uri, host, body string
	header                  http.Header
	peer                    peer.Peer
	certs                   int
}

// The owner sees the browser's request, as if it had come directly; the browser sees the owner's answer. What
// proxies and forgers say does not pass.
func TestRelayIsTransparent(t *testing.T) {
	got := make(chan seen, 1)
	resolver, err := peer.NewResolver([]string{"0.0.0.0/0", "::/0"}) // believes every header that it sees
	if err != nil {
		t.Fatal(err)
	}
	o := startOwner(t, "127.0.0.1:0", identity(t, "k"), func(w http.ResponseWriter, r *http.Request) bool {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		s := seen{method: r.Method, uri: r.URL.RequestURI(), host: r.Host, body: string(body), header: r.Header, peer: resolver.Of(r)}
		if r.TLS != nil {
			s.certs = len(r.TLS.PeerCertificates)
		}
		got <- s
		w.Header().Set("Content-Type", "text/xml; charset=utf-8")
		w.Header().Add("Vary", "Origin")
		w.Header().Add("Vary", "Accept-Encoding")
		w.Header().Set("Content-Length", "7")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "<body/>")
		return true
	})
	c := newClient(t, identity(t, "k"))
	r := httptest.NewRequest(http.MethodPost, "/http-bind/a%2Fb?x=1&y=%20", nil)
	r.Header = http.Header{
		"Content-Type": {"text/xml"}, "Accept-Encoding": {"gzip"}, "Cookie": {"a=b"}, "Connection": {"close", "X-Drop"}, "X-Drop": {"1"},
		"X-Forwarded-For": {"203.0.113.1"}, "X-Forwarded-Proto": {"http"}, "Forwarded": {"for=203.0.113.2"}, "X-Forwarded-Host": {"evil"},
		"Te": {"trailers"},
	}
	r.TLS = &tls.ConnectionState{PeerCertificates: testCertificates(t)}
	p := peer.Peer{
		Addr: netip.MustParseAddrPort("[2001:db8::1]:4711"), Local: netip.MustParseAddrPort("192.0.2.9:443"), Secure: true, Host: "chat.example:443",
	}
	w := httptest.NewRecorder()
	if o := c.Relay(Request{W: w, R: r, Peer: p, Body: []byte("<body sid='x'/>")}, o.Replica); o != Answered {
		t.Fatalf("outcome %s", o)
	}
	s := <-got
	if s.method != http.MethodPost || s.uri != "/http-bind/a%2Fb?x=1&y=%20" || s.body != "<body sid='x'/>" || s.host != "chat.example:443" {
		t.Errorf("the owner sees %+v", s)
	}
	if s.peer != p || s.certs != 1 {
		t.Errorf("the owner sees peer %+v with %d certificates, want %+v with one", s.peer, s.certs, p)
	}
	for _, name := range []string{"Content-Type", "Accept-Encoding", "Cookie"} {
		if s.header.Get(name) == "" {
			t.Errorf("%s does not reach the owner", name)
		}
	}
	for name := range s.header {
		if strings.HasPrefix(name, "X-") || name == "Forwarded" || name == "Connection" || name == "Te" {
			t.Errorf("%s reaches the owner", name)
		}
	}
	resp := w.Result()
	if resp.StatusCode != http.StatusTeapot || w.Body.String() != "<body/>" || len(resp.Header["Vary"]) != 2 || resp.ContentLength != 7 {
		t.Errorf("the browser sees %d %v %q", resp.StatusCode, resp.Header, w.Body)
	}

	// A browser of which nothing is known, in the clear.
	r = httptest.NewRequest(http.MethodGet, "/", nil)
	if o := c.Relay(Request{W: httptest.NewRecorder(), R: r, Peer: peer.Peer{}, Body: nil}, o.Replica); o != Answered {
		t.Fatalf("outcome %s", o)
	}
	if s := <-got; s.peer.Addr.IsValid() || s.peer.Local.IsValid() || s.peer.Secure || s.host != "" || s.body != "" || s.certs != 0 {
		t.Errorf("the owner sees %+v", s)
	}
}

// Many requests are held at a time; all of them share one connection, and each gets its own answer.
func TestRelayHoldsManyOnOneConnection(t *testing.T) {
	const many = 300
	var arrived sync.WaitGroup
	arrived.Add(many)
	release := make(chan struct{})
	o := startOwner(t, "127.0.0.1:0", identity(t, "k"), func(w http.ResponseWriter, r *http.Request) bool {
		body, _ := io.ReadAll(r.Body)
		arrived.Done()
		<-release
		_, _ = w.Write(body)
		return true
	})
	f := startFront(t, newClient(t, identity(t, "k")), func() sessionstore.Replica { return o.Replica })
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			body := strings.Repeat("x", i)
			if status, answer := f.post(t, body); status != http.StatusOK || answer != body {
				t.Errorf("request %d: %d, %d bytes", i, status, len(answer))
			}
		})
	}
	arrived.Wait()
	close(release)
	all.Wait()
	if n := o.listener.accepted.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// A browser that goes away ends its request at the owner, and nobody else's.
func TestRelayEndsWithTheBrowser(t *testing.T) {
	held := make(chan context.Context, 2)
	release := make(chan struct{})
	o := startOwner(t, "127.0.0.1:0", identity(t, "k"), func(w http.ResponseWriter, r *http.Request) bool {
		held <- r.Context()
		select {
		case <-r.Context().Done():
		case <-release:
		}
		return true
	})
	f := startFront(t, newClient(t, identity(t, "k")), func() sessionstore.Replica { return o.Replica })
	var all sync.WaitGroup
	all.Go(func() {
		if status, _ := f.post(t, "stays"); status != http.StatusOK {
			t.Errorf("status %d", status)
		}
	})
	stays := <-held
	ctx, leave := context.WithCancel(t.Context())
	all.Go(func() {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, f.URL, strings.NewReader("leaves"))
		if err != nil {
			t.Error(err)
			return
		}
		if resp, err := f.Client().Do(r); err == nil {
			resp.Body.Close()
			t.Error("an answer")
		}
	})
	leaves := <-held
	leave()
	begun := time.Now()
	<-leaves.Done()
	t.Logf("the owner learns after %s", time.Since(begun))
	if got := f.outcome(t); got != Gone {
		t.Errorf("outcome %s", got)
	}
	if stays.Err() != nil {
		t.Error("another request ended too")
	}
	close(release)
	all.Wait()
	if n := o.listener.accepted.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// What an owner says instead of an answer, and what happens to its processes.
func TestRelayOutcomes(t *testing.T) {
	id := identity(t, "k")
	c := newClient(t, id)
	relay := func(to sessionstore.Replica) (Outcome, *httptest.ResponseRecorder) {
		w := httptest.NewRecorder()
		return c.Relay(Request{W: w, R: httptest.NewRequest(http.MethodPost, "/", nil), Peer: peer.Peer{}, Body: []byte("x")}, to), w
	}
	want := func(to sessionstore.Replica, want Outcome) {
		t.Helper()
		got, w := relay(to)
		if got != want {
			t.Errorf("outcome %s, want %s", got, want)
		}
		if want != Answered && (len(w.Header()) > 0 || w.Body.Len() > 0) {
			t.Errorf("%s: something was written: %v %s", want, w.Header(), w.Body)
		}
	}
	how := make(chan string, 1)
	o := startOwner(t, "127.0.0.1:0", id, func(w http.ResponseWriter, r *http.Request) bool {
		switch <-how {
		case "not mine":
			return false
		case "abort":
			w.Header().Set("X", "y")
			panic(http.ErrAbortHandler)
		case "panic":
			panic("in a test")
		case "empty":
			w.WriteHeader(http.StatusNoContent)
		}
		return true
	})
	for say, outcome := range map[string]Outcome{"not mine": NotMine, "abort": Aborted, "panic": Aborted, "empty": Answered, "nothing": Answered} {
		how <- say
		want(o.Replica, outcome)
	}
	o.fenced.Store(true)
	want(o.Replica, Fenced)
	o.fenced.Store(false)
	other := o.Replica
	other.Incarnation = "another"
	want(other, Dead)
	if c.Unreachable(o.Address) != 0 {
		t.Error("unreachable although it answers")
	}
	o.kill()
	want(o.Replica, Dead)

	// Somebody who takes connections and says nothing, as a frozen process does.
	silent := listen(t, "127.0.0.1:0")
	defer silent.Close()
	want(sessionstore.Replica{Incarnation: "x", Address: silent.Addr().String()}, Unknown)
	if c.Unreachable(silent.Addr().String()) == 0 {
		t.Error("reachable although it does not answer")
	}
	c.Close()
	want(o.Replica, Unknown)
}

// Requests that are held when the owner dies end at once, so that the browser side can take the session over.
func TestRelaySeesTheOwnerDie(t *testing.T) {
	id := identity(t, "k")
	held := make(chan struct{}, 100)
	hold := func(w http.ResponseWriter, r *http.Request) bool {
		held <- struct{}{}
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
	c := newClient(t, id)
	run := func(t *testing.T, to *owner, end func(), want Outcome) {
		t.Helper()
		var all sync.WaitGroup
		const many = 20
		for range many {
			all.Go(func() {
				w := httptest.NewRecorder()
				r := httptest.NewRequest(http.MethodPost, "/", nil).WithContext(t.Context())
				if got := c.Relay(Request{W: w, R: r, Peer: peer.Peer{}, Body: nil}, to.Replica); got != want {
					t.Errorf("outcome %s, want %s", got, want)
				}
				if len(w.Header()) > 0 {
					t.Errorf("something was written: %v", w.Header())
				}
			})
		}
		for range many {
			<-held
		}
		begun := time.Now()
		end()
		all.Wait()
		t.Logf("known after %s", time.Since(begun))
	}
	t.Run("killed", func(t *testing.T) {
		o := startOwner(t, "127.0.0.1:0", id, hold)
		run(t, o, o.kill, Dead)
	})
	t.Run("killed and started again", func(t *testing.T) {
		o := startOwner(t, "127.0.0.1:0", id, hold)
		run(t, o, func() {
			o.kill()
			startOwner(t, o.Address, id, hold)
		}, Dead)
	})
	t.Run("fenced", func(t *testing.T) {
		o := startOwner(t, "127.0.0.1:0", id, hold)
		run(t, o, func() { o.fenced.Store(true) }, Fenced)
	})
	t.Run("shut down", func(t *testing.T) {
		o := startOwner(t, "127.0.0.1:0", id, hold)
		run(t, o, func() {
			ctx, cancel := context.WithTimeout(context.Background(), patienceOfTests)
			defer cancel()
			if err := o.server.Shutdown(ctx); err != nil {
				t.Error(err)
			}
		}, Fenced)
	})
	t.Run("frozen", func(t *testing.T) {
		o := startOwner(t, "127.0.0.1:0", id, hold)
		stall := newStall(t, o.Address)
		o.Address = stall.address
		run(t, o, stall.freeze, Unknown)
	})
	t.Run("frozen before a large request", func(t *testing.T) {
		o := startOwner(t, "127.0.0.1:0", id, func(w http.ResponseWriter, r *http.Request) bool { return true })
		stall := newStall(t, o.Address)
		o.Address = stall.address
		request := Request{W: httptest.NewRecorder(), R: httptest.NewRequest(http.MethodPost, "/", nil)}
		if got := c.Relay(request, o.Replica); got != Answered {
			t.Fatalf("outcome %s", got)
		}
		stall.freeze()
		request.Body = make([]byte, 16<<20) // more than fits on the way
		begun := time.Now()
		if got := c.Relay(request, o.Replica); got != Unknown {
			t.Errorf("outcome %s", got)
		}
		t.Logf("known after %s", time.Since(begun))
	})
}

// An owner that dies in the middle of an answer: it never begins for the browser, whatever its length.
func TestRelaySeesTheAnswerBreak(t *testing.T) {
	id := identity(t, "k")
	for name, length := range map[string]string{"short": "5000", "long": "500000", "unknown length": ""} {
		t.Run(name, func(t *testing.T) {
			var o *owner
			sent := make(chan struct{}, 2)
			o = startOwner(t, "127.0.0.1:0", id, func(w http.ResponseWriter, r *http.Request) bool {
				if length != "" {
					w.Header().Set("Content-Length", length)
				}
				_, _ = w.Write(make([]byte, 100))
				_ = http.NewResponseController(w).Flush()
				sent <- struct{}{}
				<-r.Context().Done()
				panic(http.ErrAbortHandler)
			})
			w := httptest.NewRecorder()
			go func() {
				<-sent
				o.kill()
			}()
			got := newClient(t, id).Relay(Request{W: w, R: httptest.NewRequest(http.MethodPost, "/", nil), Peer: peer.Peer{}, Body: nil}, o.Replica)
			if got != Dead || len(w.Header()) > 0 {
				t.Errorf("outcome %s, want %s; written %v", got, Dead, w.Header())
			}
			o.serving.Wait()
		})
	}
}

// A large request and a large answer pass, and the answer is not one byte longer or shorter than what the owner has written in
// pieces.
func TestRelayOfMuch(t *testing.T) {
	const pieces, piece = 40, 100_000
	o := startOwner(t, "127.0.0.1:0", identity(t, "k"), func(w http.ResponseWriter, r *http.Request) bool {
		if n, err := io.Copy(io.Discard, r.Body); n != 3<<20 || err != nil {
			t.Errorf("the owner gets %d bytes, %v", n, err)
		}
		for range pieces {
			_, _ = w.Write(make([]byte, piece))
		}
		return true
	})
	f := startFront(t, newClient(t, identity(t, "k")), func() sessionstore.Replica { return o.Replica })
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			if status, answer := f.post(t, strings.Repeat("y", 3<<20)); status != http.StatusOK || len(answer) != pieces*piece {
				t.Errorf("status %d, %d bytes", status, len(answer))
			}
		})
	}
	all.Wait()
}

// stall is a network path that can stop without breaking.
type stall struct {
	address string
	frozen  chan struct{}
}

func newStall(t *testing.T, target string) *stall {
	t.Helper()
	s := &stall{frozen: make(chan struct{})}
	s.address = between(t, target, func(to, from net.Conn) {
		b := make([]byte, 16*1024)
		for {
			n, err := from.Read(b)
			select {
			case <-s.frozen:
				return // reads no more, writes no more, and closes nothing
			default:
			}
			if _, werr := to.Write(b[:n]); err != nil || werr != nil {
				return
			}
		}
	})
	return s
}

func (s *stall) freeze() { close(s.frozen) }
