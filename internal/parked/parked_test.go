package parked

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const patience = 10 * time.Second

// rig is a server whose handler parks every request to /held, and gives it to the test.
type rig struct {
	t    *testing.T
	lot  *Lot
	web  *httptest.Server
	held chan *Response // nil for one that could not be parked; that is answered 418
	gone chan *Response
	tls  chan bool // of every other request: whether it came with TLS
}

func newRig(t *testing.T, idle time.Duration, options ...func(*httptest.Server)) *rig {
	t.Helper()
	r := &rig{t: t, lot: New(idle), held: make(chan *Response), gone: make(chan *Response, 1), tls: make(chan bool, 1)}
	r.web = httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	for _, o := range options {
		o(r.web)
	}
	again := r.lot.Listener(r.web.Config, r.web.Listener.Addr())
	served := make(chan error, 1)
	go func() { served <- r.web.Config.Serve(again) }()
	if r.web.TLS != nil {
		r.web.StartTLS()
	} else {
		r.web.Start()
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := r.web.Config.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("server ended with %v", err)
		}
		r.lot.Close()
		r.web.Close()
	})
	return r
}

func withTLS(s *httptest.Server) { s.TLS = &tls.Config{} }

func (r *rig) serve(w http.ResponseWriter, req *http.Request) {
	_, _ = io.Copy(io.Discard, req.Body)
	if req.URL.Path != "/held" {
		r.tls <- req.TLS != nil
		_, _ = io.WriteString(w, "at once")
		return
	}
	w.Header().Set("X-Before", "kept")
	p := r.lot.Take(w, req)
	if p == nil {
		w.WriteHeader(http.StatusTeapot)
		r.held <- nil
		return
	}
	p.Watch(func() { r.gone <- p })
	r.held <- p
}

// browser is a connection to the rig.
type browser struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func (r *rig) dial() *browser {
	r.t.Helper()
	var c net.Conn
	var err error
	if r.web.TLS != nil {
		c, err = tls.Dial("tcp", r.web.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	} else {
		c, err = net.Dial("tcp", r.web.Listener.Addr().String())
	}
	if err != nil {
		r.t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	r.t.Cleanup(func() { _ = c.Close() })
	return &browser{c, r.t, bufio.NewReader(c)}
}

const (
	held   = "POST /held HTTP/1.1\r\nHost: gw\r\nContent-Length: 3\r\n\r\nabc"
	atOnce = "GET / HTTP/1.1\r\nHost: gw\r\n\r\n"
)

func (b *browser) send(s string) {
	b.t.Helper()
	if _, err := io.WriteString(b, s); err != nil {
		b.t.Fatal(err)
	}
}

// want reads a response.
func (b *browser) want(status int, body string) *http.Response {
	b.t.Helper()
	res, err := http.ReadResponse(b.r, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != status || string(got) != body {
		b.t.Fatalf("got %d %q, %v; want %d %q", res.StatusCode, got, err, status, body)
	}
	return res
}

// wantEnd expects the connection to be closed.
func (b *browser) wantEnd() {
	b.t.Helper()
	if c, err := b.r.ReadByte(); !errors.Is(err, io.EOF) {
		b.t.Fatalf("read %q, %v; want the end", c, err)
	}
}

func (p *Response) say(body string) {
	p.Header()["Content-Length"] = []string{fmt.Sprint(len(body))}
	p.WriteHeader(http.StatusOK)
	_, _ = io.WriteString(p, body)
}

// each runs a test without and with TLS.
func each(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Run("plain", func(t *testing.T) { f(t, newRig(t, time.Minute)) })
	t.Run("TLS", func(t *testing.T) { f(t, newRig(t, time.Minute, withTLS)) })
}

// The answer arrives with what the handler had set before, and the connection serves on: parked again, and not.
func TestConnectionServesOn(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		b := r.dial()
		for i := range 3 {
			b.send(held)
			p := <-r.held
			text := fmt.Sprintf("answer %d", i)
			p.say(text)
			p.End()
			res := b.want(http.StatusOK, text)
			if _, err := http.ParseTime(res.Header.Get("Date")); err != nil || res.Header.Get("X-Before") != "kept" || res.Proto != "HTTP/1.1" {
				t.Errorf("header is %v, %s", res.Header, res.Proto)
			}
			b.send(atOnce)
			if got := <-r.tls; got != (r.web.TLS != nil) {
				t.Errorf("the next request is taken for TLS: %v", got)
			}
			b.want(http.StatusOK, "at once")
		}
	})
}

// A browser that goes away is noticed while it is owed an answer.
func TestGone(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		b := r.dial()
		b.send(held)
		p := <-r.held
		_ = b.Close()
		if got := <-r.gone; got != p {
			t.Error("another one is gone")
		}
		p.say("too late") // nobody is harmed
		p.End()
	})
}

