package bosh

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stanzagate/internal/quota"
	"stanzagate/internal/xmpptest"
	"stanzagate/upstream"
)

// Covers: BOSH-034, BOSH-035, BOSH-036.
func TestDomain(t *testing.T) {
	for name, c := range map[string]struct{ to, fallback, condition string }{
		"served":               {" to='example.org'", "", ""},
		"other case":           {" to='EXAMPLE.Org'", "", ""},
		"missing":              {"", "", "improper-addressing"},
		"empty":                {" to=''", "", "improper-addressing"},
		"missing, by default":  {"", "example.org", ""},
		"empty, by default":    {" to=''", "example.org", ""},
		"unknown":              {" to='stranger.example'", "example.org", "host-unknown"},
		"not a domain":         {" to='a@b/c'", "", "host-unknown"},
		"formerly served":      {" to='gone.example'", "", "host-gone"},
		"the server's address": {" to='192.0.2.1'", "", "host-unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newBubble(t, xmpptest.Options{}, Config{DefaultDomain: c.fallback})
				served := r.h.cfg.Dialer.Domains()
				if err := r.h.cfg.Dialer.SetDomains([]string{"example.org=xmpp://192.0.2.1:5222?tls=none", "gone.example"}); err != nil {
					t.Fatal(err)
				}
				if err := r.h.cfg.Dialer.SetDomains([]string{"example.org=xmpp://192.0.2.1:5222?tls=none"}); err != nil {
					t.Fatal(served, err)
				}
				began := time.Now()
				out := r.post(nil, "<body rid='1' ver='1.6'"+c.to+" "+bodyNS+"/>")
				if out.attr("condition") != c.condition || (out.attr("sid") != "") != (c.condition == "") {
					t.Errorf("got %s", out.raw)
				}
				if c.condition != "" && (r.xmpp.Accepted() != 0 || !time.Now().Equal(began)) {
					t.Errorf("%d connections, %v", r.xmpp.Accepted(), time.Since(began))
				}
				if c.condition == "" {
					if _, ok := out.child("features"); !ok || out.attr("from") != "example.org" {
						t.Errorf("got %s", out.raw)
					}
				}
			})
		})
	}
}

// Covers: BOSH-037, BOSH-038.
func TestRouteIsNotFollowed(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	r := newRig(t, xmpptest.Options{}, Config{})
	for _, route := range []string{"xmpp:" + ln.Addr().String(), "xmpp:[::1]:1", "xmpp:h", "foo:h:1", ""} {
		if _, out := r.open(defaultAttrs + " route='" + route + "'"); out.attr("sid") == "" {
			t.Errorf("%q: %s", route, out.raw)
		}
	}
	if err := ln.(*net.TCPListener).SetDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if c, err := ln.Accept(); err == nil {
		_ = c.Close()
		t.Error("the route was connected to")
	}
}

// Covers: BOSH-068.
func TestUnreachableServer(t *testing.T) {
	silent := xmpptest.Start(t, xmpptest.Options{Handler: func(c *xmpptest.Conn) { _, _ = c.Read() }})
	ca := xmpptest.NewCA(t)
	secure := xmpptest.Start(t, xmpptest.Options{TLS: ca.Good("example.org")})
	for name, c := range map[string]struct {
		setting string
		quick   bool
	}{
		"nobody listens":        {"example.org=xmpp://127.0.0.1:1?tls=none", true},
		"silent":                {silent.Setting(""), false},
		"untrusted certificate": {secure.Setting(""), true},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := upstream.NewDialer(upstream.Config{Domains: []string{c.setting}, ConnectTimeout: 300 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			r := newRig(t, xmpptest.Options{}, Config{Dialer: d})
			b := &browser{rig: r, rid: 1}
			out := r.post(nil, b.createBody(defaultAttrs))
			if out.attr("type") != "terminate" || out.attr("condition") != "remote-connection-failed" {
				t.Errorf("got %s", out.raw)
			}
			if out.took > 2*time.Second {
				t.Errorf("after %v", out.took)
			}
			waitFor(t, func() bool { return r.h.Sessions() == 0 && len(r.counted.endings()) == 1 })
			if got := r.counted.endings(); got[0] != "remote-connection-failed" {
				t.Errorf("counted %q", got)
			}
		})
	}
}

