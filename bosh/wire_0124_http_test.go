package bosh

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"stanzagate/internal/origin"
	"stanzagate/internal/xmpptest"
)

// Covers: BOSH-001.
func TestHTTP10(t *testing.T) {
	for _, keepAlive := range []bool{false, true} {
		t.Run(fmt.Sprintf("keep-alive %v", keepAlive), func(t *testing.T) {
			r := newRig(t, xmpptest.Options{}, Config{Origins: anyOrigins(t)})
			old := &http10{rig: r, keepAlive: keepAlive}
			b := r.loginWith(&http.Client{Transport: old}, "alice", defaultAttrs)
			out := b.say("", message("alice@example.org", "to myself"))
			if m, _ := b.until(out, "message"); len(m.Nodes) != 1 || m.Nodes[0].Text != "to myself" {
				t.Errorf("got %+v", m)
			}
			if out := b.say("type='terminate'", ""); out.attr("type") != "terminate" {
				t.Errorf("terminate: %s", out.raw)
			}
			if keepAlive != (old.dialled == 1) {
				t.Errorf("%d connections", old.dialled)
			}
		})
	}
}

// Covers: BOSH-002, BOSH-070.
func TestHTTP2(t *testing.T) {
	r := newRig(t, xmpptest.Options{}, Config{Origins: anyOrigins(t)}, overTLS)
	b := r.login("alice")
	first := b.next("", message("alice@example.org", "1"))
	second := b.next("", message("alice@example.org", "2"))
	late := b.async(second) // waits for the first, on the same connection
	out := r.post(nil, first)
	if out.proto != "HTTP/2.0" {
		t.Fatalf("protocol %s", out.proto)
	}
	var got []string
	collect := func(out reply) {
		for _, m := range out.Nodes {
			got = append(got, m.Nodes[0].Text)
		}
	}
	collect(out)
	if len(got) < 2 { // else the first brought both, and the other one is held
		collect(r.get(late))
	}
	for len(got) < 2 {
		collect(b.say("", ""))
	}
	if strings.Join(got, " ") != "1 2" {
		t.Errorf("got %q", got)
	}
}

// Covers: BOSH-003.
func TestNothingOutsideTheBodies(t *testing.T) {
	r := newRig(t, xmpptest.Options{}, Config{Origins: anyOrigins(t)})
	b, out := r.open(defaultAttrs)
	for _, out := range []reply{out, b.say("", plain("alice", "wrong")), b.say("type='terminate'", ""), b.say("", "")} {
		if out.status != http.StatusOK || len(out.header.Values("Set-Cookie")) > 0 {
			t.Errorf("status %d, cookies %q", out.status, out.header.Values("Set-Cookie"))
		}
	}
}

// Covers: BOSH-004, BOSH-014, BOSH-031.
func TestResponseLength(t *testing.T) {
	r := newRig(t, xmpptest.Options{}, Config{Origins: anyOrigins(t)})
	b := r.login("alice")
	server := r.xmpp.Session("alice@example.org")
	for _, size := range []int{10, 3000, 900 << 10} {
		conn := r.dial()
		conn.post(1, b.next("", ""))
		server.Send("<message><body>" + strings.Repeat("x", size) + "</body></message>")
		res, body := conn.response()
		if res.ContentLength != int64(len(body)) || len(res.TransferEncoding) > 0 || len(body) < size {
			t.Errorf("%d bytes: Content-Length %d, Transfer-Encoding %q", len(body), res.ContentLength, res.TransferEncoding)
		}
		if res.Header.Get("Cache-Control") != "no-store" || res.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("header %v", res.Header)
		}
		if !strings.HasPrefix(body, "<body ") {
			t.Errorf("begins with %.20q", body)
		}
	}
}

