package upstream

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmpptest"
)

const (
	asUser     = "<user-agent id='4f0e5a0c-0000-4000-8000-000000000001'><software>stanzagate</software></user-agent>"
	wantsToken = "<request-token xmlns='" + ns.FAST + "' mechanism='" + htNone + "'/>"
)

// told is what a server over plain TCP offers: both profiles with different lists, and tokens.
const told = "<mechanisms xmlns='" + ns.SASL + "'><mechanism>OLD</mechanism></mechanisms>" +
	"<authentication xmlns='" + ns.SASL2 + "'><mechanism>SCRAM-SHA-1</mechanism><mechanism>PLAIN</mechanism><mechanism>X</mechanism>" +
	"<inline><fast xmlns='" + ns.FAST + "'><mechanism>" + htNone + "</mechanism></fast></inline></authentication>"

// knows makes the dialer believe that the server lists that mechanism for tokens, so that no connection is made to find out.
func knows(d *Dialer, mechanisms ...string) { d.offers.remember("example.org", mechanisms) }

// scripted is a managed stream to a server that runs a script behind its features.
func scripted(t *testing.T, script func(*xmpptest.Conn)) (*conn, *xmpptest.Server) {
	t.Helper()
	srv := xmpptest.Start(t, xmpptest.Options{Handler: func(c *xmpptest.Conn) {
		c.Greet(told)
		script(c)
		_, _ = c.Read()
	}})
	d := managedDialer(t, Config{}, srv.Setting(""))
	knows(d, htNone)
	return openWith(t, d, Opening{Managed: true, Owner: newSession().Owner}), srv
}

func user(name string) string {
	return base64.StdEncoding.EncodeToString([]byte("n,,n=" + name + ",r=x"))
}

// Row 1: the list of the profile that is spoken, same set and order, and nothing of the other.
//
// Covers: UP-098, UP-103.
func TestListOfSASL2IsShown(t *testing.T) {
	c, _ := scripted(t, func(*xmpptest.Conn) {})
	want := "<stream:features><mechanisms xmlns='" + ns.SASL + "'><mechanism>SCRAM-SHA-1</mechanism><mechanism>PLAIN</mechanism>" +
		"<mechanism>X</mechanism></mechanisms></stream:features>"
	if got := c.raw(); got != want {
		t.Error(got)
	}
}

// Rows 2 to 6, as vectors in both directions. There is no Bind 2 in them: it would cost a classic client its offline messages.
//
// Covers: UP-049, UP-075, UP-080, UP-082, UP-085.
func TestTranslation(t *testing.T) {
	type step struct{ browser, server, answer, shown string }
	steps := []step{
		{ // 2: data
			"<auth xmlns='" + ns.SASL + "' mechanism='SCRAM-SHA-1'>" + user("juliet") + "</auth>",
			"<authenticate xmlns='" + ns.SASL2 + "' mechanism='SCRAM-SHA-1'><initial-response>" + user("juliet") + "</initial-response>" + asUser + wantsToken + "</authenticate>",
			"<challenge xmlns='" + ns.SASL2 + "'> Yw==\n</challenge>", "<challenge xmlns='" + ns.SASL + "'>Yw==</challenge>",
		},
		{ // 4
			"<response xmlns='" + ns.SASL + "'>ZA==</response>", "<response xmlns='" + ns.SASL2 + "'>ZA==</response>",
			"<challenge xmlns='" + ns.SASL2 + "'/>", "<challenge xmlns='" + ns.SASL + "'/>",
		},
		{
			"<response xmlns='" + ns.SASL + "'>=</response>", "<response xmlns='" + ns.SASL2 + "'/>",
			"<challenge xmlns='" + ns.SASL2 + "'>ZQ==</challenge>", "<challenge xmlns='" + ns.SASL + "'>ZQ==</challenge>",
		},
		{ // 6
			"<response xmlns='" + ns.SASL + "'/>", "<response xmlns='" + ns.SASL2 + "'/>",
			"<failure xmlns='" + ns.SASL2 + "'><account-disabled xmlns='" + ns.SASL + "'/><text xml:lang='de'>a &lt; b</text><x xmlns='urn:x'/></failure>",
			"<failure xmlns='" + ns.SASL + "'><account-disabled/><text xml:lang='de'>a &lt; b</text></failure>",
		},
		{ // 2a: no data, and nobody known: no token
			"<auth xmlns='" + ns.SASL + "' mechanism='X'/>", "<authenticate xmlns='" + ns.SASL2 + "' mechanism='X'></authenticate>",
			"<failure xmlns='" + ns.SASL2 + "'><no-such-condition/></failure>", "<failure xmlns='" + ns.SASL + "'><not-authorized/></failure>",
		},
		{ // 2b: an empty string
			"<auth xmlns='" + ns.SASL + "' mechanism='X'>=</auth>", "<authenticate xmlns='" + ns.SASL2 + "' mechanism='X'><initial-response/></authenticate>",
			"<failure xmlns='" + ns.SASL2 + "'><credentials-expired/></failure>", "<failure xmlns='" + ns.SASL + "'><credentials-expired/></failure>",
		},
	}
	c, srv := scripted(t, func(x *xmpptest.Conn) {
		for _, s := range steps {
			n, err := x.Read()
			if err != nil || n.Raw != s.server {
				t.Errorf("server got %s, %v; want %s", n.Raw, err, s.server)
				return
			}
			x.Send(s.answer)
		}
	})
	c.expect("features")
	for _, s := range steps {
		c.forward(s.browser)
		if got := c.raw(); got != s.shown {
			t.Errorf("browser got %s, want %s", got, s.shown)
		}
	}
	if srv.Accepted() != 1 {
		t.Errorf("%d connections", srv.Accepted())
	}
}

