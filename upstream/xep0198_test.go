package upstream

import (
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmpptest"
)

const (
	juliet     = "juliet@example.org/r"
	bindResult = "<iq type='result' id='b1'><bind xmlns='" + ns.Bind + "'><jid>" + juliet + "</jid></bind></iq>"
)

// The whole exchange, byte by byte where it is ours.
//
// Covers: UP-054, UP-057, UP-058, UP-059, UP-060, UP-061.
func TestStreamManagementOfTheGateway(t *testing.T) {
	srv := xmpptest.Start(t, modern())
	d := managedDialer(t, Config{}, srv.Setting(""))
	x := newSession()
	c := resumable(t, d, x)
	peer := srv.Next()
	if peer.JID() == "" {
		peer = srv.Next() // the first connection only asked what is offered
	}
	contains(t, peer.Received(), bindRequest+"<enable xmlns='"+ns.SM+"' resume='true' max='150'/>")
	if streamAt(restarted, true, policy{}).mustAdmit(t, bindRequest).Stanza {
		t.Error("the bind request counts")
	}
	for range 3 {
		if a := c.admit(chatTo("romeo")); !a.Stanza {
			t.Fatal("does not count")
		} else if err := c.Send(c.AppendAckRequest(a.Bytes)); err != nil {
			t.Fatal(err)
		}
	}
	if a := c.admit("<active xmlns='urn:xmpp:csi:0'/>"); a.Stanza {
		t.Error("client state counts")
	} else if err := c.Send(a.Bytes); err != nil {
		t.Fatal(err)
	}
	for h := uint32(1); h <= 3; h++ {
		if ev := c.until(KindAcked); ev.H != h {
			t.Errorf("acked %d, want %d", ev.H, h)
		}
	}
	// The server's own: r asks, a answers with what the owner says, however often, and never less than before.
	for range 2 {
		peer.Send("<r xmlns='" + ns.SM + "'/>")
		c.until(KindAckRequested)
		if err := c.Ack(2); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Ack(1); err != nil {
		t.Fatal(err)
	}
	c.forward(chatTo("romeo"))
	c.closeBoth(srv)
	if n := strings.Count(peer.Received(), "<a xmlns='"+ns.SM+"' h='2'/>"); n != 4 {
		t.Errorf("%d acks of 2 in %s", n, peer.Received())
	}
	lacks(t, peer.Received(), "h='1'")
	if n := strings.Count(peer.Received(), "<enable"); n != 1 {
		t.Errorf("%d enables", n)
	}
}

func chatTo(user string) string {
	return "<message xmlns='jabber:client' to='" + user + "@example.org'><body>hi</body></message>"
}

// closeBoth ends the stream and waits for both sides.
func (c *conn) closeBoth(srv *xmpptest.Server) {
	c.t.Helper()
	wait := c.background()
	if err := c.Close(within(c.t)); err != nil {
		c.t.Error(err)
	}
	if err := wait(); err != io.EOF {
		c.t.Error(err)
	}
	srv.Wait()
}

// The last word before the closing tag is a truthful <a/>.
//
// Covers: UP-065.
func TestLastAckBeforeTheEnd(t *testing.T) {
	srv := xmpptest.Start(t, modern())
	c := resumable(t, managedDialer(t, Config{}, srv.Setting("")), newSession())
	for _, id := range []string{"1", "2", "3"} {
		srv.Deliver(juliet, "<message id='"+id+"'/>")
		c.counted()
	}
	if err := c.Ack(2); err != nil {
		t.Fatal(err)
	}
	peer := srv.Session(juliet)
	c.closeBoth(srv)
	if !strings.HasSuffix(peer.Received(), "<a xmlns='"+ns.SM+"' h='2'/></stream:stream>") {
		t.Errorf("%s", peer.Received())
	}
	if srv.Managed(juliet) {
		t.Error("the server keeps a session that was ended")
	}
}

// What the server offers, and what the operator allows, decides what is asked for.
//
// Covers: UP-054, UP-055, UP-111.
func TestWhatIsAskedFor(t *testing.T) {
	full := modern()
	classic := xmpptest.Options{Resumable: true}
	none := xmpptest.Options{}
	one := modern()
	one.ResumeSpelling = "1"
	no := modern()
	no.ResumeSpelling = "false"
	for _, c := range []struct {
		name     string
		o        xmpptest.Options
		query    string
		failover bool
		owner    bool
		enable   string // what the server got
		class    Class
		acks     bool
	}{
		{"all", full, "", true, true, "<enable xmlns='" + ns.SM + "' resume='true' max='150'/>", ClassFAST, true},
		{"resume=1", one, "", true, true, "<enable xmlns='" + ns.SM + "' resume='true' max='150'/>", ClassFAST, true},
		{"resume=false", no, "", true, true, "<enable xmlns='" + ns.SM + "' resume='true' max='150'/>", ClassNone, true},
		{"fail-over off", full, "", false, true, "<enable xmlns='" + ns.SM + "'/>", ClassNone, true},
		{"no owner", full, "", true, false, "<enable xmlns='" + ns.SM + "'/>", ClassNone, true},
		{"no SASL2", classic, "", true, true, "<enable xmlns='" + ns.SM + "'/>", ClassNone, true},
		{"no SASL2, password allowed", classic, "&reauth=password", true, true, "<enable xmlns='" + ns.SM + "' resume='true' max='150'/>", ClassPassword, true},
		{"no stream management", none, "", true, true, "", ClassNone, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := xmpptest.Start(t, c.o)
			d := managedDialer(t, Config{}, srv.Setting("")+c.query)
			if !c.failover {
				d.cfg.Failover = nil
			}
			o := Opening{Managed: true}
			if c.owner {
				o.Owner = newSession().Owner
			}
			s := openWith(t, d, o)
			ev := s.enter("juliet")
			if ev.Class != c.class || ev.Acks != c.acks || s.Class() != c.class {
				t.Errorf("%+v", ev)
			}
			s.expect("iq")
			got := srv.Session(juliet).Received()
			if c.enable == "" {
				lacks(t, got, "<enable")
			} else {
				contains(t, got, c.enable)
			}
			if _, err := s.State(); (err == nil) != (c.class != ClassNone) {
				t.Errorf("state: %v", err)
			}
		})
	}
}

