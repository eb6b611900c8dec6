package websocket

import (
	"bytes"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	ws "github.com/coder/websocket"

	"stanzagate/internal/readbuf"
	"stanzagate/internal/xmlframe"
	"stanzagate/internal/xmpptest"
)

// Covers: WS-010, WS-047.
func TestRFC7395_3_2_TextOnly(t *testing.T) {
	r := newRig(t, setup{xmpp: xmpptest.Options{Resumable: true}})
	for name, c := range map[string]struct {
		first   byte
		payload string
		code    ws.StatusCode
	}{
		"binary":              {fin | opBinary, openElement, ws.StatusUnsupportedData},
		"invalid UTF-8":       {fin | opText, "<message xmlns='jabber:client'><body>\xc3\x28</body></message>", ws.StatusInvalidFramePayloadData},
		"invalid, no XML":     {fin | opText, "\xff\xfe", ws.StatusInvalidFramePayloadData},
		"surrogate":           {fin | opText, "<a>\xed\xa0\x80</a>", ws.StatusInvalidFramePayloadData},
		"cut in a character":  {fin | opText, "<a>\xe2\x98", ws.StatusInvalidFramePayloadData},
		"overlong":            {fin | opText, "<a>\xc0\xaf</a>", ws.StatusInvalidFramePayloadData},
		"invalid in fragment": {opText, "<a>\xc3", ws.StatusInvalidFramePayloadData},
	} {
		t.Run(name, func(t *testing.T) {
			b := r.login("alice", "web")
			b.enable()
			b.raw(masked(c.first, c.payload))
			if c.first&fin == 0 {
				b.raw(masked(fin|opContinuation, "\x28</a>"))
			}
			b.expectClose(c.code)
			// The browser would only send it again: nothing is left to be resumed.
			r.endsCleanly()
		})
	}
}

// Covers: WS-011.
func TestRFC6455_5_4_Fragments(t *testing.T) {
	r := newRig(t, setup{})
	b := r.login("alice", "web")
	stanza := `<message xmlns="jabber:client" id="frag"><body>héllo ☃</body></message>`
	var p []byte
	for i := range 5 {
		first := byte(opContinuation)
		if i == 0 {
			first = opText
		}
		if i == 4 {
			first |= fin
		}
		lo, hi := i*len(stanza)/5, (i+1)*len(stanza)/5 // cuts characters too
		p = append(p, masked(first, stanza[lo:hi])...)
		if i == 2 {
			p = append(p, masked(fin|opPing, "between")...)
		}
	}
	// Behind the fragments a small frame, and one that shares its segment with neither.
	p = append(p, masked(fin|opText, `<message xmlns="jabber:client" id="after"/>`)...)
	b.raw(p)
	if op, got, err := b.next(); err != nil || op != opPong || got != "between" {
		t.Fatalf("expected a pong, got %d %q %v", op, got, err)
	}
	b.expect(`id="frag"`, "héllo ☃")
	b.expect(`id="after"`)
	// Byte by byte.
	for _, c := range masked(fin|opText, stanza) {
		b.raw([]byte{c})
	}
	b.expect(`id="frag"`)
	// An empty first and last fragment.
	b.raw(append(append(masked(opText, ""), masked(opContinuation, stanza)...), masked(fin|opContinuation, "")...))
	b.expect(`id="frag"`)
}

// Covers: WS-012.
func TestRFC7395_3_3_3_OneElement(t *testing.T) {
	r := newRig(t, setup{})
	for name, message := range map[string]string{
		"two elements":  `<presence xmlns="jabber:client"/><presence xmlns="jabber:client"/>`,
		"half a stanza": `<message xmlns="jabber:client"><body>`,
		"trailing text": `<presence xmlns="jabber:client"/>x`,
		"legacy header": `<stream:stream xmlns="jabber:client" xmlns:stream="http://etherx.jabber.org/streams" to="example.org" version="1.0">`,
		"legacy end":    `</stream:stream>`,
		"wrong end tag": `<message xmlns="jabber:client"></iq>`,
		"no name":       `<>`,
	} {
		t.Run(name, func(t *testing.T) {
			b := r.login("alice", "web")
			b.say(message, `<message xmlns="jabber:client" id="after"/>`)
			b.expectError("not-well-formed")
			b.say(closeFromBrowser)
			b.expectClose(ws.StatusNormalClosure)
			r.forwardedNothing("after")
		})
	}
	// A stanza split over two messages, as mellium's client sends big ones.
	b := r.login("alice", "web")
	b.say(`<message xmlns="jabber:client"><body>`, `</body></message>`)
	b.expectError("not-well-formed")
}

