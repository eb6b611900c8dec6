package websocket

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	ws "github.com/coder/websocket"

	"stanzagate/internal/peer"
	"stanzagate/internal/quota"
)

// The tests of rfc7395_*_test.go follow the sections of the specification. Each is one rule, seen from the browser's side
// of the socket (and the server's, where the rule says something about it).

// Covers: WS-001.
func TestRFC7395_3_1_Subprotocol(t *testing.T) {
	r := newRig(t, setup{})
	for name, offer := range map[string][]string{
		"alone":      {"Sec-WebSocket-Protocol: xmpp"},
		"in a list":  {"Sec-WebSocket-Protocol: foo, xmpp"},
		"no space":   {"Sec-WebSocket-Protocol: foo,xmpp,bar"},
		"two lines":  {"Sec-WebSocket-Protocol: foo", "+Sec-WebSocket-Protocol: xmpp"},
		"behind one": {"Sec-WebSocket-Protocol: XMPP, xmpp"},
	} {
		t.Run(name, func(t *testing.T) {
			b := r.connect(offer...)
			if got := b.resp.Header.Values("Sec-WebSocket-Protocol"); len(got) != 1 || got[0] != "xmpp" {
				t.Errorf("answered %q", got)
			}
			if got := b.resp.Header.Get("Sec-WebSocket-Accept"); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" { // RFC 6455 §1.3
				t.Errorf("Sec-WebSocket-Accept: %q", got)
			}
		})
	}
}

// Covers: WS-002.
func TestRFC7395_3_1_WithoutSubprotocol(t *testing.T) {
	r := newRig(t, setup{})
	for _, offer := range []string{"Sec-WebSocket-Protocol:", "Sec-WebSocket-Protocol: XMPP", "Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Protocol: xmppx"} {
		if b := r.request(offer); b.resp.StatusCode != http.StatusBadRequest || b.resp.Header.Get("Upgrade") != "" {
			t.Errorf("%s: %s", offer, b.resp.Status)
		}
	}
	if r.metrics.get(&r.metrics.started) != 0 || r.metrics.get(&r.metrics.requests) != 4 {
		t.Error("refused handshakes were counted as sessions, or not as requests")
	}
}

// Covers: WS-003.
func TestRFC6455_4_2_Handshake(t *testing.T) {
	r := newRig(t, setup{})
	for name, c := range map[string]struct {
		change string
		status int
		header [2]string
	}{
		"method":         {"POST /xmpp-websocket HTTP/1.1", 405, [2]string{"Allow", "GET"}},
		"no upgrade":     {"Upgrade:", 400, [2]string{}},
		"other upgrade":  {"Upgrade: h2c", 400, [2]string{}},
		"no connection":  {"Connection: keep-alive", 426, [2]string{"Upgrade", "websocket"}},
		"no key":         {"Sec-WebSocket-Key:", 400, [2]string{}},
		"short key":      {"Sec-WebSocket-Key: c2hvcnQ=", 400, [2]string{}},
		"no base64":      {"Sec-WebSocket-Key: ????", 400, [2]string{}},
		"old version":    {"Sec-WebSocket-Version: 8", 426, [2]string{"Sec-Websocket-Version", "13"}},
		"no version":     {"Sec-WebSocket-Version:", 426, [2]string{"Sec-Websocket-Version", "13"}},
		"HTTP/1.0":       {"GET /xmpp-websocket HTTP/1.0", 426, [2]string{}},
		"second origin":  {"Origin: https://a.example\r\nOrigin: https://b.example", 400, [2]string{}},
		"upgrade casing": {"Upgrade: WebSocket", 101, [2]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			b := r.request(c.change)
			if b.resp.StatusCode != c.status {
				t.Errorf("status %s, want %d", b.resp.Status, c.status)
			}
			if refused := c.status != 101; b.resp.Close != refused {
				t.Errorf("the connection ends: %v, want %v", b.resp.Close, refused)
			}
			if c.status == 426 && name != "HTTP/1.0" && b.resp.Header.Get("Upgrade") != "websocket" {
				t.Errorf("426 without Upgrade: %v", b.resp.Header) // RFC 9110 §15.5.22
			}
			if c.header[0] != "" && b.resp.Header.Get(c.header[0]) != c.header[1] {
				t.Errorf("%s: %q, want %q", c.header[0], b.resp.Header.Get(c.header[0]), c.header[1])
			}
		})
	}
	b := r.request("Upgrade:", "Connection:", "Sec-WebSocket-Version:", "Sec-WebSocket-Key:", "Sec-WebSocket-Protocol:")
	if page, _ := io.ReadAll(b.resp.Body); b.resp.StatusCode != 400 || !strings.Contains(string(page), "RFC 7395") {
		t.Errorf("plain GET: %s %s", b.resp.Status, page)
	}
}