// Rows 7 to 9: the token stays here, and no restart reaches the server.
//
// Covers: UP-028, UP-078, UP-086, UP-107, UP-108.
func TestSuccessByTranslation(t *testing.T) {
	for data, want := range map[string]string{
		"":                   "<success xmlns='" + ns.SASL + "'/>",
		"<additional-data/>": "<success xmlns='" + ns.SASL + "'>=</success>",
		"<additional-data>dg==</additional-data>": "<success xmlns='" + ns.SASL + "'>dg==</success>",
	} {
		name := "authorization-identifier"
		if data == "" {
			name = "authorization-identity" // AMB-4
		}
		c, srv := scripted(t, func(x *xmpptest.Conn) {
			x.Expect("authenticate")
			x.Send("<success xmlns='" + ns.SASL2 + "'>" + data + "<" + name + ">Juliet@example.org</" + name + ">" +
				"<token xmlns='" + ns.FAST + "' token='s3cret' expiry='2027-01-01T00:00:00Z'/></success>")
			x.SendFeatures("<bind xmlns='" + ns.Bind + "'/><sm xmlns='" + ns.SM + "'/>" + fSM2)
			x.Expect("iq")
		})
		c.expect("features")
		before := c.Header()
		c.forward(plainAuth("juliet", "secret"))
		if got := c.raw(); got != want {
			t.Errorf("browser got %s, want %s", got, want)
		}
		if !c.Restartable() || c.Restart(Opening{Lang: "xx"}) != nil || c.Restartable() {
			t.Error("not restarted once")
		}
		after := c.Header()
		if after.ID == before.ID || len(after.ID) < 16 || after.From != before.From || after.Version != before.Version {
			t.Errorf("%+v after %+v", after, before)
		}
		if got := c.raw(); got != "<stream:features><bind xmlns='"+ns.Bind+"'/></stream:features>" {
			t.Error(got)
		}
		if c.m.bare != "juliet@example.org" || c.m.login.token.secret != "s3cret" || c.m.login.token.mechanism != htNone {
			t.Errorf("%q %+v", c.m.bare, c.m.login.token)
		}
		c.forward(bindRequest)
		srv.Wait()
		if n := strings.Count(srv.Next().Received(), "<stream:stream"); n != 1 {
			t.Errorf("%d headers", n)
		}
	}
}

// A restart that comes before the features waits for them.
//
// Covers: UP-107.
func TestRestartBeforeTheFeatures(t *testing.T) {
	go1 := make(chan struct{})
	c, _ := scripted(t, func(x *xmpptest.Conn) {
		x.Expect("authenticate")
		x.Send("<success xmlns='" + ns.SASL2 + "'><authorization-identifier>juliet@example.org</authorization-identifier></success>")
		<-go1
		x.SendFeatures("")
	})
	c.expect("features")
	c.forward(plainAuth("juliet", "secret"))
	c.expect("success")
	if c.Buffered() {
		t.Error("features are announced before the restart")
	}
	if err := c.Restart(Opening{}); err != nil {
		t.Fatal(err)
	}
	close(go1)
	c.expect("features")
}