// Covers: WS-013.
func TestRFC7395_3_3_3_FirstCharacter(t *testing.T) {
	r := newRig(t, setup{})
	for name, message := range map[string]string{
		"space": ` <presence xmlns="jabber:client"/>`, "newline": "\n<presence xmlns=\"jabber:client\"/>",
		"byte order mark": "\ufeff<presence xmlns=\"jabber:client\"/>", "text": "hello",
	} {
		t.Run(name, func(t *testing.T) {
			b := r.login("alice", "web")
			b.say(message)
			b.expectError("bad-format")
		})
	}
	// AMB-1: white space alone keeps connections alive.
	b := r.connect()
	b.say("", " ", "\r\n\t ")
	b.open()
	b.authenticate("alice")
	b.say("", " ")
	b.bind("web")
	b.say("\n", `<message xmlns="jabber:client" id="1"/>`, "")
	b.expect(`id="1"`)
}

// Covers: WS-014.
func TestRFC7395_3_3_3_OneMessageEach(t *testing.T) {
	r := newRig(t, setup{})
	b := r.login("alice", "web")
	server := r.xmpp.Session("alice@example.org")
	var all strings.Builder
	const n = 100
	for i := range n {
		fmt.Fprintf(&all, "<message id='%d'><body>%s</body></message>", i, strings.Repeat("x", i*7))
	}
	server.Send(all.String()) // in one write
	for i := range n {
		if p := b.hear(); !strings.HasPrefix(p, fmt.Sprintf(`<message id='%d' xmlns='jabber:client'>`, i)) && !strings.Contains(p, fmt.Sprintf("id='%d'", i)) ||
			strings.Count(p, "<message") != 1 {
			t.Fatalf("message %d: %s", i, p)
		}
	}
	// The other way: a hundred messages in one segment are a hundred stanzas, in order.
	var messages []string
	for i := range n {
		messages = append(messages, fmt.Sprintf(`<message xmlns="jabber:client" id="up%d"/>`, i))
	}
	b.say(messages...)
	for i := range n {
		b.expect(fmt.Sprintf(`id="up%d"`, i))
	}
	eventually(t, "counted", func() bool {
		return r.metrics.get(&r.metrics.upElements) >= n && r.metrics.get(&r.metrics.downEls) >= 2*n
	})
}

// Covers: WS-015, WS-018.
func TestRFC7395_3_3_3_Declarations(t *testing.T) {
	r := newRig(t, setup{xmpp: xmpptest.Options{Manual: true}})
	b, c := r.meet()
	c.SendHeader("xmlns:ack='http://www.xmpp.org/extensions/xep-0198.html#ns' xml:lang='en'")
	c.SendFeatures("<ack:ack/>" + c.Mechanisms()) // as jabberd2 does
	b.expect("<open ")
	features := b.expect("<ack:ack/>", "xmlns:ack=", "xmlns:stream=")
	if !strings.HasPrefix(features, "<stream:features") {
		t.Errorf("features: %s", features)
	}
	c.Send("<x:y xmlns:x='urn:x'><z xmlns='urn:z'/></x:y>")
	if p := b.expect("<x:y", "xmlns:x='urn:x'"); strings.Contains(p, "xmlns:ack") {
		t.Errorf("declares what it does not use: %s", p)
	}
	c.Send("<message/>")
	b.expect("<message", "jabber:client")
	c.StreamError("conflict")
	b.expect("<stream:error", "<conflict xmlns=")
	b.expectCloseElement()
}

// Covers: WS-018.
func TestRFC7395_3_3_3_ForeignPrefix(t *testing.T) {
	r := newRig(t, setup{xmpp: xmpptest.Options{Manual: true}})
	b, c := r.meet()
	c.Send("<s:stream xmlns='jabber:client' xmlns:s='http://etherx.jabber.org/streams' id='1' from='example.org' version='1.0'>" +
		"<s:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></s:features>")
	b.expect("<open ")
	if p := b.hear(); !strings.HasPrefix(p, "<stream:features ") || !strings.HasSuffix(p, "</stream:features>") {
		t.Errorf("features: %s", p)
	}
	c.Send("<s:error><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></s:error></s:stream>")
	if p := b.hear(); !strings.HasPrefix(p, "<stream:error ") || !strings.HasSuffix(p, "</stream:error>") {
		t.Errorf("error: %s", p)
	}
	b.expectCloseElement()
}