// Covers: BOSH-005.
func TestChunkedRequest(t *testing.T) {
	r := newRig(t, xmpptest.Options{}, Config{Origins: anyOrigins(t)})
	b := r.login("alice")
	body := b.next("", message("alice@example.org", strings.Repeat("z", 10000)))
	conn := r.dial()
	conn.write("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
	for _, part := range []string{body[:1], body[1:77], body[77:]} {
		conn.write(fmt.Sprintf("%x\r\n%s\r\n", len(part), part))
	}
	conn.write("0\r\n\r\n")
	if _, got := conn.response(); !strings.Contains(got, strings.Repeat("z", 10000)) {
		t.Errorf("got %.200s", got)
	}
}

// Covers: BOSH-006.
func TestContentTypeIsIgnored(t *testing.T) {
	r := newRig(t, xmpptest.Options{}, Config{Origins: anyOrigins(t)})
	b := r.login("alice")
	for _, header := range [][]string{
		{"Content-Type: text/xml; charset=utf-8"},
		{"Content-Type: text/plain"},
		{"Content-Type: application/x-www-form-urlencoded"},
		{"Content-Type: application/json"},
		{"X-Unknown: 1"},
	} {
		out := r.post(nil, b.next("", message("alice@example.org", "same")), header...)
		if m, _ := b.until(out, "message"); m.Nodes[0].Text != "same" {
			t.Errorf("%q: got %s", header, out.raw)
		}
	}
}

// Covers: BOSH-011.
func TestPipelining(t *testing.T) {
	r := newRig(t, xmpptest.Options{}, Config{Origins: anyOrigins(t)})
	b := r.loginWith(nil, "alice", "ver='1.11' wait='1' hold='1'")
	conn := r.dial()
	began := time.Now()
	conn.post(1, b.next("", ""))
	conn.post(1, b.next("", message("alice@example.org", "pipelined")))
	conn.post(1, b.next("", ""))
	for i, want := range []string{"<body xmlns='http://jabber.org/protocol/httpbind'/>", "pipelined"} {
		res, body := conn.response()
		if res.StatusCode != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("answer %d: %d %s", i, res.StatusCode, body)
		}
		if took := time.Since(began); took > time.Duration(i+1)*time.Second+500*time.Millisecond {
			t.Errorf("answer %d after %v, although each request is held for 1 s at most", i, took)
		}
	}
	conn.response()
}

// Requests that come on one connection in the wrong order wait for each other: the one in front is told to come again.
//
// Covers: BOSH-011.
func TestPipeliningInTheWrongOrder(t *testing.T) {
	r := newRig(t, xmpptest.Options{}, Config{Origins: anyOrigins(t)})
	b := r.loginWith(nil, "alice", "ver='1.11' wait='1' hold='1'")
	conn := r.dial()
	conn.post(1, b.at(b.rid+2, "", message("alice@example.org", "second")))
	conn.post(1, b.at(b.rid+1, "", message("alice@example.org", "first")))
	if _, body := conn.response(); !strings.Contains(body, "type='error'") {
		t.Errorf("got %s", body)
	}
	if _, body := conn.response(); !strings.Contains(body, "first") || strings.Index(body, "second") < strings.Index(body, "first") && strings.Contains(body, "second") {
		t.Errorf("got %s", body)
	}
}

// Covers: BOSH-012, BOSH-013, BOSH-014.
func TestMethods(t *testing.T) {
	r := newRig(t, xmpptest.Options{}, Config{Origins: anyOrigins(t)})
	b := r.login("alice")
	body := b.at(b.rid+1, "type='terminate'", "")
	for method, want := range map[string]int{
		http.MethodGet: 200, http.MethodHead: 200, http.MethodOptions: 200, http.MethodPut: 405, http.MethodDelete: 405,
		http.MethodPatch: 405, "PROPFIND": 405,
	} {
		out := r.do(nil, method, r.web.URL+"/http-bind", strings.NewReader(body), "Origin: https://page.example")
		if out.status != want {
			t.Errorf("%s: status %d", method, out.status)
		}
		if out.header.Get("Access-Control-Allow-Origin") != "*" || out.header.Get("Cache-Control") != "no-store" || out.header.Get("Content-Length") == "" {
			t.Errorf("%s: header %v", method, out.header)
		}
		if want == 405 && out.header.Get("Allow") == "" {
			t.Errorf("%s: no Allow", method)
		}
		if method == http.MethodGet && !strings.Contains(out.raw, "BOSH") {
			t.Errorf("GET: %s", out.raw)
		}
	}
	if out := b.say("", message("alice@example.org", "alive")); !strings.Contains(out.raw, "alive") {
		t.Errorf("session harmed: %s", out.raw)
	}
}