// Covers: WS-004.
func TestRFC6455_10_2_Origin(t *testing.T) {
	r := newRig(t, setup{origins: []string{"https://good.example", "https://*.wild.example"}})
	for origin, status := range map[string]int{
		"https://good.example":              101,
		"https://GOOD.example":              101,
		"https://a.wild.example":            101,
		"http://gateway.example":            101, // the gateway's own host
		"https://good.example:8443":         403,
		"http://good.example":               403,
		"https://good.example.evil.test":    403,
		"https://foreign.example":           403,
		"https://evilwild.example":          403,
		"null":                              403,
		"https://good.example@evil.example": 403,
	} {
		if b := r.request("Origin: " + origin); b.resp.StatusCode != status {
			t.Errorf("%s: %s, want %d", origin, b.resp.Status, status)
		}
	}
	// By default only the own host is allowed; "*" allows everything, null too.
	own := newRig(t, setup{origins: []string{}})
	if b := own.request("Origin: https://good.example"); b.resp.StatusCode != 403 {
		t.Errorf("default: %s", b.resp.Status)
	}
	if b := own.request("Origin: https://gateway.example"); b.resp.StatusCode != 101 {
		t.Errorf("default, own host: %s", b.resp.Status)
	}
	any := newRig(t, setup{})
	if b := any.request("Origin: null"); b.resp.StatusCode != 101 {
		t.Errorf("*: %s", b.resp.Status)
	}
}

// Covers: WS-005.
func TestRFC6455_10_1_WithoutOrigin(t *testing.T) {
	if b := newRig(t, setup{origins: []string{}}).request(); b.resp.StatusCode != 101 {
		t.Errorf("native client: %s", b.resp.Status)
	}
	strict := newRig(t, setup{cfg: Config{RequireOrigin: true}})
	if b := strict.request(); b.resp.StatusCode != 403 {
		t.Errorf("RequireOrigin: %s", b.resp.Status)
	}
	// An allowed Origin is no login: stanzas are refused as ever.
	b := strict.connect("Origin: https://a.example")
	b.open()
	b.say(`<message xmlns="jabber:client" to="a@example.org"/>`)
	b.expectError("not-authorized")
}