// The next request may come before the answer, whole or in part: it is neither lost nor answered first.
func TestPipelined(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		for _, next := range []string{"with the request", "later", "in two parts"} {
			b := r.dial()
			first, rest := held, atOnce
			switch next {
			case "with the request":
				first, rest = held+atOnce, ""
			case "in two parts":
				first, rest = held+atOnce[:9], atOnce[9:]
			}
			b.send(first)
			p := <-r.held
			b.send(rest)
			p.say("first")
			p.End()
			b.want(http.StatusOK, "first")
			<-r.tls
			b.want(http.StatusOK, "at once")
		}
	})
}

// What was noticed early is not watched any longer, and given back by End.
func TestPipelinedAndNoticed(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		b := r.dial()
		b.send(held)
		p := <-r.held
		b.send(atOnce)
		for {
			p.mu.Lock()
			heard := p.heard
			p.mu.Unlock()
			if heard {
				break
			}
			time.Sleep(time.Millisecond)
		}
		p.say("first")
		p.End()
		b.want(http.StatusOK, "first")
		<-r.tls
		b.want(http.StatusOK, "at once")
	})
}

// A connection that nobody uses is closed after the time that the server would keep it; one without an answer is not.
func TestIdle(t *testing.T) {
	r := newRig(t, 50*time.Millisecond)
	b := r.dial()
	b.send(held)
	p := <-r.held
	_ = b.SetReadDeadline(time.Now().Add(150 * time.Millisecond))
	if c, err := b.r.ReadByte(); err == nil || errors.Is(err, io.EOF) {
		t.Fatalf("read %q, %v before the answer", c, err)
	}
	_ = b.SetReadDeadline(time.Now().Add(patience))
	p.say("answer")
	p.End()
	b.want(http.StatusOK, "answer")
	b.wantEnd()
}

// An answer that says so ends the connection, and so does one that was never written.
func TestConnectionClose(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		b := r.dial()
		b.send(held)
		p := <-r.held
		p.Header().Set("Connection", "close")
		p.say("last")
		p.End()
		b.want(http.StatusOK, "last")
		b.wantEnd()

		b = r.dial()
		b.send(held)
		(<-r.held).End()
		b.wantEnd()
	})
}

// Close ends what is idle, and the rest with its answer.
func TestClose(t *testing.T) {
	r := newRig(t, time.Minute)
	idle, waits := r.dial(), r.dial()
	idle.send(held)
	p := <-r.held
	p.say("answer")
	p.End()
	idle.want(http.StatusOK, "answer")
	waits.send(held)
	p = <-r.held
	closed := make(chan struct{})
	go func() { r.lot.Close(); close(closed) }()
	idle.wantEnd()
	select {
	case <-closed:
		t.Error("Close does not wait for the answer")
	default:
	}
	p.say("answer")
	p.End()
	waits.want(http.StatusOK, "answer")
	waits.wantEnd()
	<-closed
	b := r.dial()
	b.send(held)
	if <-r.held != nil {
		t.Error("parked after Close")
	}
	b.want(http.StatusTeapot, "")
}

// What does not outlive its answer, or is not HTTP/1.1 of a server that takes connections back, stays where it is.
func TestNotTaken(t *testing.T) {
	r := newRig(t, time.Minute)
	for name, request := range map[string]string{
		"HTTP/1.0":          strings.Replace(held, "1.1", "1.0", 1),
		"Connection: close": strings.Replace(held, "Host: gw", "Host: gw\r\nConnection: close", 1),
	} {
		b := r.dial()
		b.send(request)
		if <-r.held != nil {
			t.Errorf("%s: taken", name)
		}
		b.want(http.StatusTeapot, "")
	}
	other := httptest.NewServer(r.web.Config.Handler)
	defer other.Close()
	res := make(chan int)
	go func() {
		answer, err := other.Client().Post(other.URL+"/held", "", nil)
		if err != nil {
			t.Error(err)
			res <- 0
			return
		}
		_ = answer.Body.Close()
		res <- answer.StatusCode
	}()
	if <-r.held != nil {
		t.Error("taken from a server that does not take it back")
	}
	if got := <-res; got != http.StatusTeapot {
		t.Errorf("got %d", got)
	}
	if (*Lot)(nil).Take(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/held", nil)) != nil {
		t.Error("no Lot takes something")
	}
}