// Rows 5 and 11: what the server could not bear is answered here, and the next attempt is made on
// a stream of its own.
//
// Covers: UP-076, UP-081, UP-110.
func TestAbandonedExchanges(t *testing.T) {
	for _, c := range []struct {
		name   string
		fault  xmpptest.Faults
		first  string
		second string // what ends the first; "" if the server does
		want   string
		sasl2  bool // the next attempt is translated
	}{
		{"abort", xmpptest.Faults{}, scramAuth("juliet"), "<abort xmlns='" + ns.SASL + "'/>", "<failure xmlns='" + ns.SASL + "'><aborted/></failure>", true},
		{"another attempt", xmpptest.Faults{}, scramAuth("juliet"), "", "", true},
		{"second factor", xmpptest.Faults{Continue: true}, plainAuth("juliet", "x"), "", "<failure xmlns='" + ns.SASL + "'><temporary-auth-failure/></failure>", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := xmpptest.Start(t, modern())
			srv.SetFaults(c.fault)
			d := managedDialer(t, Config{}, srv.Setting(""))
			knows(d, htNone)
			s := openWith(t, d, Opening{Managed: true, Owner: newSession().Owner})
			s.expect("features")
			s.forward(c.first)
			if strings.Contains(c.first, "SCRAM") {
				s.expect("challenge")
			}
			if c.second != "" {
				if a := s.admit(c.second); a.Action != Answer || string(a.Bytes) != c.want {
					t.Errorf("%+v %s", a, a.Bytes)
				}
				if a := s.admit("<response xmlns='" + ns.SASL + "'>eA==</response>"); a.Action != Drop {
					t.Errorf("a response to nothing: %+v", a)
				}
			} else if c.want != "" {
				if got := s.raw(); got != c.want {
					t.Error(got)
				}
			}
			if s.Authenticated() || s.admit(bindRequest).Condition != "not-authorized" {
				t.Error("authenticated by less than all that is asked")
			}
			s.signIn(plainAuth("juliet", "secret"))
			first, second := srv.Next().Received(), srv.Next().Received()
			lacks(t, first, "<abort")
			if got := strings.Contains(second, "<authenticate"); got != c.sasl2 {
				t.Errorf("translated: %v: %s", got, second)
			}
		})
	}
}

func scramAuth(name string) string {
	return "<auth xmlns='" + ns.SASL + "' mechanism='SCRAM-SHA-1'>" + user(name) + "</auth>"
}

// A server that offers SASL2 only to who names itself: a second stream does, over TLS only.
//
// Covers: UP-024, UP-104, UP-109.
func TestSecondStreamNamesTheUser(t *testing.T) {
	ca := xmpptest.NewCA(t)
	o := modern()
	o.TLS = ca.Good("example.org")
	o.SASL2.NeedsFrom, o.SASL2.NeedsTLS = true, true
	srv := xmpptest.Start(t, o)
	for _, auth := range []string{plainAuth("juliet", "secret"), scramAuth("juliet")} {
		d := managedDialer(t, Config{}, srv.Setting(ca.File()))
		x := newSession()
		c := openWith(t, d, Opening{Managed: true, Owner: x.Owner})
		first := srv.Next()
		contains(t, c.raw(), "<mechanism>SCRAM-SHA-1</mechanism><mechanism>PLAIN</mechanism><mechanism>ANONYMOUS</mechanism>")
		c.forward(auth)
		if strings.Contains(auth, "SCRAM") {
			c.expect("challenge")
			c.forward("<response xmlns='" + ns.SASL + "'>eA==</response>")
		}
		c.expect("success")
		if err := c.Restart(Opening{}); err != nil {
			t.Fatal(err)
		}
		c.expect("features")
		c.forward(bindRequest)
		if ev := c.next(); ev.Class != ClassFAST {
			t.Errorf("%+v", ev)
		}
		c.expect("iq")
		second := srv.Next()
		lacks(t, first.Await(closingTag), "from=", "<authenticate", "<auth ")
		clear, secured, _ := strings.Cut(second.Received(), "<starttls")
		lacks(t, clear, "from=")
		contains(t, secured, "from='juliet@example.org'", "mechanism='"+htExporter+"'")
		if len(x.agents) != 1 || x.agents[0] != "juliet@example.org" {
			t.Errorf("agents for %q", x.agents)
		}
		c.closeBoth(srv)
	}
}