// Covers: WS-006.
func TestRFC6455_10_6_TLSRequired(t *testing.T) {
	loopback, err := peer.NewResolver([]string{"127.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, setup{cfg: Config{RequireTLS: true, Peers: loopback}})
	for forwarded, status := range map[string]int{
		"X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Proto: http":  403,
		"X-Forwarded-For: 198.51.100.7":                             403,
		"X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Proto: https": 101,
		"X-Unrelated: 1": 101, // loopback
	} {
		if b := r.request(forwarded); b.resp.StatusCode != status {
			t.Errorf("%q: %s, want %d", forwarded, b.resp.Status, status)
		}
	}
	// Without the setting, whether TLS is demanded is somebody else's decision.
	if b := newRig(t, setup{cfg: Config{Peers: loopback}}).request("X-Forwarded-For: 198.51.100.7"); b.resp.StatusCode != 101 {
		t.Errorf("not required: %s", b.resp.Status)
	}
}

// Over a hop that others can listen to, the browser is not offered to send a password (UP-051).
func TestPlainIsNotOfferedInTheClear(t *testing.T) {
	loopback, err := peer.NewResolver([]string{"127.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, setup{cfg: Config{Peers: loopback}})
	b := r.connect("X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Proto: http")
	if _, features := b.open(); strings.Contains(features, "PLAIN") || !strings.Contains(features, "SCRAM") {
		t.Errorf("offered %s", features)
	}
	b = r.connect("X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Proto: https")
	if _, features := b.open(); !strings.Contains(features, "PLAIN") {
		t.Errorf("offered %s", features)
	}
}

// Covers: WS-007.
func TestRFC6455_9_Compression(t *testing.T) {
	on := newRig(t, setup{cfg: Config{Compression: true}})
	off := newRig(t, setup{})
	offer := "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-unknown"
	if got := off.connect(offer).resp.Header.Get("Sec-WebSocket-Extensions"); got != "" {
		t.Errorf("off, offered: %q", got)
	}
	if got := on.connect().resp.Header.Get("Sec-WebSocket-Extensions"); got != "" {
		t.Errorf("on, not offered: %q", got)
	}
	got := on.connect(offer).resp.Header.Get("Sec-WebSocket-Extensions")
	if !strings.Contains(got, "server_no_context_takeover") || !strings.Contains(got, "client_no_context_takeover") || strings.Contains(got, "unknown") {
		t.Errorf("on, offered: %q", got)
	}
	on.chat(t, ws.CompressionNoContextTakeover)
	off.chat(t, ws.CompressionNoContextTakeover)
}

// chat logs in with coder/websocket's client and sends itself messages below and above the size that is compressed.
func (r *rig) chat(t *testing.T, mode ws.CompressionMode) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return r.dial(), nil }}}
	conn, _, err := ws.Dial(t.Context(), "ws://gateway.example/", &ws.DialOptions{
		HTTPClient: client, Subprotocols: []string{"xmpp"}, CompressionMode: mode,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(1 << 20)
	say := func(s string) {
		if err := conn.Write(t.Context(), ws.MessageText, []byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	hear := func(part string) {
		t.Helper()
		if _, p, err := conn.Read(t.Context()); err != nil || !strings.Contains(string(p), part) {
			t.Fatalf("expected %q, got %.200s, %v", part, p, err)
		}
	}
	say(openElement)
	hear("<open ")
	hear("<stream:features")
	say(`<auth xmlns="urn:ietf:params:xml:ns:xmpp-sasl" mechanism="ANONYMOUS"/>`)
	hear("<success")
	say(openElement)
	hear("<open ")
	hear("<stream:features")
	say(`<iq xmlns="jabber:client" type="set" id="b"><bind xmlns="urn:ietf:params:xml:ns:xmpp-bind"/></iq>`)
	hear("<jid>")
	for _, n := range []int{1, 600, 100_000} {
		body := strings.Repeat("é", n)
		say(`<message xmlns="jabber:client" id="m"><body>` + body + `</body></message>`)
		hear(body)
	}
}

// Covers: WS-008.
func TestRFC8441_NotOffered(t *testing.T) {
	// HTTP/2 has no Upgrade header: what comes that way is refused, and net/http sends no SETTINGS_ENABLE_CONNECT_PROTOCOL
	// on its own, so browsers use HTTP/1.1.
	r := newRig(t, setup{})
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: r.handler, Protocols: &protocols}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	defer func() { _ = srv.Close(); <-done }()
	transport := &http.Transport{Protocols: &protocols}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("http://" + ln.Addr().String() + "/xmpp-websocket")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.ProtoMajor != 2 || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("HTTP/%d: %s", resp.ProtoMajor, resp.Status)
	}
}

// Covers: WS-009.
func TestRFC6455_4_2_2_Quota(t *testing.T) {
	r := newRig(t, setup{cfg: Config{Quota: quota.New(quota.Config{SessionsPerAddress: 2})}})
	first := r.connect()
	r.connect()
	b := r.request()
	if b.resp.StatusCode != http.StatusTooManyRequests || b.resp.Header.Get("Retry-After") == "" {
		t.Errorf("third socket: %s", b.resp.Status)
	}
	if got := r.handler.Sessions(); got != 2 {
		t.Errorf("%d sessions", got)
	}
	_ = first.conn.Close()
	eventually(t, "place given back", func() bool { return r.handler.Sessions() == 1 })
	r.connect()

	// A place that no session came of is given back at once.
	r = newRig(t, setup{cfg: Config{Quota: quota.New(quota.Config{Sessions: 1})}})
	r.request("Sec-WebSocket-Key: short")
	r.connect()
	if b := r.request(); b.resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("no place left at all: %s", b.resp.Status)
	}
}

// Covers: WS-009.
func TestRFC6455_4_2_2_FailedLogins(t *testing.T) {
	q := quota.New(quota.Config{AuthFailures: quota.Rate{Count: 2, Per: time.Hour}})
	r := newRig(t, setup{cfg: Config{Quota: q}})
	b := r.connect()
	b.open()
	for range 3 {
		b.auth("alice", "wrong")
		b.expect("<failure", "<not-authorized/>")
	}
	if b := r.request(); b.resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("after three failures: %s", b.resp.Status)
	}
}

// Covers: WS-009, WS-023.
func TestRFC7395_3_4_SilentSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, setup{pipes: true, cfg: Config{AuthTimeout: 5 * time.Second}})
		b := r.connect()
		began := time.Now()
		b.expectSilence(4 * time.Second)
		b.expectClose(ws.StatusPolicyViolation)
		if waited := time.Since(began); waited < 5*time.Second || waited > 6*time.Second {
			t.Errorf("dropped after %v", waited)
		}
		synctest.Wait()
		if r.xmpp.Accepted() != 0 || r.metrics.ended["connection-timeout"] != 1 || r.handler.Sessions() != 0 {
			t.Errorf("connections %d, ended %v", r.xmpp.Accepted(), r.metrics.ended)
		}
	})
}

// Covers: WS-009.
func TestRFC7395_3_4_NeverLoggedIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, setup{pipes: true, cfg: Config{AuthTimeout: 5 * time.Second, Ping: -1}})
		b := r.connect()
		b.open()
		// A browser that logs in keeps its session, however quiet it is.
		alice := r.login("alice", "web")
		b.expectError("connection-timeout")
		b.say(closeFromBrowser)
		b.expectClose(ws.StatusNormalClosure)
		_ = alice.conn.SetReadDeadline(time.Time{})
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := r.handler.Sessions(); got != 1 {
			t.Errorf("%d sessions", got)
		}
		alice.say(`<iq xmlns="jabber:client" type="get" id="1" to="example.org"/>`)
		alice.expect("result")
	})
}

const closeFromBrowser = `<close xmlns="urn:ietf:params:xml:ns:xmpp-framing"/>`