// Covers: BOSH-164.
func TestStreamErrorWhileOpening(t *testing.T) {
	r := newRig(t, xmpptest.Options{Handler: func(c *xmpptest.Conn) {
		if _, err := c.ReadHeader(); err == nil {
			c.SendHeader("")
			c.StreamError("host-unknown")
			_, _ = c.Read()
		}
	}}, Config{})
	_, out := r.open(defaultAttrs)
	if out.attr("condition") != "remote-stream-error" {
		t.Fatalf("got %s", out.raw)
	}
	if e, ok := out.child("error"); !ok || e.Nodes[0].XMLName.Local != "host-unknown" {
		t.Errorf("got %s", out.raw)
	}
}

// Covers: BOSH-042, BOSH-163.
func TestLegacyClients(t *testing.T) {
	const legacy = "wait='60' hold='1'"
	for name, c := range map[string]struct {
		body   func(b *browser) string
		status int
	}{
		"bad request":             {func(b *browser) string { return b.next("pause='x'", "") }, http.StatusBadRequest},
		"malformed":               {func(b *browser) string { return b.next("", "<a") }, http.StatusBadRequest},
		"policy violation":        {func(b *browser) string { return b.next("pause='9999'", "") }, http.StatusForbidden},
		"rid far away":            {func(b *browser) string { return b.at(b.rid+1000, "", "") }, http.StatusNotFound},
		"too large":               {func(b *browser) string { return b.next("", strings.Repeat(" ", 2<<20)) }, http.StatusForbidden},
		"unknown session":         {func(b *browser) string { b.sid = "x"; return b.next("", "") }, http.StatusOK},
		"unparsable first":        {func(b *browser) string { return "x" }, http.StatusOK},
		"creation without domain": {func(b *browser) string { return "<body rid='1' " + bodyNS + "/>" }, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, xmpptest.Options{}, Config{})
			b, out := r.open(legacy)
			if out.attr("ver") != "" || out.attr("sid") == "" {
				t.Fatalf("got %s", out.raw)
			}
			out = r.post(nil, c.body(b))
			if out.status != c.status {
				t.Errorf("status %d: %s", out.status, out.raw)
			}
			if c.status == http.StatusOK && out.attr("condition") == "" {
				t.Errorf("got %s", out.raw)
			}
			if out.header.Get("Content-Length") == "" {
				t.Error("no Content-Length")
			}
		})
	}
}

// Covers: BOSH-052.
func TestSessionQuota(t *testing.T) {
	q := quota.New(quota.Config{Sessions: 3, SessionsPerAddress: 2})
	r := newRig(t, xmpptest.Options{}, Config{Quota: q})
	var open []*browser
	for range 2 {
		b, out := r.open(defaultAttrs)
		if out.attr("sid") == "" {
			t.Fatalf("got %s", out.raw)
		}
		open = append(open, b)
	}
	connections := r.xmpp.Accepted()
	if _, out := r.open(defaultAttrs); out.status != http.StatusOK || out.attr("condition") != "policy-violation" {
		t.Errorf("third session of the address: %d %s", out.status, out.raw)
	}
	if _, out := r.open("wait='1' hold='1'"); out.status != http.StatusForbidden {
		t.Errorf("the same without ver: %d %s", out.status, out.raw)
	}
	open[0].say("type='terminate'", "") // its place is free again
	q2 := quota.New(quota.Config{Sessions: 1})
	full := newRig(t, xmpptest.Options{}, Config{Quota: q2})
	full.open(defaultAttrs)
	if _, out := full.open(defaultAttrs); out.status != http.StatusServiceUnavailable || out.header.Get("Retry-After") == "" {
		t.Errorf("full replica: %d %s", out.status, out.raw)
	}
	if r.xmpp.Accepted() != connections {
		t.Error("a refused session was connected")
	}
	if _, out := r.open(defaultAttrs); out.attr("sid") == "" {
		t.Errorf("after one has ended: %s", out.raw)
	}
}