// <enabled/> without an id is not resumable; bounds are observed.
//
// Covers: UP-055, UP-056.
func TestReadEnabled(t *testing.T) {
	for raw, want := range map[string]management{
		"id='a' resume='true' max='60' location='h:1'": {phase: smResumable, id: "a", max: 60, where: "h:1"},
		"id='a' resume='1'":                            {phase: smResumable, id: "a"},
		"id='a'":                                       {phase: smAcks, id: "a"},
		"id='a' resume='no'":                           {phase: smAcks, id: "a"},
		"resume='true'":                                {phase: smAcks},
		"id='a' resume='true' max='-1'":                {phase: smResumable, id: "a"},
		"id='" + strings.Repeat("x", 4001) + "' resume='true'": {phase: smAcks, id: strings.Repeat("x", 4001)},
		"id='a&amp;b' resume='true' max='4294967296'":          {phase: smResumable, id: "a&b"},
	} {
		var m management
		m.enabled(parse(t, "<enabled xmlns='"+ns.SM+"' "+raw+"/>"), true)
		if m != want {
			t.Errorf("%s: %+v", raw, m)
		}
	}
}

// Modulo 2³²: 0 follows 4294967295, and what was never sent cannot have been handled.
//
// Covers: UP-059, UP-062.
func TestCountersWrap(t *testing.T) {
	for _, c := range []struct {
		acked, sent, h uint32
		ok             bool
		after          uint32
	}{
		{0, 0, 0, true, 0},
		{0, 3, 3, true, 3},
		{0, 3, 4, false, 0},
		{2, 3, 1, true, 2}, // an old <a/> comes late
		{math.MaxUint32 - 2, 1, math.MaxUint32, true, math.MaxUint32},
		{math.MaxUint32 - 2, 1, 0, true, 0},
		{math.MaxUint32 - 2, 1, 1, true, 1},
		{math.MaxUint32 - 2, 1, 2, false, math.MaxUint32 - 2},
		{math.MaxUint32, math.MaxUint32, math.MaxUint32, true, math.MaxUint32},
		{math.MaxUint32, math.MaxUint32, 0, false, math.MaxUint32},
	} {
		m := management{acked: c.acked, sent: c.sent}
		if err := m.handled(c.h); (err == nil) != c.ok || m.acked != c.after {
			t.Errorf("%+v: %v, %d", c, err, m.acked)
		}
	}
}

