package upstream

import (
	"errors"
	"net"
	"testing"
	"time"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmpptest"
)

// What the server showed a moment ago is shown again, and the only connection is that of the login.
//
// Covers: UP-104, UP-108.
func TestFirstStreamIsSaved(t *testing.T) {
	ca := xmpptest.NewCA(t)
	o := modern()
	o.TLS, o.Direct = ca.Good("example.org"), true
	o.SASL2.NeedsFrom = true
	o.PreAuth = "<x xmlns='urn:x'/>"
	srv := xmpptest.Start(t, o)
	d := managedDialer(t, Config{}, srv.Setting(ca.File()))
	var shown string
	ids := map[string]bool{}
	for i, accepted := range []int{2, 3, 4} {
		c := openWith(t, d, Opening{Managed: true, Owner: newSession().Owner})
		f := string(c.expect("features").AppendTo(nil, nil))
		if shown == "" {
			shown = f
		}
		if f != shown {
			t.Errorf("login %d sees\n%s\nnot\n%s", i, f, shown)
		}
		if h := c.Header(); ids[h.ID] || h.From != "example.org" || c.Scope() == nil || c.TLS() == nil || c.Addr() != srv.Addr {
			t.Errorf("%+v", h)
		} else {
			ids[h.ID] = true
		}
		c.signIn(plainAuth("juliet", "secret"))
		c.forward(bindRequest)
		if ev := c.next(); ev.Class != ClassFAST || srv.Accepted() != accepted {
			t.Errorf("%+v, %d connections after %d logins", ev, srv.Accepted(), i+1)
		}
		c.leave()
	}
	// Another language, another owner, a name, or time: the server has to be asked.
	for name, o := range map[string]Opening{
		"language": {Lang: "de", Managed: true, Owner: newSession().Owner},
		"plain":    {},
		"no owner": {Managed: true},
		"name":     {From: "juliet@example.org", Managed: true, Owner: newSession().Owner},
	} {
		before := srv.Accepted()
		if _ = openWith(t, d, o); srv.Accepted() != before+1 {
			t.Errorf("%s: no connection", name)
		}
	}
	g := d.served.Load().domains["example.org"].greetings
	g.last.lang, g.last.at = "", time.Now().Add(-greetingLife)
	before := srv.Accepted()
	if _ = openWith(t, d, Opening{Managed: true, Owner: newSession().Owner}); srv.Accepted() != before+1 {
		t.Error("an old greeting was shown")
	}
}

// saved opens a stream without a connection.
func saved(t *testing.T) (*conn, *xmpptest.Server) {
	t.Helper()
	o := modern()
	o.SASL2.NeedsFrom = true
	srv := xmpptest.Start(t, o)
	d := managedDialer(t, Config{}, srv.Setting(""))
	openWith(t, d, Opening{Managed: true, Owner: newSession().Owner}).enter("juliet")
	c := openWith(t, d, Opening{Managed: true, Owner: newSession().Owner})
	if n := srv.Accepted(); n != 2 {
		t.Fatalf("%d connections", n)
	}
	c.expect("features")
	return c, srv
}

// A stream without a connection ends like any other, and tells nobody.
func TestSavedStreamEnds(t *testing.T) {
	for name, end := range map[string]func(*conn) error{
		"Cut":   func(c *conn) error { return c.Cut() },
		"Close": func(c *conn) error { return c.Close(within(c.t)) },
	} {
		c, _ := saved(t)
		wait := c.background()
		if err := end(c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := wait(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The first attempt finds the server gone: the session ends as one that could not be opened.
func TestSavedStreamFindsNobody(t *testing.T) {
	c, srv := saved(t)
	srv.Stop()
	wait := c.background()
	if err := c.Send(c.admit(plainAuth("juliet", "secret")).Bytes); opOf(err) != OpNegotiate {
		t.Error(err)
	}
	if err := wait(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// The server may have changed its list meanwhile; what it still offers works. Who has no account to
// name signs in over a stream without one.
//
// Covers: UP-106.
func TestSavedStreamFindsAnotherList(t *testing.T) {
	c, srv := saved(t)
	srv.SetFaults(xmpptest.Faults{Mechanisms: []string{"PLAIN", "X-NEW"}})
	c.signIn(plainAuth("juliet", "secret"))
	contains(t, last(srv).Await("<authenticate"), "from='juliet@example.org'")

	c, srv = saved(t)
	srv.SetFaults(xmpptest.Faults{Mechanisms: []string{"X-NEW"}})
	if err := c.Send(c.admit(plainAuth("juliet", "secret")).Bytes); !errors.Is(err, errOtherMechanisms) {
		t.Error(err)
	}

	c, srv = saved(t)
	c.signIn("<auth xmlns='" + ns.SASL + "' mechanism='ANONYMOUS'/>")
	got := last(srv).Await("<auth ")
	lacks(t, got, "from=")
}

// last returns the last connection that came in.
func last(srv *xmpptest.Server) *xmpptest.Conn {
	for range srv.Accepted() - 1 {
		srv.Next()
	}
	return srv.Next()
}