// Failed logins count against the address.
//
// Covers: BOSH-182.
func TestAuthFailuresAreCounted(t *testing.T) {
	rate, err := quota.ParseRate("2/h")
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, xmpptest.Options{}, Config{Quota: quota.New(quota.Config{AuthFailures: rate})})
	b, out := r.open(defaultAttrs)
	b.until(out, "features")
	for range 3 {
		b.until(b.say("", plain("alice", "wrong")), "failure")
	}
	if _, out := r.open(defaultAttrs); out.attr("condition") != "policy-violation" {
		t.Errorf("a new session: %s", out.raw)
	}
	b.until(b.say("", plain("alice", "right")), "success") // this one goes on
}

// Covers: BOSH-054.
func TestSIDs(t *testing.T) {
	seen := map[string]bool{}
	for range 50_000 {
		sid := newSID()
		if seen[sid] || len(sid) < 128/6 || strings.ContainsAny(sid, "<>&'\" \t\n=+/") {
			t.Fatalf("sid %q", sid)
		}
		seen[sid] = true
	}
}

// Covers: BOSH-153.
func TestStreamNames(t *testing.T) {
	seen := map[string]bool{}
	for range 10_000 {
		for _, name := range newNames(4) {
			if seen[name] || len(name) < 96/6 {
				t.Fatalf("name %q", name)
			}
			seen[name] = true
		}
	}
}

// Covers: BOSH-051.
func TestPayloadInCreation(t *testing.T) {
	r := newRig(t, xmpptest.Options{}, Config{})
	b := &browser{rig: r, rid: 1}
	body := strings.Replace(b.createBody(defaultAttrs), "/>", ">"+plain("alice", "secret")+"</body>", 1)
	out := r.post(nil, body)
	b.sid = out.attr("sid")
	b.until(out, "success")
}

// Covers: BOSH-033.
func TestSIDNeverCreates(t *testing.T) {
	r := newRig(t, xmpptest.Options{}, Config{})
	b, _ := r.open(defaultAttrs)
	for _, sid := range []string{"nobody", ""} {
		b.sid = sid
		if out := b.say("to='example.org' wait='60' hold='1' ver='1.6'", ""); out.attr("condition") != "item-not-found" {
			t.Errorf("sid %q: %s", sid, out.raw)
		}
	}
	if r.h.Sessions() != 1 {
		t.Errorf("%d sessions", r.h.Sessions())
	}
}

// Covers: BOSH-046.
func TestContentOfASession(t *testing.T) {
	r := newRig(t, xmpptest.Options{}, Config{})
	b, out := r.open(defaultAttrs + " content='text/plain; charset=utf-8'")
	answers := []reply{out, b.say("", plain("alice", "wrong")), b.say("pause='1'", ""), r.post(nil, b.at(b.rid, "pause='1'", "")), b.say("type='terminate'", "")}
	for i, out := range answers {
		if got := out.header.Get("Content-Type"); got != "text/plain; charset=utf-8" {
			t.Errorf("answer %d: %q", i, got)
		}
	}
	_, out = r.open(defaultAttrs)
	if got := out.header.Get("Content-Type"); got != "text/xml; charset=utf-8" {
		t.Errorf("default: %q", got)
	}
	_, out = r.open(defaultAttrs + " content='text/html'")
	if got := out.header.Get("Content-Type"); got != "text/xml; charset=utf-8" {
		t.Errorf("text/html: %q", got)
	}
}