// The counters of a live stream pass 2³².
//
// Covers: UP-059.
func TestLiveCountersWrap(t *testing.T) {
	srv := xmpptest.Start(t, modern())
	c := resumable(t, managedDialer(t, Config{}, srv.Setting("")), newSession())
	const start = math.MaxUint32 - 1
	srv.SetCounters(juliet, start, start)
	c.m.sm.sent, c.m.sm.acked, c.m.sm.told = start, start, start
	want := uint32(start)
	for range 4 {
		want++
		if err := c.Send(c.AppendAckRequest(c.admit("<presence xmlns='jabber:client'/>").Bytes)); err != nil {
			t.Fatal(err)
		}
		if ev := c.until(KindAcked); ev.H != want {
			t.Errorf("acked %d, want %d", ev.H, want)
		}
		if err := c.Ack(want); err != nil {
			t.Fatal(err)
		}
	}
	peer := srv.Session(juliet)
	c.closeBoth(srv)
	got := peer.Received()
	contains(t, got, "h='4294967295'", "h='0'", "h='1'", "h='2'")
}

// Too high an h ends the stream with the condition of XEP-0198 §6, and it is not resumed.
//
// Covers: UP-062.
func TestServerAcknowledgesTooMuch(t *testing.T) {
	srv := xmpptest.Start(t, modern())
	x := newSession()
	c := resumable(t, managedDialer(t, Config{}, srv.Setting("")), x)
	peer := srv.Session(juliet)
	srv.SetFaults(xmpptest.Faults{TooMuch: 5})
	if err := c.Send(c.AppendAckRequest(c.admit("<presence xmlns='jabber:client'/>").Bytes)); err != nil {
		t.Fatal(err)
	}
	err := c.end()
	var high *tooHigh
	if !errors.As(err, &high) || high.h != 6 || high.sent != 1 {
		t.Errorf("%v", err)
	}
	srv.Wait()
	contains(t, peer.Received(), "<undefined-condition xmlns='"+ns.Streams+"'/><handled-count-too-high xmlns='"+ns.SM+"' h='6' send-count='1'/></stream:error></stream:stream>")
	if x.resumptions() != 0 {
		t.Error("resumed")
	}
}

// enabling is a server that has read the bind request and <enable/> when it comes to script.
func enabling(script func(*xmpptest.Conn)) xmpptest.Options {
	return xmpptest.Options{Resumable: true, Handler: func(c *xmpptest.Conn) {
		if c.Secure() != nil || c.Authenticate() != nil {
			return
		}
		c.Greet("<bind xmlns='" + ns.Bind + "'/><sm xmlns='" + ns.SM + "'/>")
		c.Expect("iq")
		c.Expect("enable")
		script(c)
	}}
}

// Stanzas between the bind result and <enabled/> belong to no count: the owner learns how many there are.
//
// Covers: UP-057.
func TestStanzasBeforeEnabled(t *testing.T) {
	srv := xmpptest.Start(t, enabling(func(c *xmpptest.Conn) {
		c.Send(bindResult + "<message id='1'/><message id='2'/>" +
			"<enabled xmlns='" + ns.SM + "' id='x'/><message id='3'/>")
		_, _ = c.Read()
	}))
	c := openWith(t, managedDialer(t, Config{}, srv.Setting("")), Opening{Managed: true})
	if ev := c.enter("juliet"); ev.Early != 2 || !ev.Acks {
		t.Errorf("%+v", ev)
	}
	if !c.Buffered() {
		t.Error("what was held back is not announced")
	}
	for i, counted := range []bool{false, false, false, true} {
		if ev := c.next(); ev.Counted != counted {
			t.Errorf("%d: %s counted: %v", i, ev.Element.Raw, ev.Counted)
		}
	}
}

