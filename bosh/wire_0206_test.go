package bosh

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stanzagate/internal/xmpptest"
)

// manual opens a session on a server that the test drives by hand, up to the first features.
func manual(t *testing.T, attrs string) (*browser, *xmpptest.Conn, reply) {
	t.Helper()
	return manualWith(t, Config{}, attrs)
}

func manualWith(t *testing.T, cfg Config, attrs string) (*browser, *xmpptest.Conn, reply) {
	t.Helper()
	r := newBubble(t, xmpptest.Options{Manual: true}, cfg)
	b := &browser{rig: r, rid: 1000}
	created := b.async(b.createBody(attrs))
	c := r.xmpp.Next()
	c.ExpectHeader()
	c.SendHeader("xml:lang='en'")
	c.SendFeatures(c.Mechanisms())
	out := r.get(created)
	b.sid = out.attr("sid")
	return b, c, out
}

// bound goes on up to a bound stream.
func bound(t *testing.T, attrs string) (*browser, *xmpptest.Conn) {
	t.Helper()
	return boundWith(t, Config{}, attrs)
}

func boundWith(t *testing.T, cfg Config, attrs string) (*browser, *xmpptest.Conn) {
	t.Helper()
	b, c, _ := manualWith(t, cfg, attrs)
	auth := b.hold("", plain("alice", "secret"))
	c.Expect("auth")
	c.Send("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
	b.get(auth)
	restarted := b.hold(restartAttrs, "")
	c.ExpectHeader()
	c.SendHeader("xml:lang='en'")
	c.SendFeatures("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>")
	b.get(restarted)
	bind := b.hold("", "<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
	iq := c.Expect("iq")
	c.Send("<iq type='result' id='" + iq.Attr("id") + "'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>alice@example.org/x</jid></bind></iq>")
	b.get(bind)
	return b, c
}

// inBubble runs f with virtual time.
func inBubble(t *testing.T, f func(t *testing.T)) { synctest.Test(t, f) }

// Covers: XBOSH-002, XBOSH-009, XBOSH-010, XBOSH-011, XBOSH-012, XBOSH-013, XBOSH-024, BOSH-061.
func TestXEP0206Login(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b, c, out := manual(t, defaultAttrs)
		if !strings.Contains(out.raw, "xmlns:stream='http://etherx.jabber.org/streams'") || !strings.Contains(out.raw, "<stream:features>") {
			t.Errorf("features: %s", out.raw)
		}
		if out.attr("authid") == "" || !strings.Contains(c.Received(), "to='example.org'") || out.attr("from") != "example.org" ||
			out.attrNS("urn:xmpp:xbosh", "version") != "1.0" || out.attrNS("urn:xmpp:xbosh", "restartlogic") != "true" {
			t.Errorf("got %s", out.raw)
		}
		auth := b.hold("", "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>Y2xpZW50</auth>")
		if got := c.Expect("auth").Raw; got != "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>Y2xpZW50</auth>" {
			t.Errorf("server got %s", got)
		}
		c.Send("<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>c2VydmVy</challenge>")
		if out := b.get(auth); !strings.Contains(out.raw, "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>c2VydmVy</challenge>") || strings.Contains(out.raw, "xmlns:stream") {
			t.Errorf("got %s", out.raw)
		}
		response := b.hold("", "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>cHJvb2Y=</response>")
		c.Expect("response")
		c.Send("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>dmVyaWZpZXI=</success>")
		if out := b.get(response); !strings.Contains(out.raw, ">dmVyaWZpZXI=</success>") {
			t.Errorf("got %s", out.raw)
		}
		restarted := b.hold(restartAttrs, "")
		header := c.ExpectHeader()
		if header.Attr("to") != "example.org" || strings.Contains(c.Received(), "</stream:stream>") {
			t.Errorf("restart: %s", c.Received())
		}
		c.SendHeader("")
		c.SendFeatures("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>")
		if out := b.get(restarted); !strings.Contains(out.raw, "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>") {
			t.Errorf("got %s", out.raw)
		}
		for _, resource := range []string{"<resource>mine</resource>"} {
			bind := b.hold("", "<iq xmlns='jabber:client' type='set' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"+resource+"</bind></iq>")
			if iq := c.Expect("iq"); iq.Child("bind").Child("resource").Text != "mine" {
				t.Errorf("server got %s", iq.Raw)
			}
			c.Send("<iq type='result' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>alice@example.org/other</jid></bind></iq>")
			if out := b.get(bind); !strings.Contains(out.raw, "<jid>alice@example.org/other</jid>") {
				t.Errorf("got %s", out.raw)
			}
		}
		if b.h.Sessions() != 1 || b.h.registry.all()[0].feeds[0].stream.JID() != "alice@example.org/other" {
			t.Error("not bound")
		}
	})
}

