package upstream

import (
	"testing"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmpptest"
)

// Absent data and empty data stay what they are, both ways; the server's part likewise.
//
// Covers: UP-049.
func TestClassicSASLPassesUnchanged(t *testing.T) {
	browser := []string{
		"<auth xmlns='" + ns.SASL + "' mechanism='X'/>",
		"<response xmlns='" + ns.SASL + "'/>",
		"<abort xmlns='" + ns.SASL + "'/>",
		"<auth xmlns='" + ns.SASL + "' mechanism='X'>=</auth>",
		"<response xmlns='" + ns.SASL + "'>=</response>",
		"<auth xmlns='" + ns.SASL + "' mechanism='X'>bg==</auth>",
		"<response xmlns='" + ns.SASL + "'>YQ==</response>",
	}
	server := []string{
		"<challenge xmlns='" + ns.SASL + "'/>",
		"<challenge xmlns='" + ns.SASL + "'>=</challenge>",
		"<failure xmlns='" + ns.SASL + "'><aborted/></failure>",
		"<challenge xmlns='" + ns.SASL + "'>YQ==</challenge>",
		"<failure xmlns='" + ns.SASL + "'><not-authorized/><text xml:lang='de'>nein</text></failure>",
		"<challenge xmlns='" + ns.SASL + "'>Yg==</challenge>",
		"<success xmlns='" + ns.SASL + "'>dg==</success>",
	}
	srv := xmpptest.Start(t, xmpptest.Options{Handler: func(c *xmpptest.Conn) {
		c.Greet(c.Mechanisms())
		for i, want := range browser {
			n, err := c.Read()
			if err != nil || n.Raw != want {
				t.Errorf("server got %q, %v; want %q", n.Raw, err, want)
			}
			c.Send(server[i])
		}
		_, _ = c.Read()
	}})
	c := dialTo(t, srv.Setting(""), Opening{})
	c.expect("features")
	for i, raw := range browser {
		c.forward(raw)
		if got := c.raw(); got != server[i] {
			t.Errorf("browser got %q, want %q", got, server[i])
		}
	}
	if !c.Restartable() || !c.Authenticated() {
		t.Error("success was not noticed")
	}
}

// binding is a server that answers the bind request with raw.
func binding(raw string) xmpptest.Options {
	return xmpptest.Options{Handler: func(c *xmpptest.Conn) {
		if c.Secure() != nil || c.Authenticate() != nil {
			return
		}
		c.Greet("<bind xmlns='" + ns.Bind + "'/>")
		c.Expect("iq")
		c.Send(raw)
		_, _ = c.Read()
	}}
}

