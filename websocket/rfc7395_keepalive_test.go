package websocket

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	ws "github.com/coder/websocket"

	"stanzagate/internal/xmpptest"
)

// Covers: WS-048.
func TestRFC7395_3_8_NoWhitespace(t *testing.T) {
	r := newRig(t, setup{})
	b := r.login("alice", "web")
	server := r.xmpp.Session("alice@example.org")
	for _, s := range []string{" ", "\n\n", " \r\n\t", "<message id='1'/> \n", " <message id='2'/>"} {
		server.Send(s)
	}
	b.expect("id='1'") // hear fails on a message of white space
	b.expect("id='2'")
	b.expectSilence(20 * time.Millisecond)
}

// Covers: WS-049.
func TestRFC6455_5_5_2_PingEcho(t *testing.T) {
	r := newRig(t, setup{})
	b := r.login("alice", "web")
	for _, payload := range []string{"", "x", strings.Repeat("y", 125), "\x00\xff"} {
		b.raw(masked(fin|opPing, payload))
		if op, p, err := b.next(); err != nil || op != opPong || p != payload {
			t.Errorf("ping %q: %d %q %v", payload, op, p, err)
		}
	}
	b.raw(masked(fin|opPong, "unasked"))
	b.say(`<message xmlns="jabber:client" id="1"/>`)
	b.expect(`id="1"`)
}

// Covers: WS-049.
func TestRFC6455_5_5_2_Pings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, setup{pipes: true, cfg: Config{Ping: 30 * time.Second}})
		b := r.login("alice", "web")
		for range 3 {
			began := time.Now()
			if op, p, err := b.patiently(time.Minute); err != nil || op != opPing || p != "" {
				t.Fatalf("expected a ping: %d %q %v", op, p, err)
			}
			if waited := time.Since(began); waited < 30*time.Second || waited > 33*time.Second {
				t.Errorf("ping after %v", waited)
			}
			b.raw(masked(fin|opPong, ""))
		}
		// Traffic in both directions makes pings needless.
		for range 10 {
			time.Sleep(10 * time.Second)
			b.say(`<message xmlns="jabber:client" id="1"/>`)
			b.expect(`id="1"`)
		}
		// In one direction it does not: proxies watch each.
		pinged := false
		for range 4 {
			time.Sleep(10 * time.Second)
			b.say(" ")
		}
		for !pinged {
			op, _, err := b.patiently(time.Second)
			if err != nil {
				t.Fatalf("no ping though nothing went to the browser: %v", err)
			}
			pinged = op == opPing
		}
		b.raw(masked(fin|opPong, ""))
		synctest.Wait()
		if n := r.handler.Sessions(); n != 1 {
			t.Errorf("%d sessions", n)
		}
	})
}

// patiently is next with another patience.
func (b *browser) patiently(d time.Duration) (op byte, payload string, err error) {
	_ = b.conn.SetReadDeadline(time.Now().Add(d))
	if _, err := b.r.Peek(1); err != nil {
		return 0, "", err
	}
	return b.next()
}

// Covers: WS-049, WS-043.
func TestRFC6455_5_5_2_NoPong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, setup{pipes: true, xmpp: xmpptest.Options{Resumable: true}})
		b := r.login("alice", "web")
		b.enable()
		began := time.Now()
		if op, _, err := b.patiently(time.Minute); err != nil || op != opPing {
			t.Fatalf("expected a ping: %d %v", op, err)
		}
		if _, _, err := b.patiently(time.Minute); err == nil {
			t.Error("still connected")
		}
		if waited := time.Since(began); waited < 60*time.Second || waited > 65*time.Second {
			t.Errorf("dropped after %v", waited)
		}
		synctest.Wait()
		if r.metrics.ended["connection-timeout"] != 1 {
			t.Errorf("ended %v", r.metrics.ended)
		}
		if heard := r.latest().Received(); strings.Contains(heard, "</stream:stream>") {
			t.Errorf("server heard %s", heard) // an unclean end: resumable
		}
	})
}

// Covers: WS-049.
func TestRFC6455_5_5_2_PingsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, setup{pipes: true, cfg: Config{Ping: -1}})
		b := r.login("alice", "web")
		b.expectSilence(24 * time.Hour)
		b.say(`<message xmlns="jabber:client" id="1"/>`)
		b.expect(`id="1"`)
	})
}

// Covers: WS-049.
func TestServerThatDoesNotReadIsNotTheBrowsersFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, setup{pipes: true, cfg: Config{Ping: 5 * time.Second}})
		b := r.login("alice", "web")
		server := r.xmpp.Session("alice@example.org")
		server.Stall()
		big := `<message xmlns="jabber:client" id="1"><body>` + strings.Repeat("x", 100_000) + `</body></message>`
		b.say(big, big)
		time.Sleep(20 * time.Second) // up waits for the server, and does not see pongs
		server.Resume()
		for heard := 0; heard < 2; {
			op, p, err := b.next()
			if err != nil {
				t.Fatal(err)
			}
			if op == opText && strings.Contains(p, `id="1"`) {
				heard++
			}
		}
	})
}

// Covers: WS-050.
func TestXEP0199_EndToEnd(t *testing.T) {
	r := newRig(t, setup{})
	b := r.login("alice", "web")
	server := r.xmpp.Session("alice@example.org")
	server.Send("<iq type='get' id='ping1' from='example.org'><ping xmlns='urn:xmpp:ping'/></iq><r xmlns='urn:xmpp:sm:3'/>")
	b.expect("id='ping1'", "<ping")
	b.expect("<r ", "urn:xmpp:sm:3")
	b.say(`<iq xmlns="jabber:client" type="result" id="ping1" to="example.org"/>`)
	eventually(t, "answered", func() bool { return strings.Contains(server.Received(), `id="ping1"`) })
}