// Covers: XBOSH-014, XBOSH-015.
func TestRestart(t *testing.T) {
	for name, c := range map[string]struct{ attrs, payload, lang, condition string }{
		"plain":              {"", "", "de", ""},
		"own domain":         {" to='example.org'", "", "de", ""},
		"own domain in caps": {" to='EXAMPLE.ORG'", "", "de", ""},
		"another language":   {" xml:lang='fr'", "", "fr", ""},
		"with stanzas":       {"", "<message xmlns='jabber:client'/>", "de", ""},
		"another domain":     {" to='other.example'", "", "", "improper-addressing"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				b, conn, _ := manual(t, defaultAttrs+" xml:lang='de'")
				auth := b.hold("", plain("alice", "secret"))
				conn.Expect("auth")
				conn.Send("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
				b.get(auth)
				restarted := b.hold("xmlns:x='urn:xmpp:xbosh' x:restart='1'"+c.attrs, c.payload)
				if c.condition != "" {
					if out := b.get(restarted); out.attr("condition") != c.condition {
						t.Errorf("got %s", out.raw)
					}
					conn.ExpectEnd()
					return
				}
				h := conn.ExpectHeader()
				if !strings.Contains(h.Raw, "xml:lang='"+c.lang+"'") {
					t.Errorf("header %s", h.Raw)
				}
				conn.SendHeader("")
				conn.SendFeatures("")
				b.get(restarted)
				end := b.hold("type='terminate'", "")
				conn.ExpectEnd() // no message before it
				conn.CloseStream()
				b.get(end)
			})
		})
	}
}

// A restart that nothing has led to ends the session, not the gateway.
//
// Covers: XBOSH-013.
func TestRestartTooEarly(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b, c, _ := manual(t, defaultAttrs)
		out := b.say(restartAttrs, "")
		if out.attr("type") != "terminate" {
			t.Errorf("got %s", out.raw)
		}
		c.ExpectEnd()
	})
}

// Covers: XBOSH-005, XBOSH-001, UP-039.
func TestWhatIsNotForTheServer(t *testing.T) {
	ca := xmpptest.NewCA(t)
	srv := xmpptest.Start(t, xmpptest.Options{TLS: ca.Good("example.org"), PreAuth: "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>" +
		"<compression xmlns='http://jabber.org/features/compress'><method>zlib</method></compression>"})
	r := newRig(t, xmpptest.Options{}, Config{Dialer: newDialer(t, srv.Setting(ca.File()))})
	b, out := r.open(defaultAttrs)
	if strings.Contains(out.raw, "starttls") || strings.Contains(out.raw, "compress") || !strings.Contains(out.raw, "PLAIN") {
		t.Errorf("features: %s", out.raw)
	}
	server := srv.Next()
	for payload, want := range map[string]string{
		"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>":                                    "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'",
		"<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>": "<failure xmlns='http://jabber.org/protocol/compress'",
	} {
		if out := b.say("", payload); !strings.Contains(out.raw, want) {
			t.Errorf("%s: %s", payload, out.raw)
		}
	}
	received := server.Received()
	if strings.Contains(received, "compress") || strings.Count(received, "<starttls") > 1 {
		t.Errorf("server got %s", received)
	}
	out = b.say("", "<message xmlns='jabber:client'/>") // before login
	if out.attr("type") != "terminate" || !strings.Contains(out.raw, "not-authorized") {
		t.Errorf("stanza before login: %s", out.raw)
	}
	waitFor(t, func() bool { return strings.HasSuffix(server.Received(), "</stream:stream>") })
	if strings.Contains(server.Received(), "message") {
		t.Errorf("server got %s", server.Received())
	}
}