// Covers: BOSH-013.
func TestCORS(t *testing.T) {
	listed, err := origin.Parse([]string{"https://chat.example", "https://*.apps.example"})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, xmpptest.Options{}, Config{Origins: listed})
	for _, c := range []struct {
		origins []string
		allowed bool
	}{
		{nil, true},
		{[]string{"https://chat.example"}, true},
		{[]string{"https://a.b.apps.example"}, true},
		{[]string{r.web.URL}, true},
		{[]string{"https://evil.example"}, false},
		{[]string{"null"}, false},
		{[]string{"http://chat.example"}, false},
		{[]string{"https://chat.example", "https://evil.example"}, false},
	} {
		var headers []string
		for _, o := range c.origins {
			headers = append(headers, "Origin: "+o)
		}
		started := r.h.Sessions()
		out := r.post(nil, (&browser{rid: 1}).createBody(defaultAttrs), headers...)
		allow, credentials := out.header.Get("Access-Control-Allow-Origin"), out.header.Get("Access-Control-Allow-Credentials")
		switch {
		case !c.allowed:
			if out.status != http.StatusForbidden || allow != "" || r.h.Sessions() != started {
				t.Errorf("%q: status %d, allow %q, %d sessions", c.origins, out.status, allow, r.h.Sessions()-started)
			}
		case len(c.origins) == 0:
			if out.attr("sid") == "" || allow != "" {
				t.Errorf("no origin: %s, allow %q", out.raw, allow)
			}
		case out.attr("sid") == "" || allow != c.origins[0] || credentials != "true":
			t.Errorf("%q: %s, allow %q", c.origins, out.raw, allow)
		}
		if !strings.Contains(out.header.Get("Vary"), "Origin") {
			t.Errorf("%q: Vary %q", c.origins, out.header.Get("Vary"))
		}
		pre := r.do(nil, http.MethodOptions, r.web.URL, nil, append(headers, "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type")...)
		methods, age := pre.header.Get("Access-Control-Allow-Methods"), pre.header.Get("Access-Control-Max-Age")
		if pre.status != http.StatusOK || c.allowed != strings.Contains(methods, "POST") || c.allowed != (age != "") {
			t.Errorf("%q: preflight %d %v", c.origins, pre.status, pre.header)
		}
		if c.allowed && !strings.Contains(pre.header.Get("Access-Control-Allow-Headers"), "Content-Encoding") {
			t.Errorf("%q: preflight %v", c.origins, pre.header)
		}
	}
}

// With "*" credentials are never allowed, and the answer is the same for all origins.
//
// Covers: BOSH-013.
func TestCORSForAll(t *testing.T) {
	r := newRig(t, xmpptest.Options{}, Config{Origins: anyOrigins(t)})
	out := r.post(nil, "not xml", "Origin: null")
	if out.header.Get("Access-Control-Allow-Origin") != "*" || out.header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("header %v", out.header)
	}
	if out.attr("condition") != "bad-request" {
		t.Errorf("got %s", out.raw)
	}
}

// A page must be able to read that something went wrong, whatever it was.
//
// Covers: BOSH-013, BOSH-014.
func TestCORSOnErrors(t *testing.T) {
	r := newRig(t, xmpptest.Options{}, Config{Origins: anyOrigins(t)})
	b := &browser{rig: r, rid: 1}
	legacy, out := r.open("wait='60' hold='1'")
	if out.attr("sid") == "" {
		t.Fatal(out.raw)
	}
	answers := map[int]reply{
		400: r.post(nil, legacy.next("", "<a")),
		404: r.do(nil, http.MethodGet, r.url+"?%3Cbody", nil),
		405: r.do(nil, http.MethodPut, r.url, nil),
		413: r.post(nil, strings.Repeat(" ", 2<<20)),
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = r.h.Drain(ctx)
	answers[503] = r.post(nil, b.createBody(defaultAttrs))
	for status, out := range answers {
		if out.status != status || out.header.Get("Access-Control-Allow-Origin") != "*" || out.header.Get("Cache-Control") != "no-store" ||
			out.header.Get("X-Content-Type-Options") != "nosniff" || out.header.Get("Content-Length") == "" {
			t.Errorf("%d: %d %v", status, out.status, out.header)
		}
	}
}

// Covers: BOSH-015.
func TestBodyTooLarge(t *testing.T) {
	r := newRig(t, xmpptest.Options{}, Config{Origins: anyOrigins(t), BodyBytes: 300 << 10})
	b := r.login("alice")
	filler := "<message xmlns='jabber:client'><body>" + strings.Repeat("x", 300<<10) + "</body></message>"
	for name, client := range map[string]func(body string) reply{
		"length known": func(body string) reply { return r.post(nil, body) },
		"chunked": func(body string) reply {
			return r.do(nil, http.MethodPost, r.web.URL, io.MultiReader(strings.NewReader(body)))
		},
	} {
		if out := client("<body xmlns='http://jabber.org/protocol/httpbind' rid='1' to='example.org'>" + filler + "</body>"); out.status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: creation: %d %s", name, out.status, out.raw)
		}
		if out := client("<body xmlns='http://jabber.org/protocol/httpbind' rid='1' sid='unknown'>" + filler + "</body>"); out.status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: unknown session: %d %s", name, out.status, out.raw)
		}
	}
	held := b.hold("", "")
	waitFor(t, func() bool { return b.heldNow() == 1 })
	out := r.post(nil, b.next("", filler))
	if out.status != http.StatusOK || out.attr("condition") != "policy-violation" || out.attr("type") != "terminate" {
		t.Errorf("live session: %d %s", out.status, out.raw)
	}
	if out := r.get(held); out.attr("condition") != "other-request" {
		t.Errorf("held request: %s", out.raw)
	}
}

