package websocket

import (
	"context"
	"encoding/xml"
	"errors"
	"strings"
	"testing"
	"time"

	ws "github.com/coder/websocket"

	"stanzagate/internal/xmpptest"
	"stanzagate/upstream"
)

// attributes returns those of a message's root.
func attributes(t *testing.T, message string) map[string]string {
	t.Helper()
	tok, err := xml.NewDecoder(strings.NewReader(message)).Token()
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	for _, a := range tok.(xml.StartElement).Attr {
		m[a.Name.Local] = a.Value
	}
	return m
}

// Covers: WS-023.
func TestRFC7395_3_4_ClientSpeaksFirst(t *testing.T) {
	r := newRig(t, setup{})
	b := r.connect()
	b.expectSilence(50 * time.Millisecond)
	if r.xmpp.Accepted() != 0 {
		t.Error("connected before the browser said where to")
	}
	b.say(`<open xmlns="urn:ietf:params:xml:ns:xmpp-framing" to="EXAMPLE.org" from="alice@example.org" version="1.0" xml:lang="de"/>`)
	b.expect("<open ", `from="example.org"`)
	c := r.xmpp.Next()
	eventually(t, "header", func() bool { return strings.Contains(c.Received(), "<stream:stream") })
	if h := c.Received(); !strings.Contains(h, "to='example.org'") || !strings.Contains(h, "xml:lang='de'") || strings.Contains(h, "from=") {
		t.Errorf("header to the server, in the clear: %s", h)
	}
}

// Covers: WS-024, WS-033.
func TestRFC6120_4_9_Addressing(t *testing.T) {
	r := newRig(t, setup{upstream: upstream.Config{Domains: []string{"retired.example=xmpp://127.0.0.1:1"}}})
	if err := r.handler.cfg.Dialer.SetDomains([]string{r.xmpp.Setting("")}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ to, condition string }{
		"missing":    {``, "improper-addressing"},
		"empty":      {` to=""`, "improper-addressing"},
		"unknown":    {` to="elsewhere.example"`, "host-unknown"},
		"no domain":  {` to="a@b/c d"`, "host-unknown"},
		"long":       {` to="` + strings.Repeat("x", 5000) + `"`, "host-unknown"},
		"with quote": {` to="&quot;&lt;"`, "host-unknown"},
		"retired":    {` to="retired.example"`, "host-gone"},
	} {
		t.Run(name, func(t *testing.T) {
			b := r.connect()
			b.say(`<open xmlns="urn:ietf:params:xml:ns:xmpp-framing" version="1.0"` + c.to + `/>`)
			if from, found := attributes(t, b.expect("<open "))["from"]; !found || from != "" && from != domain {
				t.Errorf("from=%q", from)
			}
			b.expectError(c.condition)
			b.say(closeFromBrowser)
			b.expectClose(ws.StatusNormalClosure)
			r.endedAs(c.condition)
		})
	}
	if n := r.xmpp.Accepted(); n != 0 {
		t.Errorf("%d connections to the server", n)
	}
}

// Covers: WS-025.
func TestRFC7395_3_4_OpenResponse(t *testing.T) {
	r := newRig(t, setup{xmpp: xmpptest.Options{Manual: true}})
	ids := map[string]bool{}
	for range 20 {
		b, c := r.meet()
		c.SendHeader("xml:lang='fr'")
		c.SendFeatures(c.Mechanisms())
		a := attributes(t, b.expect(`<open xmlns="urn:ietf:params:xml:ns:xmpp-framing" `))
		if a["from"] != domain || a["version"] != "1.0" || a["lang"] != "fr" || len(a["id"]) < 22 || ids[a["id"]] {
			t.Errorf("open: %v", a)
		}
		if _, found := a["to"]; found {
			t.Error("to, though the browser sent no from")
		}
		ids[a["id"]] = true
		_ = b.conn.Close()
	}
	b := r.connect()
	b.say(`<open xmlns="urn:ietf:params:xml:ns:xmpp-framing" to="example.org" from="a&amp;&quot;'@example.org" version="1.0"/>`)
	c := r.xmpp.Next()
	c.Greet(c.Mechanisms())
	if a := attributes(t, b.expect("<open ")); a["to"] != `a&"'@example.org` || a["lang"] == "" {
		t.Errorf("open: %v", a)
	}
}

