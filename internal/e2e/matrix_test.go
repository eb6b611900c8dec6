//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

var transports = []string{"websocket", "bosh"}

// scenario is one cell's worth of the matrix, on one server over one transport.
type scenario struct {
	name string
	run  func(t *testing.T, s *server, kind string, ep endpoint)
}

var scenarios = []scenario{
	{"mechanisms", testMechanisms},
	{"wrong password first", testWrongPassword},
	{"anonymous", testAnonymous},
	{"presence and logout", testPresence},
	{"payloads both ways", testPayloads},
	{"iq", testIQ},
	{"200 messages in order", testOrder},
	{"resource conflict", testConflict},
}

// TestMatrix runs every scenario on every server over both transports.
func TestMatrix(t *testing.T) {
	for _, name := range []string{"prosody", "ejabberd", "jabberd2"} {
		for _, kind := range transports {
			t.Run(name+"/"+kind, func(t *testing.T) {
				if name != "jabberd2" { // see leaveJabberd2: its sessions must not come and go side by side
					t.Parallel()
				}
				s := getServer(t, name)
				ep := getEndpoint(t, s)
				for _, sc := range scenarios {
					t.Run(sc.name, func(t *testing.T) { sc.run(t, s, kind, ep) })
				}
			})
		}
	}
}

// pair logs in two accounts over the same transport.
func pair(t *testing.T, s *server, kind string, ep endpoint) (alice, bob *client) {
	t.Helper()
	alice, bob = newClient(t, kind, ep, s.domain), newClient(t, kind, ep, s.domain)
	alice.login("PLAIN", s.account(t), password, "desk")
	bob.login("PLAIN", s.account(t), password, "phone")
	return alice, bob
}