// 413 comes before the rest of the body is sent.
//
// Covers: BOSH-015.
func TestTooLargeWithoutReading(t *testing.T) {
	r := newRig(t, xmpptest.Options{}, Config{Origins: anyOrigins(t)})
	conn := r.dial()
	conn.write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n<body xmlns='http://jabber.org/protocol/httpbind' rid='1'>" + strings.Repeat(" ", peekBytes))
	res, _ := conn.response()
	if res.StatusCode != http.StatusRequestEntityTooLarge || !res.Close {
		t.Errorf("status %d, close %v", res.StatusCode, res.Close)
	}
}

// One stanza of the promised minimum passes, one beyond the limit does not.
//
// Covers: BOSH-015.
func TestStanzaLimit(t *testing.T) {
	if _, err := New(Config{Dialer: newDialer(t), Limits: limitsOf(9999)}); err == nil || !strings.Contains(err.Error(), "ElementBytes") {
		t.Errorf("a limit below 10000: %v", err)
	}
	r := newRig(t, xmpptest.Options{}, Config{Origins: anyOrigins(t), Limits: limitsOf(10000)})
	b := r.login("alice")
	fits := message("alice@example.org", "")
	fits = message("alice@example.org", strings.Repeat("x", 10000-len(fits)))
	if out := b.say("", fits); !strings.Contains(out.raw, "xxxx") {
		t.Errorf("10000 bytes: %.200s", out.raw)
	}
	if out := b.say("", strings.Replace(fits, "x", "xx", 1)); out.attr("condition") != "policy-violation" {
		t.Errorf("10001 bytes: %.200s", out.raw)
	}
}

// Covers: BOSH-016.
func TestConditionsComeWithStatus200(t *testing.T) {
	for name, c := range map[string]struct {
		body      func(b *browser) string
		condition string
	}{
		"not XML": {func(*browser) string { return "hello" }, "bad-request"},
		"empty":   {func(*browser) string { return "" }, "bad-request"},
		"no rid": {func(b *browser) string {
			return "<body xmlns='http://jabber.org/protocol/httpbind' sid='" + b.sid + "'/>"
		}, "bad-request"},
		"malformed payload": {func(b *browser) string { return b.next("", "<message") }, "bad-request"},
		"unknown session":   {func(b *browser) string { b.sid = "nobody"; return b.next("", "") }, "item-not-found"},
		"empty sid":         {func(b *browser) string { b.sid = ""; return b.next("", "") }, "item-not-found"},
		"rid far away":      {func(b *browser) string { return b.at(b.rid+100, "", "") }, "item-not-found"},
		"pause too long":    {func(b *browser) string { return b.next("pause='9999'", "") }, "policy-violation"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, xmpptest.Options{}, Config{Origins: anyOrigins(t)})
			b, _ := r.open(defaultAttrs)
			out := r.post(nil, c.body(b))
			if out.status != http.StatusOK || out.attr("type") != "terminate" || out.attr("condition") != c.condition {
				t.Errorf("%d %s", out.status, out.raw)
			}
		})
	}
}