// Covers: XBOSH-018, BOSH-164, BOSH-124, BOSH-125.
func TestStreamErrors(t *testing.T) {
	const app = "<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>" +
		"<text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='de'>Genug.</text><why xmlns='urn:app' x='1'/></stream:error></stream:stream>"
	for name, c := range map[string]struct {
		send, want string
	}{
		"conflict":                        {"<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>", "<conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"},
		"with text and an element of its": {app, strings.TrimPrefix(strings.TrimSuffix(app, "</stream:stream>"), "<stream:error>")},
		"looks like a condition of BOSH":  {"<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>", "<host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"},
	} {
		for _, held := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					b, conn := bound(t, defaultAttrs)
					var answer <-chan reply
					if held {
						answer = b.hold("", "")
						synctest.Wait()
					}
					conn.Send("<message><body>last words</body></message>" + c.send)
					conn.ExpectEnd()
					if !held {
						time.Sleep(time.Second)
						answer = b.hold("", "")
					}
					out := b.get(answer)
					if !strings.Contains(out.raw, "last words") {
						t.Errorf("got %s", out.raw)
					}
					if out.attr("type") == "" { // the rest comes next
						out = b.say("", "")
					}
					if out.attr("type") != "terminate" || out.attr("condition") != "remote-stream-error" ||
						!strings.Contains(out.raw, "xmlns:stream='http://etherx.jabber.org/streams'") || !strings.Contains(out.raw, c.want) {
						t.Errorf("got %s", out.raw)
					}
					synctest.Wait()
					if got := b.counted.endings(); len(got) != 1 || got[0] != "remote-stream-error" {
						t.Errorf("counted %q", got)
					}
				})
			})
		}
	}
}

// Covers: XBOSH-019.
func TestServerGoesAway(t *testing.T) {
	for name, c := range map[string]struct {
		how       func(*xmpptest.Conn)
		condition string
	}{
		"closed": {func(c *xmpptest.Conn) { c.CloseStream(); c.ExpectEnd() }, ""},
		"lost":   {(*xmpptest.Conn).Cut, "item-not-found"}, // so that clients log in again; see the issue on replicas
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				b, conn := bound(t, defaultAttrs)
				conn.Send("<message><body>before the end</body></message>")
				synctest.Wait()
				c.how(conn)
				out := b.say("", "")
				if !strings.Contains(out.raw, "before the end") {
					t.Errorf("got %s", out.raw)
				}
				if out.attr("type") == "" {
					out = b.say("", "")
				}
				if out.attr("type") != "terminate" || out.attr("condition") != c.condition {
					t.Errorf("got %s", out.raw)
				}
			})
		})
	}
}

// Stanzas that nobody fetches any more are answered as the server would do it.
//
// Covers: XBOSH-020.
func TestUndeliverableStanzas(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b, c := bound(t, defaultAttrs)
		c.Send("<message from='bob@example.org/x' id='m1' type='chat'><body>a</body></message>" +
			"<message from='bob@example.org/x' id='m2' type='error'/>" +
			"<presence from='bob@example.org/x'/>" +
			"<iq from='bob@example.org/x' id='i1' type='get'><query xmlns='jabber:iq:version'/></iq>" +
			"<iq from='bob@example.org/x' id='i2' type='result'/>" +
			"<iq from='bob@example.org/x' id='i3' type='set'><x xmlns='y'/></iq>")
		synctest.Wait()
		time.Sleep(b.h.cfg.Inactivity + time.Second)
		for _, want := range []struct{ local, id, condition string }{
			{"message", "m1", "recipient-unavailable"}, {"iq", "i1", "service-unavailable"}, {"iq", "i3", "service-unavailable"},
		} {
			n := c.Expect(want.local)
			e := n.Child("error")
			if n.Attr("id") != want.id || n.Attr("to") != "bob@example.org/x" || n.Attr("type") != "error" || e.Child(want.condition).Name.Space != "urn:ietf:params:xml:ns:xmpp-stanzas" {
				t.Errorf("server got %s, want %v", n.Raw, want)
			}
		}
		c.ExpectEnd()
		c.CloseStream()
	})
}

