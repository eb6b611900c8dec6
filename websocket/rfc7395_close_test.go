package websocket

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	ws "github.com/coder/websocket"

	"stanzagate/internal/xmpptest"
	"stanzagate/upstream"
)

// Covers: WS-038.
func TestRFC7395_3_6_BrowserCloses(t *testing.T) {
	late := make(chan string, 1)
	r := newRig(t, setup{xmpp: xmpptest.Options{Resumable: true, Handler: func(c *xmpptest.Conn) {
		if err := c.Login(); err != nil {
			return
		}
		c.Expect("enable")
		c.Send("<enabled xmlns='urn:xmpp:sm:3' id='x' resume='true'/>")
		c.Expect("presence")
		c.ExpectEnd()
		late <- c.Received()
		c.Send("<message id='late'/>")
		c.CloseStream()
	}}})
	b := r.login("alice", "web")
	b.enable()
	b.say(`<presence xmlns="jabber:client" type="unavailable"/>`, closeFromBrowser, `<message xmlns="jabber:client" id="too-late"/>`)
	b.expect("id='late'") // what still arrives is delivered
	b.expectCloseElement()
	b.closeWith(ws.StatusNormalClosure)
	if heard := <-late; !strings.HasSuffix(heard, "</stream:stream>") || strings.Contains(heard, "too-late") {
		t.Errorf("server heard %s", heard)
	}
	r.endedAs("")
}

// Covers: WS-038.
func TestRFC7395_3_6_BrowserClosesWithoutStatus(t *testing.T) {
	r := newRig(t, setup{})
	b := r.login("alice", "web")
	b.say(closeFromBrowser)
	b.expectCloseElement()
	b.raw(masked(fin|opClose, "")) // as JavaScript clients do
	if op, p, err := b.next(); err != nil || op != opClose || p != "" {
		t.Errorf("expected an empty Close, got %d %q %v", op, p, err)
	}
	r.endsCleanly()
	r.endedAs("")
}

// Covers: WS-039.
func TestRFC7395_3_6_BrowserDoesNotCloseTheSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, setup{pipes: true})
		b := r.login("alice", "web")
		b.say(closeFromBrowser)
		b.expectCloseElement()
		began := time.Now()
		b.expectClose(ws.StatusNormalClosure)
		if waited := time.Since(began); waited < time.Second || waited > 10*time.Second {
			t.Errorf("after %v", waited)
		}
		synctest.Wait()
		if r.metrics.ended[""] != 1 {
			t.Errorf("ended %v", r.metrics.ended)
		}
	})
}

// Covers: WS-040, WS-041.
func TestRFC7395_3_6_ServerCloses(t *testing.T) {
	r := newRig(t, setup{})
	b := r.login("alice", "web")
	r.xmpp.Session("alice@example.org").Send("<message id='last'/></stream:stream>")
	b.expect("id='last'")
	b.expectCloseElement()
	b.expectSilence(50 * time.Millisecond) // the WebSocket stays until the browser has answered
	b.say(`<message xmlns="jabber:client" id="crossing"/>`, closeFromBrowser)
	b.expectClose(ws.StatusNormalClosure)
	r.endsCleanly()
	r.endedAs("")
}

// Covers: WS-040.
func TestRFC7395_3_6_BrowserDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, setup{pipes: true})
		b := r.login("alice", "web")
		r.xmpp.Session("alice@example.org").CloseStream()
		b.expectCloseElement()
		began := time.Now()
		b.expectClose(ws.StatusNormalClosure)
		if waited := time.Since(began); waited < time.Second || waited > 10*time.Second {
			t.Errorf("after %v", waited)
		}
		// And one that does not even answer that.
		b = r.login("bob", "web")
		r.xmpp.Session("bob@example.org").CloseStream()
		b.expectCloseElement()
		if op, _, err := b.next(); err != nil || op != opClose {
			t.Fatalf("expected Close: %d %v", op, err)
		}
		b.expectGone()
	})
}

// Covers: WS-041, WS-047.
func TestRFC7395_3_6_GatewayCloses(t *testing.T) {
	r := newRig(t, setup{})
	b := r.login("alice", "web")
	server := r.xmpp.Session("alice@example.org")
	down := make(chan error, 1)
	go func() { down <- r.handler.Shutdown(context.Background()) }()
	b.expectError("system-shutdown")
	// The browser has sent this before it heard of it. Nothing more is said to it.
	b.say(`<message xmlns="jabber:client" to="bob@example.org" id="crossing"/>`)
	eventually(t, "forwarded", func() bool { return strings.Contains(server.Received(), "crossing") })
	server.Send("<message id='unheard'/>")
	b.say(closeFromBrowser)
	b.expectClose(ws.StatusGoingAway)
	if err := <-down; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	r.endsCleanly()
	r.endedAs("system-shutdown")
}