// Covers: BOSH-018, BOSH-095.
func TestBrokenHeldRequest(t *testing.T) {
	r := newRig(t, xmpptest.Options{}, Config{Origins: anyOrigins(t)})
	b := r.login("alice")
	conn := r.dial()
	lost := b.next("", "")
	conn.post(1, lost)
	waitFor(t, func() bool { return b.heldNow() == 1 })
	conn.reset()
	waitFor(t, func() bool { return b.heldNow() == 0 })
	r.xmpp.Session("alice@example.org").Send("<message><body>once</body></message>")
	if out := r.post(nil, lost); strings.Count(out.raw, "once") != 1 {
		t.Errorf("repeat: %s", out.raw)
	}
	next := b.hold("", "")
	if out := b.say("type='terminate'", ""); strings.Contains(out.raw, "once") {
		t.Errorf("twice: %s", out.raw)
	}
	if out := r.get(next); strings.Contains(out.raw, "once") {
		t.Errorf("twice: %s", out.raw)
	}
}

// The same with HTTP/2, where the connection stays and only the stream is reset.
//
// Covers: BOSH-002, BOSH-018.
func TestCancelledHeldRequest(t *testing.T) {
	r := newRig(t, xmpptest.Options{}, Config{Origins: anyOrigins(t)}, overTLS)
	b := r.login("alice")
	ctx, cancel := context.WithCancel(t.Context())
	lost := b.next("", "")
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, strings.NewReader(lost))
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan reply, 1)
	go func() { gone <- r.send(nil, req) }()
	waitFor(t, func() bool { return b.heldNow() == 1 })
	cancel()
	waitFor(t, func() bool { return b.heldNow() == 0 })
	if out := r.get(gone); out.err == nil {
		t.Errorf("got %s", out.raw)
	}
	r.xmpp.Session("alice@example.org").Send("<message><body>once</body></message>")
	if out := r.post(nil, lost); strings.Count(out.raw, "once") != 1 || out.proto != "HTTP/2.0" {
		t.Errorf("repeat by %s: %s", out.proto, out.raw)
	}
}

// Covers: BOSH-019.
func TestBrokenResponse(t *testing.T) {
	r := newRig(t, xmpptest.Options{}, Config{Origins: anyOrigins(t)})
	b := r.login("alice")
	text := strings.Repeat("lost response ", 60<<10)
	conn := r.dial()
	lost := b.next("", "")
	conn.post(1, lost)
	waitFor(t, func() bool { return b.heldNow() == 1 })
	r.xmpp.Session("alice@example.org").Send("<message><body>" + text + "</body></message>")
	if _, err := conn.r.Peek(1000); err != nil { // it has begun, and does not fit into any buffer
		t.Fatal(err)
	}
	conn.reset()
	for range 2 {
		if out := r.post(nil, lost); strings.Count(out.raw, text) != 1 {
			t.Errorf("repeat: %d bytes: %.200s", len(out.raw), out.raw)
		}
	}
}

// A body that does not come is not waited for, and leaves no trace.
//
// Covers: BOSH-017, BOSH-182.
func TestSlowBody(t *testing.T) {
	r := newRig(t, xmpptest.Options{}, Config{Origins: anyOrigins(t), BodyTimeout: 100 * time.Millisecond})
	b := r.login("alice")
	conn := r.dial()
	conn.write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n" + b.at(b.rid+1, "", "")[:60])
	conn.expectClosed()
	// The time-out is over once the body is there.
	held := b.hold("", "")
	time.AfterFunc(300*time.Millisecond, func() { r.xmpp.Session("alice@example.org").Send("<message><body>later</body></message>") })
	if out := r.get(held); !strings.Contains(out.raw, "later") {
		t.Errorf("held request: %v %s", out.err, out.raw)
	}
}

// Covers: BOSH-022.
func TestBrokenOffBody(t *testing.T) {
	r := newRig(t, xmpptest.Options{}, Config{Origins: anyOrigins(t)})
	b := r.login("alice")
	body := b.next("", message("alice@example.org", "whole"))
	conn := r.dial()
	conn.write(fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body[:len(body)-5]))
	conn.reset()
	if out := r.post(nil, body); strings.Count(out.raw, "whole") != 1 {
		t.Errorf("same rid again: %s", out.raw)
	}
}