// Covers: WS-016.
func TestRFC7395_3_3_3_Language(t *testing.T) {
	r := newRig(t, setup{xmpp: xmpptest.Options{Manual: true}})
	b := r.connect()
	b.say(`<open xmlns="urn:ietf:params:xml:ns:xmpp-framing" to="example.org" version="1.0" xml:lang="de"/>`)
	c := r.xmpp.Next()
	if h := c.ExpectHeader(); !strings.Contains(h.Raw, "xml:lang='de'") {
		t.Errorf("header to the server: %s", h.Raw)
	}
	c.SendHeader("xml:lang='fr'")
	c.SendFeatures(c.Mechanisms())
	b.expect("<open ", `xml:lang="fr"`)
	b.expect("<stream:features", "xml:lang='fr'")
	c.Send("<message id='1'><body>bonjour</body></message><message id='2' xml:lang='it'><body>ciao</body></message>")
	b.expect("id='1'", "xml:lang='fr'")
	if p := b.expect("id='2'", "xml:lang='it'"); strings.Contains(p, "fr") {
		t.Errorf("own language replaced: %s", p)
	}
	// The other way the header says it already; an element of another language says so itself.
	b.say(`<auth xmlns="urn:ietf:params:xml:ns:xmpp-sasl" mechanism="X"/>`, `<abort xmlns="urn:ietf:params:xml:ns:xmpp-sasl" xml:lang="it"/>`)
	if n := c.Expect("auth"); strings.Contains(n.Raw, "lang") {
		t.Errorf("to the server: %s", n.Raw)
	}
	if n := c.Expect("abort"); !strings.Contains(n.Raw, `xml:lang="it"`) {
		t.Errorf("to the server: %s", n.Raw)
	}
}

// Covers: WS-017.
func TestRFC7395_3_3_3_Declaration(t *testing.T) {
	r := newRig(t, setup{})
	b := r.connect()
	b.say(`<?xml version="1.0"?>` + openElement)
	b.expect("<open ") // hear checks that nothing sent has a declaration
	b.expect("<stream:features")
	b.authenticate("alice")
	b.bind("web")
	b.say("<?xml version='1.0' encoding='UTF-8'?>\n" + `<message xmlns="jabber:client" id="1"/>`)
	b.expect(`id="1"`)
	b.say(closeFromBrowser)
	b.expectCloseElement()
	if got := r.xmpp.Next().Received(); strings.Count(got, "<?xml") != 2 || strings.Contains(got, "encoding") {
		t.Errorf("server saw a declaration of the browser's: %s", got)
	}
}

// Covers: WS-019.
func TestRFC6120_11_1_RestrictedXML(t *testing.T) {
	r := newRig(t, setup{})
	for name, message := range map[string]string{
		"comment":                `<message xmlns="jabber:client"><!-- evil --></message>`,
		"comment first":          `<!-- evil --><message xmlns="jabber:client"/>`,
		"processing instruction": `<message xmlns="jabber:client"><?evil x?></message>`,
		"DTD":                    `<!DOCTYPE evil [<!ENTITY a "b">]><message xmlns="jabber:client"/>`,
		"entity":                 `<message xmlns="jabber:client"><body>&evil;</body></message>`,
	} {
		t.Run(name, func(t *testing.T) {
			b := r.login("alice", "web")
			b.say(message)
			b.expectError("restricted-xml")
			r.forwardedNothing("evil")
		})
	}
}