// Covers: BOSH-067, XBOSH-009.
func TestLateFeatures(t *testing.T) {
	for _, delay := range []time.Duration{100 * time.Millisecond, 8 * time.Second} {
		t.Run(delay.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newBubble(t, xmpptest.Options{Handler: func(c *xmpptest.Conn) {
					if _, err := c.ReadHeader(); err != nil {
						return
					}
					c.SendHeader("")
					time.Sleep(delay)
					c.SendFeatures(c.Mechanisms())
					_, _ = c.Read()
				}}, Config{})
				began := time.Now()
				b, out := r.open(defaultAttrs)
				late := delay > featuresWait
				if out.attr("sid") == "" || time.Since(began) != min(delay, featuresWait) {
					t.Errorf("after %v: %s", time.Since(began), out.raw)
				}
				if _, ok := out.child("features"); ok == late {
					t.Errorf("got %s", out.raw)
				}
				if late {
					out = b.say("", "")
				}
				if _, ok := out.child("features"); !ok || time.Since(began) != delay || out.attr("authid") == "" || out.attrNS("urn:xmpp:xbosh", "version") != "1.0" {
					t.Errorf("after %v: %s", time.Since(began), out.raw)
				}
			})
		})
	}
}

// A creation that is repeated because its answer was lost makes a second session; the first dies without having done anything.
//
// Covers: BOSH-053, BOSH-093, BOSH-100.
func TestRepeatedCreation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newBubble(t, xmpptest.Options{}, Config{Inactivity: 30 * time.Second})
		lost, _ := r.open(defaultAttrs)
		b := r.login("alice")
		if r.h.Sessions() != 2 {
			t.Fatalf("%d sessions", r.h.Sessions())
		}
		first := r.xmpp.Next()
		held := b.hold("", "")
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if r.h.Sessions() != 1 || lost.session() != nil {
			t.Errorf("%d sessions", r.h.Sessions())
		}
		if got := first.Received(); !strings.HasSuffix(got, "</stream:stream>") || strings.Contains(got, "<auth") {
			t.Errorf("the first stream got %s", got)
		}
		r.get(held)
	})
}

// The browser's word on who it is goes to the server on encrypted streams only, and the language is passed on.
//
// Covers: BOSH-039, BOSH-040, XBOSH-006, XBOSH-008.
func TestHeaderToServer(t *testing.T) {
	ca := xmpptest.NewCA(t)
	for name, c := range map[string]struct {
		o    xmpptest.Options
		from string
	}{
		"in the clear": {xmpptest.Options{}, ""},
		"encrypted":    {xmpptest.Options{TLS: ca.Good("example.org"), Direct: true}, "alice@example.org"},
	} {
		t.Run(name, func(t *testing.T) {
			seen := make(chan xmpptest.Node, 1)
			c.o.Handler = func(conn *xmpptest.Conn) {
				if c.o.TLS != nil {
					if err := conn.Handshake(); err != nil {
						return
					}
				}
				h, err := conn.ReadHeader()
				if err != nil {
					return
				}
				seen <- h
				conn.SendHeader("")
				conn.SendFeatures(conn.Mechanisms())
				_, _ = conn.Read()
			}
			srv := xmpptest.Start(t, c.o)
			file := ""
			if c.o.TLS != nil {
				file = ca.File()
			}
			r := newRig(t, xmpptest.Options{}, Config{Dialer: newDialer(t, srv.Setting(file))})
			r.open(defaultAttrs + " from='alice@example.org' xml:lang='de'")
			h := <-seen
			lang := ""
			for _, a := range h.Attrs {
				if a.Name.Local == "lang" {
					lang = a.Value
				}
			}
			if h.Attr("from") != c.from || h.Attr("to") != "example.org" || h.Attr("version") != "1.0" || lang != "de" {
				t.Errorf("header %s", h.Raw)
			}
		})
	}
}

// A browser that goes away while its stream is being opened does not keep the opening going once the session is over.
func TestOpeningIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := false
		d, err := upstream.NewDialer(upstream.Config{
			Domains: []string{"example.org=xmpp://192.0.2.1:5222?tls=none"}, ConnectTimeout: time.Hour,
			Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				ended = true
				return nil, ctx.Err()
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		r := newBubble(t, xmpptest.Options{}, Config{Dialer: d})
		b, _ := r.open(defaultAttrs)
		if out := b.say("type='terminate'", ""); out.attr("type") != "terminate" {
			t.Errorf("got %s", out.raw)
		}
		synctest.Wait()
		if !ended {
			t.Error("the server is still being looked for")
		}
	})
}