// Recv, which waits for the first connection meanwhile, goes over to the second; what becomes of the first is no concern.
//
// Covers: UP-104.
func TestRecvFollowsToTheSecondStream(t *testing.T) {
	o := modern()
	o.SASL2.NeedsFrom = true
	srv := xmpptest.Start(t, o)
	c := openWith(t, managedDialer(t, Config{}, srv.Setting("")), Opening{Managed: true, Owner: newSession().Owner})
	c.expect("features")
	got := make(chan string, 1)
	go func() {
		ev, err := c.Recv()
		got <- fmt.Sprintf("%s %v", ev.Element.Local, err)
	}()
	c.forward(plainAuth("juliet", "secret"))
	if s := <-got; s != "success <nil>" {
		t.Error(s)
	}
}

// Where the list with `from` is another the login is made on the first stream, without a token; and
// the next login does not ask again.
//
// Covers: UP-103, UP-104.
func TestOtherListWithFrom(t *testing.T) {
	o := modern()
	o.SASL2.NeedsFrom = true
	o.SASL2.Mechanisms = []string{"PLAIN"}
	srv := xmpptest.Start(t, o)
	d := managedDialer(t, Config{}, srv.Setting(""))
	for i := range 2 {
		c := openWith(t, d, Opening{Managed: true, Owner: newSession().Owner})
		if ev := c.enter("juliet"); ev.Class != ClassNone {
			t.Errorf("%+v", ev)
		}
		if n := srv.Accepted(); n != 2+i {
			t.Errorf("%d connections after %d logins", n, i+1)
		}
		_ = c.Cut()
	}
	contains(t, srv.Next().Received(), "<auth ")
}

// Once the mechanisms for tokens are known the first stream will do, where it offers SASL2.
//
// Covers: UP-104.
func TestOneConnectionOnceTheOfferIsKnown(t *testing.T) {
	o := modern()
	o.SASL2.ListsFrom = true
	srv := xmpptest.Start(t, o)
	d := managedDialer(t, Config{}, srv.Setting(""))
	for i, want := range []int{2, 3} {
		c := openWith(t, d, Opening{Managed: true, Owner: newSession().Owner})
		if ev := c.enter("juliet"); ev.Class != ClassFAST {
			t.Errorf("%+v", ev)
		}
		if n := srv.Accepted(); n != want {
			t.Errorf("%d connections after %d logins", n, i+1)
		}
		_ = c.Cut()
	}
}

// A browser that names itself needs no second stream.
//
// Covers: UP-104.
func TestBrowserThatNamesItself(t *testing.T) {
	ca := xmpptest.NewCA(t)
	o := modern()
	o.TLS, o.Direct = ca.Good("example.org"), true
	o.SASL2.NeedsFrom = true
	srv := xmpptest.Start(t, o)
	d := managedDialer(t, Config{}, srv.Setting(ca.File()))
	c := openWith(t, d, Opening{From: "juliet@example.org", Managed: true, Owner: newSession().Owner})
	if ev := c.enter("juliet"); ev.Class != ClassFAST || srv.Accepted() != 1 {
		t.Errorf("%+v, %d connections", ev, srv.Accepted())
	}
}

// Who signs in by another name than its own is not locked out by our guess.
//
// Covers: UP-105.
func TestWrongGuessOfTheAccount(t *testing.T) {
	o := modern()
	o.SASL2.NeedsFrom, o.SASL2.CheckFrom = true, true
	o.Alias = map[string]string{"jc": "juliet"}
	srv := xmpptest.Start(t, o)
	d := managedDialer(t, Config{}, srv.Setting(""))
	c := openWith(t, d, Opening{Managed: true, Owner: newSession().Owner})
	c.expect("features")
	c.forward(plainAuth("jc", "secret"))
	contains(t, c.raw(), "not-authorized")
	c.signIn(plainAuth("jc", "secret"))
	c.forward(bindRequest)
	if ev := c.next(); ev.Class != ClassNone || !ev.Acks {
		t.Errorf("%+v", ev)
	}
	c.expect("iq")
	if c.JID() != juliet {
		t.Error(c.JID())
	}
	last := srv.Session(juliet).Received()
	contains(t, last, "<auth ")
	lacks(t, last, "from=")
}

// Who is not known before, or not at all, signs in as ever.
//
// Covers: UP-106.
func TestLoginsWithoutAccount(t *testing.T) {
	anon := "<auth xmlns='" + ns.SASL + "' mechanism='ANONYMOUS'/>"
	o := modern()
	o.SASL2.NeedsFrom = true
	srv := xmpptest.Start(t, o)
	d := managedDialer(t, Config{}, srv.Setting(""))
	c := openWith(t, d, Opening{Managed: true, Owner: newSession().Owner})
	c.expect("features")
	c.signIn(anon)
	c.forward(bindRequest)
	if ev := c.next(); ev.Class != ClassNone || srv.Accepted() != 1 {
		t.Errorf("%+v, %d connections", ev, srv.Accepted())
	}
	contains(t, srv.Next().Received(), anon)
}

