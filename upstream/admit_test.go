package upstream

import (
	"strings"
	"testing"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmpptest"
)

// stage is how far a stream of the Admit table has come.
type stage func(p *progress)

func fresh(*progress)       {}
func registers(p *progress) { p.register = true }
func legacy(p *progress)    { p.legacy = true }
func succeeded(p *progress) { p.begun, p.authenticated, p.restartable = true, true, true }
func restarted(p *progress) { p.begun, p.authenticated = true, true }
func bindInFlight(p *progress) {
	p.begun, p.authenticated, p.binding, p.bindID = true, true, true, "b1"
}
func bound(p *progress) { p.begun, p.authenticated, p.bound = true, true, true }

func streamAt(at stage, managed bool, p policy) *Stream {
	s := &Stream{dom: &Domain{Name: "example.org"}, out: ClientScope(""), policy: p}
	if managed {
		s.m = newManaged(Opening{}, false)
		s.m.login = &login{}
	}
	if at(&s.p); managed && s.p.bound {
		s.m.login, s.m.sm.phase = nil, smAcks
	}
	return s
}

func (s *Stream) mustAdmit(t *testing.T, raw string) Admission {
	t.Helper()
	a, err := s.Admit(nil, parse(t, raw))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Every verdict, at every stage.
//
// Covers: UP-029, UP-037, UP-039, UP-049, UP-051.
func TestAdmit(t *testing.T) {
	const (
		message   = "<message xmlns='jabber:client' to='a@b' id='1'><body>hi</body></message>"
		iq        = "<iq xmlns='jabber:client' type='get' id='1'><q xmlns='urn:q'/></iq>"
		register  = "<iq xmlns='jabber:client' type='set' id='1'><query xmlns='jabber:iq:register'/></iq>"
		auth      = "<auth xmlns='" + ns.SASL + "' mechanism='SCRAM-SHA-1'>bg==</auth>"
		response  = "<response xmlns='" + ns.SASL + "'/>"
		auth2     = "<authenticate xmlns='" + ns.SASL2 + "' mechanism='PLAIN'/>"
		enable    = "<enable xmlns='" + ns.SM + "' resume='true'/>"
		resume    = "<resume xmlns='" + ns.SM + "' previd='x' h='1'/>"
		active    = "<active xmlns='urn:xmpp:csi:0'/>"
		r         = "<r xmlns='" + ns.SM + "'/>"
		ack       = "<a xmlns='" + ns.SM + "' h='1'/>"
		starttls  = "<starttls xmlns='" + ns.TLS + "'/>"
		compress  = "<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>"
		oldLogin  = "<iq xmlns='jabber:client' type='set' id='1'><query xmlns='jabber:iq:auth'><username>u</username></query></iq>"
		malformed = "<message xmlns='urn:x'/>"
	)
	forward := func(raw string) Admission { return Admission{Action: Forward, Bytes: []byte(raw)} }
	answer := func(raw string) Admission { return Admission{Action: Answer, Bytes: []byte(raw)} }
	stanza := func(raw string) Admission {
		return Admission{Action: Forward, Stanza: true, Bytes: []byte(raw)}
	}
	for _, c := range []struct {
		name    string
		at      stage
		managed bool
		policy  policy
		raw     string
		want    Admission
	}{
		{"stanza before login", fresh, false, policy{}, message, refuse("not-authorized")},
		{"stanza after success, before the restart", succeeded, false, policy{}, message, refuse("not-authorized")},
		{"stanza before bind", restarted, false, policy{}, message, refuse("not-authorized")},
		{"iq before bind", restarted, false, policy{}, iq, refuse("not-authorized")},
		{"bind before login", fresh, false, policy{}, bindRequest, refuse("not-authorized")},
		{"bind before the restart", succeeded, false, policy{}, bindRequest, refuse("not-authorized")},
		{"bind", restarted, false, policy{}, bindRequest, stanza(bindRequest)},
		{"bind with an endless id", restarted, false, policy{}, strings.Replace(bindRequest, "b1", strings.Repeat("x", maxID+1), 1), refuse("policy-violation")},
		{"stanza behind bind", bindInFlight, false, policy{}, message, stanza(message)},
		{"stanza", bound, false, policy{}, message, stanza(message)},
		{"iq", bound, true, policy{}, iq, stanza(iq)},
		{"registration not offered", fresh, false, policy{}, register, refuse("not-authorized")},
		{"registration offered", registers, false, policy{}, register, stanza(register)},
		{"other stanza where registration is offered", registers, false, policy{}, iq, refuse("not-authorized")},
		{"XEP-0078 not offered", fresh, false, policy{}, oldLogin, refuse("not-authorized")},
		{"XEP-0078 offered", legacy, false, policy{}, oldLogin, stanza(oldLogin)},
		{"XEP-0078 over an exposed hop", legacy, false, policy{noPlain: true}, oldLogin, refuse("not-authorized")},
		{"auth", fresh, false, policy{}, auth, forward(auth)},
		{"auth, managed", fresh, true, policy{}, auth, forward(auth)},
		{"response without data", fresh, false, policy{}, response, forward(response)},
		{"auth after success", succeeded, false, policy{}, auth, refuse("not-authorized")},
		{"auth after login", bound, false, policy{}, auth, refuse("unsupported-stanza-type")},
		{"server's part of SASL", fresh, false, policy{}, "<success xmlns='" + ns.SASL + "'/>", refuse("unsupported-stanza-type")},
		{"SASL2", fresh, false, policy{}, auth2, forward(auth2)},
		{"SASL2, managed", fresh, true, policy{}, auth2, refuse("unsupported-stanza-type")},
		{"PLAIN over an exposed hop", fresh, false, policy{noPlain: true}, plainAuth("u", "p"), answer("<failure xmlns='" + ns.SASL + "'><encryption-required/></failure>")},
		{"PLAIN by SASL2 over an exposed hop", fresh, false, policy{noPlain: true}, auth2, answer("<failure xmlns='" + ns.SASL2 + "'><encryption-required xmlns='" + ns.SASL + "'/></failure>")},
		{"enable before login", fresh, false, policy{}, enable, refuse("not-authorized")},
		{"enable", bound, false, policy{}, enable, forward(enable)},
		{"resume instead of bind", restarted, false, policy{}, resume, forward(resume)},
		{"resume before the restart", succeeded, false, policy{}, resume, refuse("not-authorized")},
		{"r", bound, false, policy{}, r, forward(r)},
		{"enable, managed", bound, true, policy{}, enable, answer("<failed xmlns='" + ns.SM + "'><unexpected-request xmlns='" + ns.Stanzas + "'/></failed>")},
		{"resume, managed", restarted, true, policy{}, resume, answer("<failed xmlns='" + ns.SM + "'><unexpected-request xmlns='" + ns.Stanzas + "'/></failed>")},
		{"r, managed", bound, true, policy{}, r, Admission{Action: Drop}},
		{"a, managed", bound, true, policy{}, ack, Admission{Action: Drop}},
		{"client state", bound, true, policy{}, active, forward(active)},
		{"client state before login", fresh, true, policy{}, active, refuse("not-authorized")},
		{"starttls", fresh, false, policy{}, starttls, answer("<failure xmlns='" + ns.TLS + "'/>")},
		{"starttls, bound", bound, true, policy{}, starttls, answer("<failure xmlns='" + ns.TLS + "'/>")},
		{"compress", fresh, false, policy{}, compress, answer("<failure xmlns='http://jabber.org/protocol/compress'><setup-failed/></failure>")},
		{"stanza in another namespace", bound, false, policy{}, malformed, refuse("invalid-namespace")},
		{"server-to-server stanza", bound, false, policy{}, "<message xmlns='jabber:server'/>", refuse("invalid-namespace")},
		{"stream error of a client", bound, false, policy{}, "<stream:error xmlns:stream='" + ns.Stream + "'/>", refuse("unsupported-stanza-type")},
		{"features of a client", bound, false, policy{}, "<stream:features xmlns:stream='" + ns.Stream + "'/>", refuse("unsupported-stanza-type")},
		{"unknown of jabber:client", bound, false, policy{}, "<x xmlns='jabber:client'/>", refuse("unsupported-stanza-type")},
		{"dialback", bound, false, policy{}, "<result xmlns='jabber:server:dialback'/>", refuse("unsupported-stanza-type")},
		{"unknown", bound, false, policy{}, "<x xmlns='urn:x'/>", refuse("unsupported-stanza-type")},
		{"no namespace", bound, false, policy{}, "<x/>", refuse("unsupported-stanza-type")},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := streamAt(c.at, c.managed, c.policy)
			got, err := s.Admit([]byte("prefix"), parse(t, c.raw))
			if err != nil {
				t.Fatal(err)
			}
			if bytes, ok := strings.CutPrefix(string(got.Bytes), "prefix"); got.Bytes != nil && (!ok || bytes != string(c.want.Bytes)) {
				t.Errorf("bytes %q, want %q", bytes, c.want.Bytes)
			} else if got.Bytes == nil && c.want.Bytes != nil {
				t.Errorf("no bytes, want %q", c.want.Bytes)
			}
			if got.Action != c.want.Action || got.Condition != c.want.Condition || got.Stanza != c.want.Stanza {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

// What is forwarded is what came, to the byte.
//
// Covers: UP-035, UP-037.
func TestForwardedStanzasKeepTheirBytes(t *testing.T) {
	s := streamAt(bound, false, policy{})
	for _, raw := range []string{
		`<message xmlns="jabber:client" from='a@b/c' to="d" id='&lt;' type="chat" z='1'><body>a&amp;b <![CDATA[<]]></body></message>`,
		`<c:message xmlns:c='jabber:client'><c:body/></c:message>`,
	} {
		a, err := s.Admit(nil, parse(t, raw))
		if err != nil || !a.Stanza || string(a.Bytes) != raw {
			t.Errorf("%s\nbecame %s, %v", raw, a.Bytes, err)
		}
	}
}

// What the browser's hop, or ours, does not protect is not offered a password in the clear.
//
// Covers: UP-051.
func TestPlainIsNotOfferedOverExposedHops(t *testing.T) {
	ca := xmpptest.NewCA(t)
	secure := xmpptest.Start(t, xmpptest.Options{TLS: ca.Good("example.org")})
	clear := xmpptest.Start(t, xmpptest.Options{})
	for _, c := range []struct {
		name    string
		setting string
		exposed bool
		want    bool
	}{
		{"TLS and TLS", secure.Setting(ca.File()), false, true},
		{"exposed and TLS", secure.Setting(ca.File()), true, false},
		{"TLS and trusted", clear.Setting(""), false, true},
		{"exposed and trusted", clear.Setting(""), true, false},
		{"TLS and clear", "example.org=xmpp://" + clear.Addr + "?tls=optional", false, false},
	} {
		s := dialTo(t, c.setting, Opening{Exposed: c.exposed})
		f := s.raw()
		if got := strings.Contains(f, "<mechanism>PLAIN</mechanism>"); got != c.want || !strings.Contains(f, "SCRAM-SHA-1") {
			t.Errorf("%s: %s", c.name, f)
		}
		if a := s.admit(plainAuth("u", "p")); (a.Action == Forward) != c.want {
			t.Errorf("%s: %+v", c.name, a)
		}
	}
}
