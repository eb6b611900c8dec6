package bosh

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"stanzagate/internal/peer"
	"stanzagate/internal/xmpptest"
)

// secretLog collects everything that is logged, at every level.
type secretLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *secretLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *secretLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *secretLog) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Covers: BOSH-181, BOSH-171, UP-052.
func TestLogsTellNothing(t *testing.T) {
	l := &secretLog{}
	r := newRig(t, xmpptest.Options{}, Config{Log: l.logger()})
	b, out := r.open(defaultAttrs + " from='somebody@example.org'")
	b.until(out, "features")
	b.until(b.say("", plain("alice", "wrong")), "failure")
	b.until(b.say("", plain("alice", "s3cret")), "success")
	b.until(b.say(restartAttrs, ""), "features")
	b.until(b.say("", "<iq xmlns='jabber:client' type='set' id='x'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"), "iq")
	b.until(b.say("key='0123'", message("alice@example.org", "private words")), "message")
	b.say("", "<not well formed")
	b.say("", "")
	r.post(nil, "private words")
	r.post(nil, "<body rid='1' to='private-words.example' "+bodyNS+"/>")
	text := l.String()
	if !strings.Contains(text, "bosh session started") || !strings.Contains(text, keyOf(b.sid).String()) {
		t.Errorf("the log has no session: %s", text)
	}
	for _, secret := range []string{b.sid, "s3cret", base64.StdEncoding.EncodeToString([]byte("\x00alice\x00s3cret")), "private words"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
	if found := regexp.MustCompile(`\b(1007|0123)\b`).FindString(text); found != "" { // a longer number, a port's, may have it
		t.Errorf("%q is in the log: a rid, or a key", found)
	}
}

// Whoever guesses learns nothing from the answer.
//
// Covers: BOSH-142, BOSH-143.
func TestErrorsDoNotTellWhichGuessWasRight(t *testing.T) {
	r := newRig(t, xmpptest.Options{}, Config{})
	b, _ := r.open(defaultAttrs)
	right := b.sid
	high := r.post(nil, b.at(b.rid+1000, "", ""))
	b.sid = "guess"
	unknown := r.post(nil, b.at(b.rid+1, "", ""))
	b.sid = right
	dead := r.post(nil, b.at(b.rid+1, "", ""))
	for name, out := range map[string]reply{"unknown sid": unknown, "session that has ended": dead} {
		if out.raw != high.raw || out.status != high.status {
			t.Errorf("%s: %q, rid out of the window: %q", name, out.raw, high.raw)
		}
		for _, field := range []string{"Content-Type", "Content-Length", "Cache-Control", "Connection"} {
			if out.header.Get(field) != high.header.Get(field) {
				t.Errorf("%s: %s %q, rid out of the window: %q", name, field, out.header.Get(field), high.header.Get(field))
			}
		}
	}
}

// Covers: BOSH-177, BOSH-178.
func TestSecureSessionsStaySecure(t *testing.T) {
	peers, err := peer.NewResolver([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, xmpptest.Options{}, Config{Peers: peers})
	b := &browser{rig: r, rid: 1000}
	out := r.post(nil, b.createBody(defaultAttrs), "X-Forwarded-Proto: https")
	b.sid = out.attr("sid")
	if out := r.post(nil, b.next("", "<auth/>")); out.err == nil {
		t.Errorf("in the clear: %d %s", out.status, out.raw)
	}
	if out := r.post(nil, b.at(b.rid, "type='terminate'", ""), "X-Forwarded-Proto: http"); out.err == nil {
		t.Errorf("in the clear: %d %s", out.status, out.raw)
	}
	if out := r.post(nil, b.at(b.rid, "", plain("alice", "secret")), "X-Forwarded-Proto: https"); !strings.Contains(out.raw, "success") {
		t.Errorf("session harmed: %s", out.raw)
	}
}

// Covers: BOSH-183.
func TestSameAddress(t *testing.T) {
	peers, err := peer.NewResolver([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, bind := range []bool{false, true} {
		r := newRig(t, xmpptest.Options{}, Config{Peers: peers, SameAddress: bind})
		b := &browser{rig: r, rid: 1000}
		b.sid = r.post(nil, b.createBody(defaultAttrs), "X-Forwarded-For: 192.0.2.1").attr("sid")
		if out := r.post(nil, b.at(b.rid+1, "pause='1'", ""), "X-Forwarded-For: 192.0.2.2"); (out.err != nil) != bind {
			t.Errorf("bound %v: another address got %v %s", bind, out.err, out.raw)
		}
		if out := r.post(nil, b.at(b.rid+1, "pause='1'", ""), "X-Forwarded-For: 192.0.2.1"); out.err != nil || out.attr("type") != "" {
			t.Errorf("bound %v: the session is harmed: %v %s", bind, out.err, out.raw)
		}
	}
}

// A browser that only says that it uses TLS does not.
//
// Covers: BOSH-178.
func TestForwardingHeadersNeedTrust(t *testing.T) {
	r := newRig(t, xmpptest.Options{}, Config{})
	b := &browser{rig: r, rid: 1000}
	out := r.post(nil, b.createBody(defaultAttrs), "X-Forwarded-Proto: https")
	b.sid = out.attr("sid")
	if b.session().secure {
		t.Error("a browser's word was taken")
	}
}

// Covers: BOSH-177.
func TestOwnTLS(t *testing.T) {
	r := newRig(t, xmpptest.Options{}, Config{}, overTLS)
	b, _ := r.open(defaultAttrs)
	if !b.session().secure {
		t.Error("a session over TLS does not know it")
	}
}

// Covers: BOSH-179.
func TestClientCertificate(t *testing.T) {
	ca := xmpptest.NewCA(t)
	r := newRig(t, xmpptest.Options{}, Config{}, func(_ *Config, web *httptest.Server) {
		web.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	})
	client := func(cfg *tls.Config) *http.Client {
		tr := r.web.Client().Transport.(*http.Transport).Clone()
		if cfg != nil {
			tr.TLSClientConfig.Certificates = cfg.Certificates
		}
		t.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr}
	}
	alice, mallory, nobody := client(ca.Good("alice")), client(ca.Good("mallory")), client(nil)
	b, out := r.openWith(alice, defaultAttrs)
	for name, other := range map[string]*http.Client{"another certificate": mallory, "no certificate": nobody} {
		if out := r.post(other, b.at(b.rid+1, "type='terminate'", "")); out.err == nil {
			t.Errorf("%s: %s", name, out.raw)
		}
	}
	b.authenticate("alice", out)
	b, out = r.openWith(nobody, defaultAttrs)
	b.client = mallory // nothing was promised here
	b.authenticate("bob", out)
}

// A fault of ours in one session is the end of that session alone.
//
// Covers: BOSH-013, BOSH-171.
func TestPanics(t *testing.T) {
	for name, c := range map[string]struct {
		arm  func(*explosive)
		fire func(b *browser, server *xmpptest.Conn) reply
		want string // condition; "" for a connection that breaks off
	}{
		"on the way up": {func(e *explosive) { e.from = true }, func(b *browser, _ *xmpptest.Conn) reply {
			return b.say("", message("alice@example.org", "up"))
		}, "internal-server-error"},
		"on the way down": {func(e *explosive) { e.to = true }, func(b *browser, server *xmpptest.Conn) reply {
			held := b.hold("", "")
			server.Send("<message/>")
			return b.get(held)
		}, "internal-server-error"},
		"before the session is known": {func(e *explosive) { e.request = true }, func(b *browser, _ *xmpptest.Conn) reply {
			return b.say("", "")
		}, "internal-server-error"},
		"at the end": {func(e *explosive) { e.ended = true }, func(b *browser, _ *xmpptest.Conn) reply {
			return b.say("type='terminate'", "")
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l, e := &secretLog{}, &explosive{}
			r := newRig(t, xmpptest.Options{}, Config{Log: l.logger(), Metrics: e, Origins: anyOrigins(t)})
			b, other := r.login("alice"), r.login("bob")
			e.arm(c.arm)
			out := c.fire(b, r.xmpp.Session("alice@example.org"))
			waitFor(t, func() bool { return strings.Contains(l.String(), "boom") }) // the end comes after the answer
			e.arm(func(e *explosive) { *e = explosive{} })
			if c.want != "" && (out.status != http.StatusOK || out.attr("condition") != c.want || out.header.Get("Access-Control-Allow-Origin") != "*") {
				t.Errorf("got %d %v %s", out.status, out.header, out.raw)
			}
			if strings.Contains(out.raw, "goroutine") || strings.Contains(out.raw, "boom") {
				t.Errorf("the browser is told %s", out.raw)
			}
			if out := other.say("", message("bob@example.org", "alive")); !strings.Contains(out.raw, "alive") {
				t.Errorf("another session is harmed: %s", out.raw)
			}
		})
	}
}

// explosive is a Metrics that panics when it is armed.
type explosive struct {
	noMetrics
	request, from, to, ended bool
}

var explosives sync.Mutex

func (e *explosive) arm(f func(*explosive)) {
	explosives.Lock()
	defer explosives.Unlock()
	f(e)
}

func (e *explosive) explode(armed func(*explosive) *bool) {
	explosives.Lock()
	defer explosives.Unlock()
	if b := armed(e); *b {
		*b = false
		panic("boom")
	}
}

func (e *explosive) Request()             { e.explode(func(e *explosive) *bool { return &e.request }) }
func (e *explosive) FromBrowser(int, int) { e.explode(func(e *explosive) *bool { return &e.from }) }
func (e *explosive) ToBrowser(int, int)   { e.explode(func(e *explosive) *bool { return &e.to }) }
func (e *explosive) SessionEnded(string)  { e.explode(func(e *explosive) *bool { return &e.ended }) }

// A browser that does not fetch what comes for it is not read for: the server is made to wait.
//
// Covers: BOSH-079, BOSH-080, BOSH-182.
func TestBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := boundWith(t, Config{QueueBytes: 100 << 10}, defaultAttrs)
		const count = 1000
		stanza := "<message><body>" + strings.Repeat("flood ", 100) + "</body></message>"
		var sent int
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range count {
				c.Send(stanza)
				sent++
			}
		}()
		time.Sleep(time.Second)
		synctest.Wait()
		if sent*len(stanza) > 400<<10 {
			t.Errorf("%d bytes were taken", sent*len(stanza))
		}
		got, largest := 0, 0
		for got < count {
			out := b.say("", "")
			if out.attr("type") != "" || len(out.Nodes) == 0 {
				t.Fatalf("after %d: %.300s", got, out.raw)
			}
			got += len(out.Nodes)
			largest = max(largest, len(out.raw))
		}
		<-done
		if got != count || largest > responseBytes+2*len(stanza) {
			t.Errorf("%d stanzas, at most %d bytes at once", got, largest)
		}
	})
}

// A server that takes nothing holds up only what is meant for it, and not for ever.
func TestServerThatReadsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := bound(t, "ver='1.11' wait='60' hold='1'")
		held := b.hold("", "")
		synctest.Wait()
		began := time.Now()
		blocked := b.hold("", message("x", "nobody reads this"))
		synctest.Wait()
		c.Send("<message><body>meanwhile</body></message>")
		if out := b.get(held); !strings.Contains(out.raw, "meanwhile") || time.Since(began) > 0 {
			t.Errorf("after %v: %s", time.Since(began), out.raw)
		}
		if out := b.get(blocked); out.attr("type") != "terminate" || time.Since(began) > 30*time.Second {
			t.Errorf("after %v: %s", time.Since(began), out.raw)
		}
	})
}