func testMechanisms(t *testing.T, s *server, kind string, ep endpoint) {
	for _, m := range s.mechanisms {
		t.Run(m, func(t *testing.T) {
			user := s.account(t)
			c := newClient(t, kind, ep, s.domain)
			c.login(m, user, password, "here")
			if want := user + "@" + s.domain + "/"; !strings.HasPrefix(c.jid, want) {
				t.Errorf("bound to %q, want %s…", c.jid, want)
			}
			if err := c.tr.end(c.ctx()); !cleanEnd(err) {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

// cleanEnd says whether the session ended without an error condition.
func cleanEnd(err error) bool {
	var end *errTerminated
	return errors.As(err, &end) && (end.condition == "" || end.condition == "close")
}

func testWrongPassword(t *testing.T, s *server, kind string, ep endpoint) {
	user := s.account(t)
	c := newClient(t, kind, ep, s.domain)
	c.open()
	for _, m := range s.mechanisms {
		if err := c.authenticate(m, user, "not-"+password); !errors.Is(err, errAuth) {
			t.Fatalf("%s with a wrong password: %v", m, err)
		}
	}
	c.must(c.authenticate("PLAIN", user, password))
	c.finish("here")
}

func testAnonymous(t *testing.T, s *server, kind string, ep endpoint) {
	if s.anonymous == "" {
		t.Skipf("%s has no anonymous domain", s.name)
	}
	c, d := newClient(t, kind, ep, s.anonymous), newClient(t, kind, ep, s.anonymous)
	c.login("ANONYMOUS", "", "", "")
	d.login("ANONYMOUS", "", "", "")
	c.send(`<presence xmlns="jabber:client"/>`)
	d.send(`<presence xmlns="jabber:client"/>`)
	c.send(`<message xmlns="jabber:client" to="%s" type="chat"><body>hello stranger</body></message>`, escape(d.jid))
	if got := d.awaitMessage(c.jid).kid("body").Text; got != "hello stranger" {
		t.Errorf("got %q", got)
	}
}

func testPresence(t *testing.T, s *server, kind string, ep endpoint) {
	alice, bob := pair(t, s, kind, ep)
	bob.send(`<presence xmlns="jabber:client"/>`)
	alice.send(`<presence xmlns="jabber:client"/>`)
	alice.send(`<presence xmlns="jabber:client" to="%s"><show>dnd</show><status>b&#xfc;sy &amp; away</status></presence>`, bob.jid)
	p := bob.awaitPresence(alice.jid, "")
	if p.kid("show").Text != "dnd" || p.kid("status").Text != "büsy & away" {
		t.Errorf("presence arrived as %v", p)
	}
	_ = alice.tr.end(alice.ctx())
	bob.awaitPresence(alice.jid, "unavailable")
}

// payload is a message body as a client writes it, and the text that must arrive.
type payload struct{ name, raw, want string }

func payloads() []payload {
	big := strings.Repeat("Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. ", 900)
	return []payload{
		{"emoji", "👩‍👩‍👧‍👦 🏳️‍🌈 𝄞 ☃", "👩‍👩‍👧‍👦 🏳️‍🌈 𝄞 ☃"},
		{"entities", "&lt;a&gt; &amp;amp; &quot;q&quot; &apos;s&apos; &#233; &#x1F600;", "<a> &amp; \"q\" 's' é 😀"},
		{"cdata", "<![CDATA[<not> an & element]]>", "<not> an & element"},
		{"quotes", `"double" 'single'`, `"double" 'single'`},
		{"cdata end", "x ]]&gt; y ]] z", "x ]]> y ]] z"},
		{"combining marks", "e\u0301 Z\u0351\u0343\u0316a\u0301\u0323 \u202eright\u202c", "e\u0301 Z\u0351\u0343\u0316a\u0301\u0323 \u202eright\u202c"},
		{"white space", " a\t b\n c ", " a\t b\n c "},
		{"60 kB", big[:60_000-60_000%10], big[:60_000-60_000%10]},
	}
}

func testPayloads(t *testing.T, s *server, kind string, ep endpoint) {
	alice, bob := pair(t, s, kind, ep)
	for _, c := range []*client{alice, bob} {
		c.send(`<presence xmlns="jabber:client"/>`)
	}
	for _, way := range []struct{ from, to *client }{{alice, bob}, {bob, alice}} {
		for _, p := range payloads() {
			way.from.send(`<message xmlns="jabber:client" to="%s" type="chat" xml:lang="de"><subject xml:lang="tlh">%s</subject><body>%s</body>`+
				`<x:data xmlns:x="urn:example:e2e" x:k="&lt;'&quot;"/></message>`, way.to.jid, p.name, p.raw)
			m := way.to.awaitMessage(way.from.jid)
			if got := m.kid("body").Text; got != p.want {
				t.Errorf("%s arrived as %.200q, want %.200q", p.name, got, p.want)
			}
			if got := m.attr("lang", nsXML); got != "de" {
				t.Errorf("%s: xml:lang of the message is %q", p.name, got)
			}
			if got := m.kid("subject").attr("lang", nsXML); got != "tlh" {
				t.Errorf("%s: xml:lang of the subject is %q", p.name, got)
			}
			if x := m.kid("data"); !x.is("urn:example:e2e", "data") || x.attr("k", "urn:example:e2e") != `<'"` {
				t.Errorf("%s: prefixed element arrived as %v", p.name, x)
			}
		}
	}
}

func testIQ(t *testing.T, s *server, kind string, ep endpoint) {
	alice, bob := pair(t, s, kind, ep)
	if r := alice.query("get", "", `<query xmlns="jabber:iq:roster"/>`); r.attr("type") != "result" {
		t.Errorf("roster: %v", r)
	}
	if r := alice.query("get", s.domain, `<query xmlns="urn:example:nothing"/>`); r.attr("type") != "error" {
		t.Errorf("an unknown query to the server: %v", r)
	}
	// From client to client and back.
	for _, c := range []*client{alice, bob} {
		c.send(`<presence xmlns="jabber:client"/>`)
	}
	alice.send(`<iq xmlns="jabber:client" type="get" id="peer" to="%s"><e xmlns="urn:example:e2e"/></iq>`, bob.jid)
	bob.await("iq from alice", func(n *node) bool { return n.is(nsClient, "iq") && n.attr("id") == "peer" })
	bob.send(`<iq xmlns="jabber:client" type="result" id="peer" to="%s"><e xmlns="urn:example:e2e">pong</e></iq>`, alice.jid)
	got := alice.await("answer of bob", func(n *node) bool { return n.is(nsClient, "iq") && n.attr("id") == "peer" })
	if got.kid("e") == nil || got.kid("e").Text != "pong" {
		t.Errorf("answer: %v", got)
	}
}

func testOrder(t *testing.T, s *server, kind string, ep endpoint) {
	const count = 200
	alice, bob := pair(t, s, kind, ep)
	bob.send(`<presence xmlns="jabber:client"/>`)
	// The presence is processed once a later query of the same session is answered.
	bob.query("get", "", `<query xmlns="jabber:iq:roster"/>`)
	var want, got []string
	for i := range count {
		want = append(want, fmt.Sprint(i))
		alice.send(`<message xmlns="jabber:client" to="%s" type="chat"><body>%d</body></message>`, bob.jid, i)
	}
	for range count {
		got = append(got, bob.awaitMessage(alice.jid).kid("body").Text)
	}
	if !slices.Equal(got, want) {
		t.Errorf("order broken: %v", got)
	}
}

func testConflict(t *testing.T, s *server, kind string, ep endpoint) {
	user := s.account(t)
	first := newClient(t, kind, ep, s.domain)
	first.login("PLAIN", user, password, "same")
	second := newClient(t, kind, ep, s.domain)
	second.login("PLAIN", user, password, "same")
	if first.jid != second.jid {
		t.Fatalf("bound %s and %s", first.jid, second.jid)
	}
	e := first.awaitName(nsStreams, "error")
	if !e.kid("conflict").is(nsStrErr, "conflict") {
		t.Errorf("stream error %v, want conflict", e)
	}
	over := first.in.ended(first.ctx())
	var end *errTerminated
	if !errors.As(over, &end) {
		t.Fatalf("the first session ended with %v", over)
	}
	// XEP-0124 §17.2: a stream error of the server is passed on under this condition.
	if kind == "bosh" && end.condition != "remote-stream-error" {
		t.Errorf("condition %q", end.condition)
	}
	if r := second.query("get", "", `<query xmlns="jabber:iq:roster"/>`); r.attr("type") != "result" {
		t.Errorf("the second session answers %v", r)
	}
}