// Covers: BOSH-119, BOSH-120, BOSH-122, BOSH-123, BOSH-127.
func TestTerminate(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b, c := bound(t, defaultAttrs)
		held := b.hold("", "")
		synctest.Wait()
		body := b.next("type='terminate' condition='undefined-condition'", "<presence xmlns='jabber:client' type='unavailable'/>")
		end := b.async(body)
		if p := c.Expect("presence"); p.Attr("type") != "unavailable" {
			t.Errorf("server got %s", p.Raw)
		}
		c.ExpectEnd()
		c.CloseStream()
		if out := b.get(held); out.attr("type") != "terminate" || out.attr("condition") != "" {
			t.Errorf("held request: %s", out.raw)
		}
		first := b.get(end)
		if first.status != 200 || len(first.Nodes) > 0 {
			t.Errorf("terminate request: %s", first.raw)
		}
		if again := b.post(nil, body); again.raw != first.raw {
			t.Errorf("repeat: %s, before: %s", again.raw, first.raw)
		}
		if out := b.say("", ""); out.attr("condition") != "item-not-found" {
			t.Errorf("afterwards: %s", out.raw)
		}
	})
}

// Covers: BOSH-070, BOSH-073, BOSH-121, BOSH-133.
func TestRequestsOutOfOrder(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b, c := bound(t, "ver='1.11' wait='60' hold='2'")
		rid := b.rid
		end := b.async(b.at(rid+3, "type='terminate'", "<presence xmlns='jabber:client' type='unavailable'/>"))
		synctest.Wait()
		second := b.async(b.at(rid+2, "", message("x", "2")))
		synctest.Wait()
		first := b.async(b.at(rid+1, "", message("x", "1")))
		if got := c.Expect("message").Child("body").Text; got != "1" {
			t.Errorf("first came %s", got)
		}
		if got := c.Expect("message").Child("body").Text; got != "2" {
			t.Errorf("then came %s", got)
		}
		c.Expect("presence")
		c.ExpectEnd()
		c.CloseStream()
		for _, ch := range []<-chan reply{first, second, end} {
			if out := b.get(ch); out.status != 200 || out.err != nil {
				t.Errorf("%d %v", out.status, out.err)
			}
		}
	})
}

// Covers: BOSH-093, BOSH-094, BOSH-100.
func TestInactivity(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b, c := bound(t, defaultAttrs)
		before := c.Received()
		time.Sleep(b.h.cfg.Inactivity - time.Second)
		synctest.Wait()
		if got := c.Received(); got != before || b.h.Sessions() != 1 {
			t.Errorf("too early: %s", got)
		}
		c.ExpectEnd()
		c.CloseStream()
		if out := b.say("", ""); out.attr("condition") != "item-not-found" {
			t.Errorf("afterwards: %s", out.raw)
		}
		if n := len(b.h.registry.all()); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
	})
}

// Covers: BOSH-182.
func TestLoginTakesTooLong(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b, c, _ := manual(t, defaultAttrs)
		began := time.Now()
		held := b.hold("", "")
		out := b.get(held)
		if out.attr("type") != "terminate" || time.Since(began) > b.h.cfg.AuthTimeout {
			t.Errorf("after %v: %s", time.Since(began), out.raw)
		}
		c.ExpectEnd()
	})
}

// Covers: UP-031, UP-112, UP-115.
func TestKeepAlive(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newBubble(t, xmpptest.Options{PostAuth: "<limits xmlns='urn:xmpp:stream-limits:0'><idle-seconds>100</idle-seconds></limits>"}, Config{})
		b := r.login("alice")
		server := r.xmpp.Session("alice@example.org")
		before := server.Received()
		for range 4 {
			b.say("", "") // one minute each
		}
		if got := strings.TrimPrefix(server.Received(), before); got != "    " {
			t.Errorf("in 4 minutes the server heard %q", got)
		}
	})
}
