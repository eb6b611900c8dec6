package bosh

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"stanzagate/internal/xmlframe"
)

// stub is a server that costs next to nothing: after the login it sends back what it gets.
type stub struct {
	ln    net.Listener
	parks bool // keep connections open outside of Go's runtime after the login, so that they cost no memory

	mu     sync.Mutex
	parked []int // file descriptors
}

// setting is the gateway's `domain` setting that leads here.
func (s *stub) setting() string { return "example.org=xmpp://" + s.ln.Addr().String() + "?tls=none" }

// park keeps a connection open until the test ends.
func (s *stub) park(t testing.TB, c net.Conn) {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Error(err)
		return
	}
	err = raw.Control(func(fd uintptr) {
		kept, err := syscall.Dup(int(fd))
		if err != nil {
			t.Error(err)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.parked = append(s.parked, kept)
	})
	if err != nil {
		t.Error(err)
	}
}

func startStub(t testing.TB) *stub {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stub{ln: ln}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go s.serve(t, c)
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, fd := range s.parked {
			_ = syscall.Close(fd)
		}
	})
	return s
}

const (
	stubHeader   = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='x' from='example.org' version='1.0'>"
	stubFeatures = "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms></stream:features>"
	stubBind     = "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>"
)

var idAttr = regexp.MustCompile(` id='[^']*'`)

func (s *stub) serve(t testing.TB, c net.Conn) {
	defer c.Close()
	buf := make([]byte, 64<<10)
	answers := []string{stubHeader + stubFeatures, "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", stubHeader + stubBind, ""}
	for i := 0; ; i++ {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		out := buf[:n]
		switch {
		case i < 3:
			out = []byte(answers[i])
		case i == 3:
			out = []byte("<iq type='result'" + idAttr.FindString(string(buf[:n])) + "><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>a@example.org/x</jid></bind></iq>")
		case bytes.HasPrefix(out, []byte("</")):
			return
		}
		if _, err := c.Write(out); err != nil {
			return
		}
		if i == 3 && s.parks {
			s.park(t, c)
			return
		}
	}
}

// canned is a ResponseWriter that keeps only the body, and allocates nothing for itself.
type canned struct {
	header http.Header
	body   []byte
	status int
}

func (w *canned) Header() http.Header              { return w.header }
func (w *canned) WriteHeader(status int)           { w.status = status }
func (w *canned) Flush()                           {}
func (w *canned) SetReadDeadline(time.Time) error  { return nil }
func (w *canned) SetWriteDeadline(time.Time) error { return nil }
func (w *canned) Write(b []byte) (int, error) {
	w.body = append(w.body[:0], b...)
	return len(b), nil
}

// caller makes requests without a network.
type caller struct {
	h  *Handler
	w  canned
	r  *http.Request
	in bytes.Reader
}

func newCaller(h *Handler) *caller {
	c := &caller{h: h, w: canned{header: http.Header{}}}
	c.r = httptest.NewRequest(http.MethodPost, "/http-bind", nil)
	c.r.RemoteAddr = "127.0.0.1:1234"
	c.r.Body = io.NopCloser(&c.in)
	return c
}

func (c *caller) do(body []byte) []byte {
	c.in.Reset(body)
	c.r.ContentLength = int64(len(body))
	clear(c.w.header)
	c.h.ServeHTTP(&c.w, c.r)
	return c.w.body
}

var sidAttr = regexp.MustCompile(` sid='([^']*)'`)

// benchSession logs in by calls.
func benchSession(tb testing.TB, h *Handler, hold string) (c *caller, sid string, rid int) {
	tb.Helper()
	c = newCaller(h)
	b := &browser{rid: 1000}
	out := string(c.do([]byte(b.createBody("ver='1.11' wait='60' hold='" + hold + "' ack='1'"))))
	m := sidAttr.FindStringSubmatch(out)
	if m == nil || !strings.Contains(out, "PLAIN") {
		tb.Fatalf("creation: %s", out)
	}
	b.sid = m[1]
	for _, step := range []struct{ attrs, payload, want string }{
		{"", plain("a", "b"), "success"},
		{restartAttrs, "", "bind"},
		{"", "<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>", "<jid>"},
	} {
		if out := c.do([]byte(b.next(step.attrs, step.payload))); !bytes.Contains(out, []byte(step.want)) {
			tb.Fatalf("%s: %s", step.payload, out)
		}
	}
	return c, b.sid, b.rid
}

func benchHandler(tb testing.TB) *Handler {
	tb.Helper()
	s := startStub(tb)
	h, err := New(Config{Dialer: newDialer(tb, s.setting()), Origins: anyOrigins(tb)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := h.Shutdown(ctx); err != nil {
			tb.Error(err)
		}
	})
	return h
}

// roundTrip makes bodies with a message in place, so that the client's side allocates nothing either.
type roundTrip struct {
	head, tail []byte
	buf        []byte
	rid        int
}

func newRoundTrip(sid string, rid int) *roundTrip {
	return &roundTrip{
		rid:  rid,
		head: []byte("<body sid='" + sid + "' xmlns='http://jabber.org/protocol/httpbind' rid='"),
		tail: []byte("'>" + message("bob@example.org", strings.Repeat("lorem ipsum ", 25)) + "</body>"),
	}
}

func (r *roundTrip) next() []byte {
	r.rid++
	r.buf = append(r.buf[:0], r.head...)
	r.buf = appendInt(r.buf, r.rid)
	r.buf = append(r.buf, r.tail...)
	return r.buf
}

func appendInt(b []byte, n int) []byte {
	if n >= 10 {
		b = appendInt(b, n/10)
	}
	return append(b, byte('0'+n%10))
}

// BenchmarkRoundTrip is a message up and down again through the whole Handler and a stream over loopback TCP.
func BenchmarkRoundTrip(b *testing.B) {
	h := benchHandler(b)
	c, sid, rid := benchSession(b, h, "1")
	r := newRoundTrip(sid, rid)
	b.ReportAllocs()
	for b.Loop() {
		if out := c.do(r.next()); !bytes.Contains(out, []byte("lorem")) {
			b.Fatalf("got %s", out)
		}
	}
}

// BenchmarkPoll is an empty request that is answered at once.
func BenchmarkPoll(b *testing.B) {
	h := benchHandler(b)
	h.machine.polling = 0 // no limit
	c := newCaller(h)
	out := c.do([]byte((&browser{rid: 1000}).createBody("ver='1.11' wait='0' hold='0'")))
	m := sidAttr.FindSubmatch(out)
	if m == nil {
		b.Fatalf("creation: %s", out)
	}
	r := newRoundTrip(string(m[1]), 1000)
	r.tail = []byte("' x='" + strings.Repeat("y", 10) + "'/>")
	c.do(r.next()) // features
	b.ReportAllocs()
	for b.Loop() {
		if out := c.do(r.next()); bytes.Contains(out, []byte("terminate")) {
			b.Fatalf("got %s", out)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	d := newDecoder(xmlframe.Limits{})
	in := newRoundTrip("0123456789abcdef0123456789a", 1<<40).next()
	r := newRequest()
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		*r = request{payload: r.payload[:0]}
		if err := d.decode(in, r); err != nil || len(r.payload) != 1 {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	r := &response{hasAck: true, ack: 1 << 40, payload: []element{{raw: []byte(message("a@example.org", strings.Repeat("lorem ipsum ", 25)))}}}
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		out = appendBody(out[:0], r)
	}
	b.SetBytes(int64(len(out)))
}
