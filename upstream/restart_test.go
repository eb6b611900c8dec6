package upstream

import (
	"strings"
	"testing"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmpptest"
)

// After success a new header on the same connection, no closing tag, and nothing more.
//
// Covers: UP-023, UP-028.
func TestRestartIsOneHeader(t *testing.T) {
	ca := xmpptest.NewCA(t)
	srv := xmpptest.Start(t, xmpptest.Options{TLS: ca.Good("example.org"), Direct: true})
	c := dialTo(t, srv.Setting(ca.File()), Opening{Lang: "en"})
	c.expect("features")
	auth := plainAuth("juliet", "secret")
	c.forward(auth)
	c.expect("success")
	old := c.Header().ID
	if err := c.Restart(Opening{From: "juliet@example.org", Lang: "de"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Restart(Opening{}); err != errNotRestartable {
		t.Error(err)
	}
	c.expect("features")
	const end = " xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
	want := "<?xml version='1.0'?><stream:stream to='example.org' version='1.0' xml:lang='en'" + end + auth +
		"<?xml version='1.0'?><stream:stream to='example.org' from='juliet@example.org' version='1.0' xml:lang='de'" + end
	if got := srv.Next().Received(); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if c.Header().ID == old {
		t.Error("the header is still the old one")
	}
}

// Nothing of the old stream stays in scope, and a server in a hurry is understood, however the bytes come.
//
// Covers: UP-028.
func TestRestartForgetsTheOldStream(t *testing.T) {
	const early = "<?xml version='1.0'?>" + root + " xmlns:new='urn:new' id='2' version='1.0'>"
	for _, chunk := range []int{1, 7, 1 << 20} {
		srv := xmpptest.Start(t, xmpptest.Options{Handler: func(c *xmpptest.Conn) {
			c.ExpectHeader()
			c.Send(root + " xmlns:old='urn:old' id='1' version='1.0' xml:lang='de'>")
			c.SendFeatures(c.Mechanisms())
			c.Expect("auth")
			out := "<success xmlns='" + ns.SASL + "'/> \n" + early + "<stream:features><new:x/></stream:features>"
			for out != "" {
				n := min(chunk, len(out))
				c.Send(out[:n])
				out = out[n:]
			}
			c.ExpectHeader()
			c.Send("<old:x/>")
			_, _ = c.Read()
		}})
		c := dialTo(t, srv.Setting(""), Opening{})
		c.expect("features")
		c.forward(plainAuth("juliet", "secret"))
		c.expect("success")
		if c.Buffered() {
			t.Error("Buffered before the restart")
		}
		if err := c.Restart(Opening{}); err != nil {
			t.Fatal(err)
		}
		if f := c.expect("features"); !strings.Contains(string(f.AppendTo(nil, nil)), "xmlns:new='urn:new'") {
			t.Errorf("%s", f.AppendTo(nil, nil))
		}
		if c.Scope().Lang != "" || c.Header().ID != "2" {
			t.Errorf("%+v %+v", c.Scope(), c.Header())
		}
		if err := c.end(); conditionOf(err) != "not-well-formed" && conditionOf(err) != "bad-namespace-prefix" {
			t.Errorf("a prefix of the old stream is still known: %v", err)
		}
	}
}

// Between success and restart the old stream can still end.
//
// Covers: UP-028, UP-042.
func TestOldStreamEndsBeforeTheRestart(t *testing.T) {
	for raw, check := range map[string]func(*conn){
		"<stream:error><conflict xmlns='" + ns.Streams + "'/></stream:error></stream:stream>": func(c *conn) {
			if got := streamCondition(t, c.end()); got != "conflict" {
				t.Error(got)
			}
		},
		" </stream:stream>": func(c *conn) { c.closed() },
	} {
		srv := xmpptest.Start(t, xmpptest.Options{Handler: func(c *xmpptest.Conn) {
			if c.Secure() == nil && c.Authenticate() == nil {
				c.Send(raw)
				c.ExpectEnd()
			}
		}})
		c := dialTo(t, srv.Setting(""), Opening{})
		c.expect("features")
		c.forward(plainAuth("juliet", "secret"))
		c.expect("success")
		check(c)
		srv.Wait()
	}
}

// The first element of the new stream must be its features.
//
// Covers: UP-027.
func TestRestartWithoutFeatures(t *testing.T) {
	srv := xmpptest.Start(t, xmpptest.Options{Handler: func(c *xmpptest.Conn) {
		if c.Secure() != nil || c.Authenticate() != nil {
			return
		}
		c.ExpectHeader()
		c.SendHeader("")
		c.Send("<message/>")
		contains(t, c.Expect("error").Raw, "<bad-format")
	}})
	c := dialTo(t, srv.Setting(""), Opening{})
	c.expect("features")
	c.forward(plainAuth("juliet", "secret"))
	c.expect("success")
	if err := c.Restart(Opening{}); err != nil {
		t.Fatal(err)
	}
	if err := c.end(); conditionOf(err) != "bad-format" {
		t.Error(err)
	}
	srv.Wait()
}