// Covers: WS-042.
func TestRFC7395_3_6_BrowserLost(t *testing.T) {
	for name, lose := range map[string]func(b *browser){
		"TCP closed":       func(b *browser) { _ = b.conn.Close() },
		"Close 1001":       func(b *browser) { b.closeWith(ws.StatusGoingAway) },
		"Close 1000":       func(b *browser) { b.closeWith(ws.StatusNormalClosure) },
		"inside a frame":   func(b *browser) { b.raw(masked(fin|opText, openElement)[:9]); _ = b.conn.Close() },
		"inside a message": func(b *browser) { b.raw(masked(opText, "<a")); _ = b.conn.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, setup{})
			b := r.login("alice", "web")
			lose(b)
			r.endsCleanly()
			r.endedAs("lost")
		})
	}
}

// Covers: WS-043.
func TestRFC7395_3_6_BrowserLostResumable(t *testing.T) {
	for name, lose := range map[string]func(b *browser){
		"TCP closed": func(b *browser) { _ = b.conn.Close() },
		"Close 1001": func(b *browser) { b.closeWith(ws.StatusGoingAway) },
	} {
		t.Run(name, func(t *testing.T) {
			cut := make(chan string, 1)
			r := newRig(t, setup{xmpp: xmpptest.Options{Resumable: true, Handler: func(c *xmpptest.Conn) {
				if err := c.Login(); err != nil {
					return
				}
				c.Expect("enable")
				c.Send("<enabled xmlns='urn:xmpp:sm:3' id='x' resume='1'/>")
				c.Expect("message")
				c.ExpectCut()
				cut <- c.Received()
			}}})
			b := r.login("alice", "web")
			b.enable()
			b.say(`<message xmlns="jabber:client" id="last"/>`) // has arrived here, so it is not lost
			lose(b)
			if heard := <-cut; strings.Contains(heard, "</stream:stream>") || !strings.Contains(heard, `id="last"`) {
				t.Errorf("server heard %s", heard)
			}
			r.endedAs("lost")
		})
	}
}

// Covers: WS-042, WS-043.
func TestXEP0198_AcksOnlyAreNotResumable(t *testing.T) {
	r := newRig(t, setup{xmpp: xmpptest.Options{Handler: func(c *xmpptest.Conn) {
		if err := c.Login(); err != nil {
			return
		}
		c.Expect("enable")
		c.Send("<enabled xmlns='urn:xmpp:sm:3'/>")
		c.Serve()
	}}})
	b := r.login("alice", "web")
	b.say(`<enable xmlns="urn:xmpp:sm:3"/>`)
	b.expect("<enabled")
	_ = b.conn.Close()
	r.endsCleanly()
}

// Covers: WS-044.
func TestRFC7395_3_6_CloseEndsResumption(t *testing.T) {
	for name, after := range map[string]func(b *browser){
		"Close frame": func(b *browser) { b.closeWith(ws.StatusNormalClosure) },
		"TCP closed":  func(b *browser) { _ = b.conn.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, setup{xmpp: xmpptest.Options{Resumable: true}})
			b := r.login("alice", "web")
			b.enable()
			b.say(closeFromBrowser)
			b.expectCloseElement()
			after(b)
			r.endsCleanly()
			r.endedAs("")
		})
	}
}

const elsewhere = "wss://other.example/ws?a=1&b=2"

// Covers: WS-045, WS-047.
func TestRFC7395_3_6_1_SeeOther(t *testing.T) {
	r := newRig(t, setup{cfg: Config{SeeOther: elsewhere}, xmpp: xmpptest.Options{Resumable: true}})
	waiting := r.connect() // has not said anything
	b := r.login("alice", "web")
	b.enable()
	cut := r.latest()
	ctx, cancel := context.WithCancel(context.Background())
	drained := make(chan error, 1)
	go func() { drained <- r.handler.Drain(ctx) }()
	want := `<close xmlns="urn:ietf:params:xml:ns:xmpp-framing" see-other-uri="wss://other.example/ws?a=1&amp;b=2" />`
	if p := b.hear(); p != want {
		t.Errorf("moved by %s", p)
	}
	b.expectClose(ws.StatusGoingAway)
	if heard := cut.Received(); strings.Contains(heard, "</stream:stream>") {
		t.Errorf("server heard %s", heard)
	}
	waiting.say(openElement)
	if p := waiting.hear(); p != want { // instead of <open/>
		t.Errorf("turned away by %s", p)
	}
	waiting.say(closeFromBrowser)
	waiting.expectClose(ws.StatusGoingAway)
	if err := <-drained; err != nil {
		t.Errorf("Drain: %v", err)
	}
	cancel()
}