// Covers: WS-026, WS-033.
func TestRFC7395_3_3_2_Namespace(t *testing.T) {
	r := newRig(t, setup{})
	for _, message := range []string{
		`<open xmlns="jabber:client" to="example.org" version="1.0"/>`,
		`<open to="example.org" version="1.0"/>`,
		`<close xmlns="x"/>`,
		`<close/>`,
		`<f:open xmlns:f="urn:ietf:params:xml:ns:xmpp-framing#" to="example.org" version="1.0"/>`,
	} {
		b := r.connect()
		b.say(message)
		b.expect("<open ")
		b.expectError("invalid-namespace")
	}
	b := r.login("alice", "web")
	b.say(`<close xmlns="jabber:client"/>`)
	b.expectError("invalid-namespace")
	// A prefix is as good as a default namespace.
	b = r.connect()
	b.say(`<f:open xmlns:f="urn:ietf:params:xml:ns:xmpp-framing" to="example.org" version="1.0"/>`)
	b.expect("<open ")
	b.expect("<stream:features")
	b.say(`<f:close xmlns:f="urn:ietf:params:xml:ns:xmpp-framing"></f:close>`)
	b.expectCloseElement()
}

// Covers: WS-027.
func TestRFC7395_3_4_FirstMessage(t *testing.T) {
	r := newRig(t, setup{})
	for message, condition := range map[string]string{
		`<message xmlns="jabber:client" to="a@example.org"/>`:                                                                  "not-authorized",
		`<auth xmlns="urn:ietf:params:xml:ns:xmpp-sasl" mechanism="ANONYMOUS"/>`:                                               "not-authorized",
		`<stream:stream xmlns:stream="http://etherx.jabber.org/streams" xmlns="jabber:client" to="example.org" version="1.0">`: "not-well-formed",
		`<stream:stream xmlns:stream="http://etherx.jabber.org/streams" to="example.org" version="1.0"/>`:                      "bad-format",
		`<garbage`:  "not-well-formed",
		`{"op": 1}`: "not-well-formed",
		`garbage`:   "not-well-formed",
		`<a:b/>`:    "not-well-formed",
		"\n" + `<open xmlns="urn:ietf:params:xml:ns:xmpp-framing" to="example.org" version="1.0"/>`:     "bad-format",
		"\ufeff" + `<open xmlns="urn:ietf:params:xml:ns:xmpp-framing" to="example.org" version="1.0"/>`: "bad-format",
	} {
		b := r.connect()
		b.say(message)
		b.expect("<open ")
		b.expectError(condition)
		b.say(closeFromBrowser)
		b.expectClose(ws.StatusNormalClosure)
	}
	if n := r.xmpp.Accepted(); n != 0 {
		t.Errorf("%d connections to the server", n)
	}
	// A browser that changes its mind at once.
	b := r.connect()
	b.say(closeFromBrowser)
	b.expectCloseElement()
	b.closeWith(ws.StatusNormalClosure)
}

// Covers: WS-028.
func TestRFC7395_3_4_OneStream(t *testing.T) {
	r := newRig(t, setup{})
	b := r.connect()
	b.open()
	b.say(openElement)
	b.expectError("policy-violation")
	b.say(closeFromBrowser)
	b.expectClose(ws.StatusPolicyViolation)
	r.endsCleanly()

	b = r.login("alice", "web")
	b.say(openElement)
	b.expectError("policy-violation")
}

// Covers: WS-029.
func TestRFC6120_4_7_5_Version(t *testing.T) {
	r := newRig(t, setup{})
	for version, ok := range map[string]bool{
		`version="1.0"`: true, `version="1.1"`: true, `version="01.0"`: true, `version="1.10"`: true,
		`version="2.0"`: false, `version="10.0"`: false, `version="0.9"`: false, `version=""`: false, `version="x"`: false,
		`version="1.x"`: false, ``: false,
	} {
		b := r.connect()
		b.say(`<open xmlns="urn:ietf:params:xml:ns:xmpp-framing" to="example.org" ` + version + `/>`)
		if got := attributes(t, b.expect("<open "))["version"]; got != "1.0" {
			t.Errorf("%s is answered with %q", version, got)
		}
		if ok {
			b.expect("<stream:features")
		} else {
			b.expectError("unsupported-version")
		}
	}
}