// A server that offers SASL2 to everybody gives tokens to anonymous users too; their account is its to say.
func TestAnonymousByToken(t *testing.T) {
	srv := xmpptest.Start(t, modern())
	d := managedDialer(t, Config{}, srv.Setting(""))
	x := newSession()
	c := openWith(t, d, Opening{Managed: true, Owner: x.Owner})
	c.expect("features")
	c.signIn("<auth xmlns='" + ns.SASL + "' mechanism='ANONYMOUS'/>")
	c.forward(bindRequest)
	if ev := c.next(); ev.Class != ClassFAST || len(x.agents) != 1 || x.agents[0] != "" {
		t.Errorf("%+v, agents for %q", ev, x.agents)
	}
	if !strings.HasPrefix(c.m.bare, "anon") {
		t.Error(c.m.bare)
	}
}

// Without fail-over classic SASL passes as it is; SASL2 is spoken only where there is nothing else.
//
// Covers: UP-109, UP-111.
func TestTranslationIsOff(t *testing.T) {
	srv := xmpptest.Start(t, modern())
	c := dialTo(t, srv.Setting(""), Opening{Managed: true, Owner: newSession().Owner})
	c.enter("juliet")
	got := srv.Next().Received()
	contains(t, got, "<auth ")
	lacks(t, got, "urn:xmpp:sasl:2", "request-token", "user-agent")
	only := xmpptest.Start(t, xmpptest.Options{Handler: func(x *xmpptest.Conn) {
		x.Greet(strings.Replace(told, "<mechanisms xmlns='"+ns.SASL+"'><mechanism>OLD</mechanism></mechanisms>", "", 1))
		if n := x.Expect("authenticate"); n.Child("request-token").Name.Local != "" {
			t.Error(n.Raw)
		}
		_, _ = x.Read()
	}})
	c = dialTo(t, only.Setting(""), Opening{Managed: true})
	contains(t, c.raw(), "<mechanisms xmlns='"+ns.SASL+"'><mechanism>SCRAM-SHA-1</mechanism>")
	c.forward(plainAuth("juliet", "secret"))
	_ = c.Cut()
	only.Wait()
}

// The account that an attempt is for.
//
// Covers: UP-104.
func TestAccountOfAnAttempt(t *testing.T) {
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, c := range []struct{ mechanism, data, want string }{
		{"PLAIN", b64("\x00juliet\x00pw"), "juliet@example.org"},
		{"PLAIN", b64("juliet@example.org\x00Juliet\x00pw"), "juliet@example.org"},
		{"PLAIN", b64("\x00juliet@example.org\x00pw"), "juliet@example.org"},
		{"PLAIN", b64("\x00juliet@example.com\x00pw"), ""},
		{"PLAIN", b64("\x00a b\x00pw"), ""},
		{"PLAIN", b64("\x00juliet"), ""},
		{"PLAIN", "!", ""},
		{"PLAIN", "", ""},
		{"PLAIN", "=", ""},
		{"SCRAM-SHA-1", b64("n,,n=juliet,r=abc"), "juliet@example.org"},
		{"SCRAM-SHA-256-PLUS", b64("p=tls-exporter,a=x,n=juliet,r=abc"), "juliet@example.org"},
		{"SCRAM-SHA-1", b64("y,,n=a=2Cb=3Dc,r=abc"), "a,b=c@example.org"},
		{"SCRAM-SHA-1", b64("n,,r=abc"), ""},
		{"SCRAM-SHA-1", b64("x"), ""},
		{"OAUTHBEARER", b64("n,a=juliet@example.org,\x01auth=Bearer x\x01\x01"), "juliet@example.org"},
		{"OAUTHBEARER", b64("n,,\x01auth=Bearer x\x01\x01"), ""},
		{"EXTERNAL", b64("juliet@example.org"), ""},
		{"ANONYMOUS", b64("trace"), ""},
		{"X", b64("\x00juliet\x00pw"), ""},
	} {
		a := attempt{mechanism: c.mechanism, data: c.data}
		if got := a.account("example.org"); got != c.want {
			t.Errorf("%s %q: %q, want %q", c.mechanism, c.data, got, c.want)
		}
	}
}