// What waits for <enabled/> is bounded.
//
// Covers: UP-038.
func TestServerNeverAnswersEnable(t *testing.T) {
	srv := xmpptest.Start(t, enabling(func(c *xmpptest.Conn) {
		c.Send(bindResult)
		for range maxHeld / 1000 {
			c.Send("<message>" + strings.Repeat("x", 1000) + "</message>")
		}
		c.Expect("error")
		c.ExpectEnd()
	}))
	c := openWith(t, managedDialer(t, Config{}, srv.Setting("")), Opening{Managed: true})
	c.expect("features")
	c.signIn(plainAuth("juliet", "secret"))
	c.forward(bindRequest)
	if err := c.end(); conditionOf(err) != "policy-violation" {
		t.Error(err)
	}
	srv.Wait()
}

// A refused bind takes <enable/> with it; the next one asks again.
//
// Covers: UP-054.
func TestEnableIsRefusedWithTheBind(t *testing.T) {
	srv := xmpptest.Start(t, enabling(func(c *xmpptest.Conn) {
		c.Send("<iq type='error' id='b1'><error type='modify'><bad-request xmlns='" + ns.Stanzas + "'/></error></iq>" +
			"<failed xmlns='" + ns.SM + "'><error type='cancel'><unexpected-request xmlns='" + ns.Stanzas + "'/></error></failed><message/>")
		c.Expect("iq")
		c.Expect("enable")
		c.Send(bindResult + "<enabled xmlns='" + ns.SM + "' id='x'/>")
		_, _ = c.Read()
	}))
	c := openWith(t, managedDialer(t, Config{}, srv.Setting("")), Opening{Managed: true})
	c.expect("features")
	c.signIn(plainAuth("juliet", "secret"))
	c.forward(bindRequest)
	if typ, _ := c.expect("iq").Attr("", "type"); typ != "error" {
		t.Error(typ)
	}
	c.expect("message") // <failed/> is swallowed
	c.forward(bindRequest)
	if ev := c.next(); ev.Kind != KindEnabled || !ev.Acks {
		t.Errorf("%+v", ev)
	}
	c.expect("iq")
}

// XEP-0198 refused by a server that offers it: the session works, and says that acks mean nothing.
func TestEnableRefused(t *testing.T) {
	srv := xmpptest.Start(t, modern())
	srv.SetFaults(xmpptest.Faults{RefuseEnable: true})
	c := openWith(t, managedDialer(t, Config{}, srv.Setting("")), Opening{Managed: true, Owner: newSession().Owner})
	if ev := c.enter("juliet"); ev.Acks || ev.Class != ClassNone {
		t.Errorf("%+v", ev)
	}
	c.expect("iq")
	if b := c.AppendAckRequest(nil); b != nil {
		t.Errorf("asks for acks: %s", b)
	}
	if err := c.Ack(0); err != nil {
		t.Error(err)
	}
	if a := c.admit(chatTo("romeo")); a.Stanza {
		t.Error("counts")
	}
	lacks(t, srv.Session(juliet).Received(), "<a ")
}

// Whatever a browser is not to see stays here; nothing of it counts.
//
// Covers: UP-058.
func TestManagedBrowserSeesStanzasOnly(t *testing.T) {
	srv := xmpptest.Start(t, modern())
	c := resumable(t, managedDialer(t, Config{}, srv.Setting("")), newSession())
	peer := srv.Session(juliet)
	peer.Send("<r xmlns='" + ns.SM + "'/><x xmlns='urn:x'/><resumed xmlns='" + ns.SM + "'/><success xmlns='" + ns.SASL2 + "'/>" +
		"<stream:features/><enabled xmlns='" + ns.SM + "' id='y'/><message/>")
	if ev := c.next(); ev.Kind != KindAckRequested {
		t.Errorf("%+v", ev)
	}
	if got := c.counted(); got != "<message/>" {
		t.Error(got)
	}
	if id := c.m.sm.id; id == "y" {
		t.Error("a second <enabled/> was believed")
	}
}