// Covers: WS-030.
func TestRFC7395_3_4_Features(t *testing.T) {
	r := newRig(t, setup{xmpp: xmpptest.Options{Manual: true}})
	b, c := r.meet()
	c.SendHeader("")
	c.SendFeatures("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>" +
		"<compression xmlns='http://jabber.org/features/compress'><method>zlib</method></compression>" + c.Mechanisms() + "<ver xmlns='urn:xmpp:features:rosterver'/>")
	b.expect("<open ")
	if p := b.expect("<stream:features", "<mechanism>PLAIN</mechanism>", "rosterver"); strings.Contains(p, "starttls") || strings.Contains(p, "compress") {
		t.Errorf("features: %s", p)
	}
}

// Covers: WS-031.
func TestRFC7395_3_5_Unreachable(t *testing.T) {
	mute := xmpptest.Start(t, xmpptest.Options{Manual: true}) // accepts, and never answers
	r := newRig(t, setup{upstream: upstream.Config{
		ConnectTimeout: 500 * time.Millisecond,
		Domains:        []string{"closed.example=xmpp://127.0.0.1:1?tls=none", "mute.example=xmpp://" + mute.Addr + "?tls=none"},
	}})
	for _, to := range []string{"closed.example", "mute.example"} {
		began := time.Now()
		b := r.connect()
		b.say(strings.Replace(openElement, domain, to, 1))
		b.expect("<open ", `from="`+to+`"`)
		b.expectError("remote-connection-failed")
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s: after %v", to, took)
		}
		b.say(closeFromBrowser)
		b.expectClose(ws.StatusNormalClosure)
		r.endedAs("remote-connection-failed")
	}
}

// Covers: WS-031, WS-032.
func TestRFC7395_3_5_ServerRefuses(t *testing.T) {
	r := newRig(t, setup{xmpp: xmpptest.Options{Manual: true}})
	b, c := r.meet()
	c.SendHeader("")
	c.StreamError("policy-violation")
	b.expect("<open ")
	b.expect("<stream:error", "<policy-violation")
	b.expectCloseElement()
}

// Covers: WS-032.
func TestRFC7395_3_5_StreamErrorUnchanged(t *testing.T) {
	r := newRig(t, setup{xmpp: xmpptest.Options{Resumable: true}})
	b := r.login("alice", "web")
	inner := "<conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/><text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>Replaced &amp; gone</text>" +
		"<kicked xmlns='urn:example'>by <b>you</b></kicked>"
	r.xmpp.Session("alice@example.org").Send("<stream:error>" + inner + "</stream:error></stream:stream>")
	if p := b.hear(); !strings.HasPrefix(p, "<stream:error ") || !strings.HasSuffix(p, ">"+inner+"</stream:error>") {
		t.Errorf("error: %s", p)
	}
	b.expectCloseElement()
	b.say(closeFromBrowser)
	b.expectClose(ws.StatusNormalClosure)
	r.endedAs("conflict")
}

// Covers: WS-034.
func TestRFC7395_3_7_Restart(t *testing.T) {
	r := newRig(t, setup{})
	b := r.connect()
	first, _ := b.open()
	b.auth("alice", "wrong")
	b.expect("<failure")
	b.auth("alice", "secret")
	b.expect("<success")
	b.say(openElement)
	second := b.expect("<open ") // and no <close/> before it
	if attributes(t, first)["id"] == attributes(t, second)["id"] || fixed(first) != fixed(second) {
		t.Errorf("first %s, second %s", first, second)
	}
	b.expect("<stream:features", "<bind")
	b.bind("web")
	c := r.xmpp.Next()
	if n := strings.Count(c.Received(), "<stream:stream "); n != 2 {
		t.Errorf("%d stream headers to the server", n)
	}
	if strings.Contains(c.Received(), "</stream:stream>") {
		t.Error("stream closed by the restart")
	}
	b.say(openElement) // and not a third
	b.expectError("policy-violation")
}

// Covers: WS-034.
func TestRFC7395_3_7_RestartElsewhere(t *testing.T) {
	other := xmpptest.Start(t, xmpptest.Options{Domain: "other.example"})
	r := newRig(t, setup{upstream: upstream.Config{Domains: []string{other.Setting("")}}})
	for to, condition := range map[string]string{`to="other.example"`: "host-unknown", ``: "improper-addressing"} {
		b := r.connect()
		b.open()
		b.auth("alice", "secret")
		b.expect("<success")
		b.say(`<open xmlns="urn:ietf:params:xml:ns:xmpp-framing" version="1.0" ` + to + `/>`)
		b.expectError(condition)
	}
}