// Failed attempts stay on the connection; the JID is what the server says.
//
// Covers: UP-050, UP-053.
func TestWrongPasswordThenRightOne(t *testing.T) {
	srv := xmpptest.Start(t, binding("<iq type='result' id='other'/><iq type='result' id='b1'><bind xmlns='"+ns.Bind+"'><jid>juliet@example.org/changed&apos;</jid></bind></iq>"))
	c := dialTo(t, srv.Setting(""), Opening{})
	c.expect("features")
	for range 2 {
		c.forward(plainAuth("juliet", "wrong"))
		c.expect("failure")
		if c.Authenticated() || c.Restart(Opening{}) == nil {
			t.Fatal("a failure was taken for success")
		}
	}
	c.signIn(plainAuth("juliet", "secret"))
	c.forward(bindRequest)
	c.expect("iq")
	if c.JID() != "" {
		t.Error("an answer to something else was taken for the bind result")
	}
	if raw := c.raw(); c.JID() != "juliet@example.org/changed'" {
		t.Errorf("%q from %s", c.JID(), raw)
	}
	if n := srv.Accepted(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// A refused bind can be tried again.
//
// Covers: UP-053.
func TestBindRefused(t *testing.T) {
	srv := xmpptest.Start(t, binding("<iq type='error' id='b1'><error type='cancel'><conflict xmlns='"+ns.Stanzas+"'/></error></iq>"))
	c := dialTo(t, srv.Setting(""), Opening{})
	c.expect("features")
	c.signIn(plainAuth("juliet", "secret"))
	c.forward(bindRequest)
	c.expect("iq")
	if a := c.admit("<message xmlns='jabber:client'/>"); a.Action != Refuse || c.JID() != "" {
		t.Errorf("%+v, %q", a, c.JID())
	}
	if a := c.admit(bindRequest); a.Action != Forward {
		t.Errorf("%+v", a)
	}
}

// A client that does SASL2 with Bind 2 and stream management inline is followed (XEP-0388 §3.6.1).
//
// Covers: UP-049.
func TestClientsOwnSASL2(t *testing.T) {
	auth := "<authenticate xmlns='" + ns.SASL2 + "' mechanism='PLAIN'><initial-response>AA==</initial-response></authenticate>"
	success := "<success xmlns='" + ns.SASL2 + "'><authorization-identifier>juliet@example.org/x</authorization-identifier>" +
		"<bound xmlns='" + ns.Bind2 + "'><enabled xmlns='" + ns.SM + "' id='1' resume='1'/></bound></success>"
	srv := xmpptest.Start(t, xmpptest.Options{Handler: func(c *xmpptest.Conn) {
		c.Greet(fSASL2)
		if n := c.Expect("authenticate"); n.Raw != auth {
			t.Errorf("server got %s", n.Raw)
		}
		c.Send(success)
		c.SendFeatures("")
		c.Expect("message")
		_, _ = c.Read()
	}})
	c := dialTo(t, srv.Setting(""), Opening{})
	contains(t, c.raw(), fSASL2)
	c.forward(auth)
	if got := c.raw(); got != success {
		t.Error(got)
	}
	if !c.Authenticated() || c.Restartable() || !c.Resumable() || c.JID() != "juliet@example.org/x" {
		t.Error(c.Authenticated(), c.Restartable(), c.Resumable(), c.JID())
	}
	c.expect("features")
	c.forward("<message xmlns='jabber:client'/>")
	_ = c.Cut()
	srv.Wait()
}

// What Bind 2 did is read where XEP-0386 puts it, and nowhere else (AMB-5).
//
// Covers: UP-083, UP-084.
func TestReadBound(t *testing.T) {
	const enabled, failed = "<enabled xmlns='" + ns.SM + "' id='1' resume='1'/>", "<failed xmlns='" + ns.SM + "'/>"
	for raw, want := range map[string]progress{
		"<bound xmlns='urn:xmpp:bind:0'>" + enabled + "</bound>":  {bound: true, resumable: true},
		"<bound xmlns='urn:xmpp:bind:0'>" + failed + "</bound>":   {bound: true},
		"<bound xmlns='urn:xmpp:bind:0'/>":                        {bound: true},
		"<bound xmlns='urn:xmpp:bind2:1'>" + enabled + "</bound>": {},
		"<resumed xmlns='" + ns.SM + "' h='1' previd='x'/>":       {bound: true, resumable: true},
		failed: {},
	} {
		var p progress
		p.saw(parse(t, "<success xmlns='"+ns.SASL2+"'>"+raw+"</success>"))
		want.authenticated = true
		if p != want {
			t.Errorf("%s: %+v", raw, p)
		}
	}
}

// A login by XEP-0078 authenticates and binds in one.
func TestLegacyLogin(t *testing.T) {
	srv := xmpptest.Start(t, xmpptest.Options{Handler: func(c *xmpptest.Conn) {
		c.Greet(fAuth)
		c.Expect("iq")
		c.Send("<iq type='result' id='1'><query xmlns='jabber:iq:auth'><username/><password/><resource/></query></iq>")
		c.Expect("iq")
		c.Send("<iq type='error' id='2'><error code='401'/></iq>")
		c.Expect("iq")
		c.Send("<iq type='result' id='3'/>")
		c.Expect("presence")
		_, _ = c.Read()
	}})
	c := dialTo(t, srv.Setting(""), Opening{})
	c.expect("features")
	c.forward("<iq xmlns='jabber:client' type='get' id='1'><query xmlns='jabber:iq:auth'/></iq>")
	c.expect("iq")
	login := "<query xmlns='jabber:iq:auth'><username>juliet</username><password>x</password><resource>r</resource></query></iq>"
	c.forward("<iq xmlns='jabber:client' type='set' id='2'>" + login)
	c.expect("iq")
	if c.Authenticated() {
		t.Fatal("an error was taken for success")
	}
	c.forward("<iq xmlns='jabber:client' type='set' id='3'>" + login)
	c.expect("iq")
	if !c.Authenticated() || c.JID() != "juliet@example.org/r" {
		t.Error(c.JID())
	}
	c.forward("<presence xmlns='jabber:client'/>")
	_ = c.Cut()
	srv.Wait()
}