// Covers: WS-020, WS-047.
func TestRFC6120_13_12_Size(t *testing.T) {
	const limit = 20_000
	cfg := Config{Limits: xmlframe.Limits{ElementBytes: limit}}
	padded := func(n int) string {
		head, tail := `<message xmlns="jabber:client" id="big"><body>`, `</body></message>`
		return head + strings.Repeat("x", n-len(head)-len(tail)) + tail
	}
	r := newRig(t, setup{cfg: cfg, xmpp: xmpptest.Options{Resumable: true}})
	b := r.login("alice", "web")
	b.say(padded(limit), padded(9000))
	b.expect(`id="big"`)
	b.expect(`id="big"`)

	for name, send := range map[string]func(b *browser){
		"one frame": func(b *browser) { b.say(padded(limit + 1)) },
		"fragments": func(b *browser) {
			p := padded(limit + 1)
			b.raw(append(masked(opText, p[:9000]), masked(fin|opContinuation, p[9000:])...))
		},
		"a frame that never ends": func(b *browser) {
			huge := []byte{fin | opText, 0x80 | 127, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}
			b.raw(append(huge, bytes.Repeat([]byte{'x'}, limit+2)...))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := r.login("alice", "web")
			b.enable()
			send(b)
			b.expectError("policy-violation")
			b.expectClose(ws.StatusMessageTooBig)
			r.endsCleanly() // not left to be resumed: the browser would send it again
		})
	}
	b = r.connect()
	b.say(padded(limit + 1))
	b.expectClose(ws.StatusMessageTooBig) // the stream is not open: no XMPP is said

	if _, err := New(Config{Dialer: r.handler.cfg.Dialer, Limits: xmlframe.Limits{ElementBytes: 9999}}); err == nil {
		t.Error("a limit below 10000 bytes was accepted")
	}
}

// Covers: WS-021.
func TestRFC6455_5_1_IllegalFrames(t *testing.T) {
	r := newRig(t, setup{})
	unmasked := []byte{fin | opText, byte(len(openElement))}
	for name, p := range map[string][]byte{
		"not masked":             append(unmasked, openElement...),
		"reserved bit 1":         masked(fin|0x40|opText, openElement),
		"reserved bit 2":         masked(fin|0x20|opText, openElement),
		"reserved bit 3":         masked(fin|0x10|opText, openElement),
		"reserved data opcode":   masked(fin|3, openElement),
		"reserved control":       masked(fin|11, ""),
		"lone continuation":      masked(fin|opContinuation, openElement),
		"text within a message":  append(masked(opText, "<a"), masked(fin|opText, "/>")...),
		"fragmented ping":        masked(opPing, ""),
		"long ping":              masked(fin|opPing, strings.Repeat("x", 126)),
		"long pong":              masked(fin|opPong, strings.Repeat("x", 126)),
		"ping not masked":        {fin | opPing, 0},
		"Close of one byte":      masked(fin|opClose, "x"),
		"Close with code 1005":   masked(fin|opClose, "\x03\xed"),
		"Close with code 1006":   masked(fin|opClose, "\x03\xee"),
		"Close with code 999":    masked(fin|opClose, "\x03\xe7"),
		"behind a legal message": append(masked(fin|opText, " "), masked(fin|3, "")...),
	} {
		t.Run(name, func(t *testing.T) {
			b := r.connect()
			b.raw(p)
			b.expectClose(ws.StatusProtocolError)
		})
	}
}

// Covers: WS-022.
func TestRFC6455_SlowBrowser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, setup{pipes: true})
		b := r.login("alice", "web")
		server := r.xmpp.Session("alice@example.org")
		body := strings.Repeat("x", 10_000)
		var accepted atomic.Int64
		stalled := make(chan error, 1)
		go func() {
			for {
				if err := server.Write("<message><body>" + body + "</body></message>"); err != nil {
					stalled <- err
					return
				}
				accepted.Add(1)
			}
		}()
		synctest.Wait() // the server cannot write any more
		time.Sleep(stallTimeout / 2)
		synctest.Wait()
		n := int(accepted.Load())
		if n == 0 || n*len(body) > halfBytes+readbuf.BlockBytes+2*outboxBytes+4*len(body) {
			t.Errorf("the server got rid of %d messages", n)
		}
		for range n { // reading again makes up for it, without a loss
			b.expect(body)
		}
		synctest.Wait()
		if int(accepted.Load()) == n {
			t.Error("reading did not help")
		}
		if err := <-stalled; err == nil {
			t.Error("never closed")
		}
		synctest.Wait()
		if r.metrics.ended["policy-violation"] != 1 || r.handler.Sessions() != 0 {
			t.Errorf("ended %v", r.metrics.ended)
		}
	})
}