// Covers: WS-035.
func TestRFC7395_3_7_QuietUntilReopened(t *testing.T) {
	r := newRig(t, setup{xmpp: xmpptest.Options{Manual: true}})
	// A server in a hurry, in one write: something that belongs to the old stream, too early as it is.
	b, c := r.succeed("<message id='early'/>")
	b.expectSilence(50 * time.Millisecond)
	b.say(openElement)
	b.expect("<open ")
	b.expect("id='early'")
	c.Greet("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>")
	b.expect("<stream:features")
}

// A browser may leave in that time, whatever the server has said too early. Nothing is left behind.
//
// Covers: WS-035.
func TestRFC7395_3_7_LeftInsteadOfReopened(t *testing.T) {
	for name, leave := range map[string]func(*browser){
		"close":   func(b *browser) { b.say(`<close xmlns="urn:ietf:params:xml:ns:xmpp-framing"/>`) },
		"fault":   func(b *browser) { b.say("nonsense") },
		"no word": func(b *browser) { _ = b.conn.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, setup{xmpp: xmpptest.Options{Manual: true}})
			b, c := r.succeed("<message id='early'/>")
			leave(b)
			c.ExpectEnd()
			c.Cut()
			eventually(t, "the session's end", func() bool {
				_, _, _ = b.next()
				return r.handler.Sessions() == 0
			})
		})
	}
}

// Covers: WS-036.
func TestXEP0388_NoRestart(t *testing.T) {
	r := newRig(t, setup{xmpp: xmpptest.Options{Manual: true}})
	b, c := r.meet()
	c.SendHeader("")
	offer := "<authentication xmlns='urn:xmpp:sasl:2'><mechanism>PLAIN</mechanism></authentication>"
	c.SendFeatures(offer)
	b.expect("<open ")
	b.expect("<stream:features", offer)
	b.say(`<authenticate xmlns="urn:xmpp:sasl:2" mechanism="PLAIN"><initial-response>AGFsaWNlAHNlY3JldA==</initial-response></authenticate>`)
	if n := c.Expect("authenticate"); n.Name.Space != "urn:xmpp:sasl:2" {
		t.Errorf("server heard %s", n.Raw)
	}
	c.Send("<success xmlns='urn:xmpp:sasl:2'><authorization-identifier>alice@example.org</authorization-identifier></success>")
	c.SendFeatures("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>")
	b.expect("<success")
	b.expect("<stream:features", "<bind")
	b.say(openElement)
	b.expectError("policy-violation")
}

// Covers: WS-037.
func TestRFC7395_6_NotAuthorized(t *testing.T) {
	r := newRig(t, setup{})
	for _, stanza := range []string{
		`<message xmlns="jabber:client" to="a@example.org"/>`, `<presence xmlns="jabber:client"/>`,
		`<iq xmlns="jabber:client" type="get" id="1"/>`,
		`<iq xmlns="jabber:client" type="set" id="1"><bind xmlns="urn:ietf:params:xml:ns:xmpp-bind"/></iq>`,
		`<enable xmlns="urn:xmpp:sm:3"/>`,
	} {
		b := r.connect()
		b.open()
		b.say(stanza)
		b.expectError("not-authorized")
		if heard := r.endsCleanly(); !strings.HasSuffix(heard, "'></stream:stream>") {
			t.Errorf("server heard %s", heard)
		}
	}
	// Between success and the new stream, too.
	b := r.connect()
	b.open()
	b.auth("alice", "secret")
	b.expect("<success")
	b.say(`<presence xmlns="jabber:client"/>`)
	b.expectError("not-authorized")
	r.forwardedNothing("<presence")
}

// Covers: WS-024, WS-031.
func TestRFC7395_3_5_DomainRemovedWhileDialling(t *testing.T) {
	r := newRig(t, setup{})
	b := r.connect()
	if err := r.handler.cfg.Dialer.SetDomains(nil); err != nil {
		t.Fatal(err)
	}
	b.say(openElement)
	b.expect("<open ", `from=""`)
	b.expectError("host-gone")
	if _, err := r.handler.cfg.Dialer.Open(context.Background(), upstream.Opening{Domain: domain}); !errors.Is(err, upstream.ErrHostGone) {
		t.Errorf("Open: %v", err)
	}
}