// Covers: WS-045.
func TestRFC7395_3_6_1_NeverToLowerSecurity(t *testing.T) {
	d, err := upstream.NewDialer(upstream.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, uri := range []string{"ws://other.example/", "http://other.example/", "xmpp:a@b", "other.example", "wss:", "://"} {
		if _, err := New(Config{Dialer: d, SeeOther: uri}); err == nil || !strings.HasPrefix(err.Error(), "SeeOther: ") {
			t.Errorf("%s: %v", uri, err)
		}
	}
	if _, err := New(Config{Dialer: d, SeeOther: "https://other.example/"}); err != nil {
		t.Error(err)
	}
}

// Covers: WS-046.
func TestRFC6120_4_9_3_19_Redirect(t *testing.T) {
	spare := xmpptest.Start(t, xmpptest.Options{})
	r := newRig(t, setup{xmpp: xmpptest.Options{Manual: true}})
	redirect := "<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>" + spare.Addr + "</see-other-host></stream:error></stream:stream>"
	// Before the browser knows the server it does not notice.
	b, c := r.meet()
	c.SendHeader("")
	c.Send(redirect)
	b.expect("<open ")
	b.expect("<stream:features")
	b.authenticate("alice")
	b.bind("web")
	// Once it has logged in it has to begin again, without being told where.
	b, c = r.succeed("")
	b.say(openElement)
	b.expect("<open ")
	c.ExpectHeader()
	c.SendHeader("")
	c.Send(redirect)
	if p := b.expect("<stream:error", "<reset"); strings.Contains(p, "see-other") || strings.Contains(p, spare.Port) {
		t.Errorf("told where: %s", p)
	}
	b.expectCloseElement()
}

// Covers: WS-047.
func TestRFC6455_7_4_Codes(t *testing.T) {
	for condition, code := range map[string]ws.StatusCode{
		"policy-violation": 1008, "system-shutdown": 1001, "internal-server-error": 1011,
		"not-well-formed": 1000, "host-unknown": 1000, "conflict": 1000,
	} {
		if got := codeOf(condition); got != code {
			t.Errorf("%s: %d", condition, got)
		}
	}
}

// Covers: WS-040, WS-043.
func TestServerLost(t *testing.T) {
	r := newRig(t, setup{xmpp: xmpptest.Options{Resumable: true}})
	b := r.login("alice", "web")
	r.xmpp.Session("alice@example.org").Cut()
	b.expectError("internal-server-error")
	b.say(closeFromBrowser)
	b.expectClose(ws.StatusInternalError)

	// A browser that can resume is only disconnected.
	b = r.login("bob", "web")
	b.enable()
	r.xmpp.Session("bob@example.org").Reset()
	b.expectClose(ws.StatusInternalError)
	eventually(t, "both ended", func() bool { return r.handler.Sessions() == 0 })
}

// Covers: WS-045.
func TestDrain(t *testing.T) {
	r := newRig(t, setup{xmpp: xmpptest.Options{Resumable: true}})
	resumable := r.login("alice", "web")
	resumable.enable()
	cut := r.latest()
	plain := r.login("bob", "web")
	later := r.login("carol", "web")
	silent := r.connect()
	ctx, cancel := context.WithCancel(context.Background())
	drained := make(chan error, 1)
	go func() { drained <- r.handler.Drain(ctx) }()

	resumable.expectClose(ws.StatusGoingAway) // without <close/>: that would end what is to be resumed
	if heard := cut.Received(); strings.Contains(heard, "</stream:stream>") {
		t.Errorf("server heard %s", heard)
	}
	eventually(t, "refusing", func() bool { return r.request().resp.StatusCode == 503 })
	later.enable()
	later.expectClose(ws.StatusGoingAway) // as soon as it can resume
	silent.say(openElement)
	silent.expect("<open ")
	silent.expectError("system-shutdown")
	silent.say(closeFromBrowser)
	silent.expectClose(ws.StatusGoingAway)
	// Who cannot resume goes on.
	plain.say(`<message xmlns="jabber:client" id="1"/>`)
	plain.expect(`id="1"`)
	cancel()
	if err := <-drained; !errors.Is(err, context.Canceled) {
		t.Errorf("Drain: %v", err)
	}
	eventually(t, "only one left", func() bool { return r.handler.Sessions() == 1 })
}

func TestShutdownGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, setup{pipes: true})
		r.login("alice", "web") // never answers
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := r.handler.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v", err)
		}
		synctest.Wait()
		if n := r.handler.Sessions(); n != 0 {
			t.Errorf("%d sessions left", n)
		}
	})
}

func TestShutdownWhileDialling(t *testing.T) {
	r := newRig(t, setup{xmpp: xmpptest.Options{Manual: true}, upstream: upstream.Config{ConnectTimeout: time.Minute}})
	b, _ := r.meet() // and no answer
	down := make(chan error, 1)
	go func() { down <- r.handler.Shutdown(context.Background()) }()
	b.expect("<open ")
	b.expectError("system-shutdown")
	b.say(closeFromBrowser)
	b.expectClose(ws.StatusGoingAway)
	if err := <-down; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}