// Covers: WS-051, WS-030.
func TestRFC7395_3_9_NoTLS(t *testing.T) {
	r := newRig(t, setup{})
	b := r.connect()
	b.open()
	b.say(`<starttls xmlns="urn:ietf:params:xml:ns:xmpp-tls"/>`)
	b.expect("<failure", "urn:ietf:params:xml:ns:xmpp-tls")
	b.authenticate("alice") // the stream is none the worse for it
	b.bind("web")
	b.say(closeFromBrowser)
	b.expectCloseElement()
	r.forwardedNothing("starttls")
}

// Covers: WS-052.
func TestRFC7395_3_10_EndToEnd(t *testing.T) {
	// Mode (a): the browser's stream management is the server's affair. The gateway does none of its own, so there is one
	// pair of counters.
	const n = 1000
	r := newRig(t, setup{xmpp: xmpptest.Options{Resumable: true, Handler: func(c *xmpptest.Conn) {
		if err := c.Login(); err != nil {
			return
		}
		h := -1
		for {
			el, err := c.Read()
			switch {
			case err != nil:
				return
			case el.Name.Local == "enable":
				h = 0
				c.Send("<enabled xmlns='urn:xmpp:sm:3' id='opaque&amp;id' max='300' resume='true'/>")
			case el.Name.Local == "message":
				h++
				c.Send(el.Raw)
			case el.Name.Local == "r":
				c.Send(fmt.Sprintf("<a xmlns='urn:xmpp:sm:3' h='%d'/><r xmlns='urn:xmpp:sm:3'/>", h))
			case el.Name.Local == "a":
				c.Send("<message id='heard' h='" + el.Attr("h") + "'/>")
			}
		}
	}}})
	b := r.connect()
	b.open()
	b.authenticate("alice")
	b.bind("web")
	b.say(`<enable xmlns="urn:xmpp:sm:3" resume="true"/>`)
	if p := b.hear(); p != "<enabled xmlns='urn:xmpp:sm:3' id='opaque&amp;id' max='300' resume='true'/>" {
		t.Errorf("enabled: %s", p)
	}
	for i := range n {
		b.say(fmt.Sprintf(`<message xmlns="jabber:client" id="%d"/>`, i))
		b.expect(fmt.Sprintf(`id="%d"`, i))
	}
	b.say(`<r xmlns="urn:xmpp:sm:3"/>`)
	b.expect("<a ", fmt.Sprintf("h='%d'", n))
	b.expect("<r ")
	b.say(fmt.Sprintf(`<a xmlns="urn:xmpp:sm:3" h="%d"/>`, n))
	b.expect("id='heard'", fmt.Sprintf("h='%d'", n))
	_ = b.conn.Close()
	if heard := r.latest().Received(); strings.Count(heard, "urn:xmpp:sm:3") != 3 {
		t.Errorf("the gateway did stream management of its own: %s", heard)
	}
}

// Covers: WS-052.
func TestXEP0198_ResumePasses(t *testing.T) {
	cut := make(chan string, 1)
	r := newRig(t, setup{xmpp: xmpptest.Options{Resumable: true, Handler: func(c *xmpptest.Conn) {
		if c.Secure() != nil || c.Authenticate() != nil {
			return
		}
		c.Greet("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/><sm xmlns='urn:xmpp:sm:3'/>")
		if n := c.Expect("resume"); n.Attr("previd") != "x" || n.Attr("h") != "7" {
			c.Send("<failed xmlns='urn:xmpp:sm:3'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>")
			return
		}
		c.Send("<resumed xmlns='urn:xmpp:sm:3' previd='x' h='3'/><message id='again'/>")
		c.Expect("message")
		c.ExpectCut()
		cut <- c.Received()
	}}})
	b := r.connect()
	b.open()
	b.say(`<resume xmlns="urn:xmpp:sm:3" previd="x" h="7"/>`) // not before login
	b.expectError("not-authorized")

	b = r.connect()
	b.open()
	b.auth("alice", "secret")
	b.expect("<success")
	b.say(openElement)
	b.expect("<open ")
	b.expect("<stream:features", "<sm ")
	b.say(`<resume xmlns="urn:xmpp:sm:3" previd="x" h="7"/>`)
	b.expect("<resumed ", "h='3'")
	b.expect("id='again'")
	b.say(`<message xmlns="jabber:client" id="1"/>`)
	b.closeWith(ws.StatusGoingAway)
	if heard := <-cut; strings.Contains(heard, "</stream:stream>") {
		t.Errorf("server heard %s", heard) // resumed is resumable again
	}
}

// XEP-0478 §4: a server that ends silent streams hears from us in time, and only where white space is allowed (UP-030).
func TestServerKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := "<limits xmlns='urn:xmpp:stream-limits:0'><idle-seconds>20</idle-seconds></limits>"
		r := newRig(t, setup{pipes: true, cfg: Config{Ping: -1}, xmpp: xmpptest.Options{PreAuth: limits, PostAuth: limits}})
		b := r.login("alice", "web")
		server := r.latest()
		synctest.Wait()
		before := len(server.Received())
		b.expectSilence(65 * time.Second)
		synctest.Wait()
		got := server.Received()[before:]
		if n := strings.Count(got, " "); n < 4 || n > 7 || strings.Trim(got, " ") != "" {
			t.Errorf("in 65 s the server heard %q", got)
		}
	})
}
