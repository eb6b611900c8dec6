package main

import (
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"stanzagate/internal/xmpptest"
	"stanzagate/upstream"
)

// checked runs `gateway check example.org` and returns what it prints as JSON and in words.
func checked(t *testing.T, want int, args ...string) (r report, words string) {
	t.Helper()
	status, out, errs := execute(nil, append([]string{"check", "example.org", "--json"}, args...)...)
	if status != want || json.Unmarshal([]byte(out), &r) != nil || r.Login != (want == 0) || strings.Contains(out, "null,") && r.TLS != nil {
		t.Fatalf("status %d: %s%s", status, out, errs)
	}
	again, words, errs := execute(nil, append([]string{"check", "example.org"}, args...)...)
	if again != want || (errs != "") != (want != 0) {
		t.Errorf("status %d in words, %s", again, errs)
	}
	for _, p := range append(r.Errors, r.Warnings...) {
		if p.What == "" || p.Remedy == "" || !strings.Contains(words, p.Remedy) {
			t.Errorf("%+v is missing in\n%s", p, words)
		}
	}
	return r, words
}

func TestCheckDescribesADomain(t *testing.T) {
	ca := xmpptest.NewCA(t)
	srv := xmpptest.Start(t, xmpptest.Options{
		TLS: ca.Config(xmpptest.Cert{DNS: []string{"example.org"}, NotAfter: time.Now().Add(100 * 24 * time.Hour)}), Optional: true,
		SASL2: &xmpptest.SASL2{FAST: []string{"HT-SHA-256-NONE"}},
	})
	r, words := checked(t, 0, "--domain", srv.Setting(ca.File()))
	if len(r.Errors)+len(r.Warnings) != 0 || r.TLS == nil || r.TLS.Trust != "ca" || r.SM != "offered" {
		t.Errorf("%+v", r)
	}
	if r.Resumption.Class != upstream.ClassFAST || r.Resumption.AcrossReplicas {
		t.Errorf("%+v", r.Resumption)
	}
	for _, want := range []string{
		srv.Addr + " (STARTTLS): connected to " + srv.Addr, "TLS 1.3", "good for example.org by the authority of ?ca=", "in 99 days",
		"mechanisms          SCRAM-SHA-1 PLAIN ANONYMOUS\n  before TLS        SCRAM-SHA-1 PLAIN ANONYMOUS\n", "FAST              HT-SHA-256-NONE\n",
		"resumption          fast: the server offers SASL2 with FAST (HT-SHA-256-NONE)\n", "of its replica only with redis and failover.key\n", "verdict             a browser could log in\n",
	} {
		if !strings.Contains(words, want) {
			t.Errorf("%q is missing in\n%s", want, words)
		}
	}
}

// With a store and a key for all replicas, sessions outlive theirs. Neither is needed to say so.
func TestCheckKnowsOfOtherReplicas(t *testing.T) {
	fast := xmpptest.Start(t, xmpptest.Options{SASL2: &xmpptest.SASL2{FAST: []string{"HT-SHA-256-NONE"}}})
	classic := xmpptest.Start(t, xmpptest.Options{})
	shared := []string{"--redis=redis://127.0.0.1:1", "--failover.key=" + writeFile(t, "key", strings.Repeat("k", 64)), "--replica.advertise=127.0.0.1:9281"}
	for _, c := range []struct {
		srv   *xmpptest.Server
		args  []string
		want  bool
		words string
	}{
		{fast, shared, true, "survives the loss of its connection to the server, and of its replica"},
		{fast, shared[:1], false, "of its replica only with redis and failover.key"},
		{classic, shared, false, "ends with its connection to the server, or its replica"},
	} {
		r, words := checked(t, 0, append([]string{"--domain", c.srv.Setting("")}, c.args...)...)
		if r.Resumption.AcrossReplicas != c.want || !strings.Contains(words, c.words) {
			t.Errorf("%v: %+v\n%s", c.args, r.Resumption, words)
		}
	}
}

// Whatever keeps browsers from logging in is an error with its remedy, and status 1.
func TestCheckNamesTheRemedy(t *testing.T) {
	ca, other := xmpptest.NewCA(t), xmpptest.NewCA(t)
	start := func(o xmpptest.Options) *xmpptest.Server { return xmpptest.Start(t, o) }
	secured := func(c xmpptest.Cert) string { return start(xmpptest.Options{TLS: ca.Config(c)}).Setting(ca.File()) }
	good := xmpptest.Cert{DNS: []string{"example.org"}}
	clear := start(xmpptest.Options{Mechanisms: []string{"PLAIN"}})
	refusing := start(xmpptest.Options{Handler: func(c *xmpptest.Conn) { c.ExpectHeader(); c.Send(hostUnknown) }})
	leaving := start(xmpptest.Options{Handler: func(c *xmpptest.Conn) { c.ExpectHeader() }})
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for name, c := range map[string]struct {
		setting, want string
	}{
		"wrong name":        {secured(xmpptest.Cert{DNS: []string{"a.example", "b.example"}}), `it is for a.example, b.example; give the server one for example.org, or say ?name=`},
		"no name":           {secured(xmpptest.Cert{XmppAddr: []string{"other.example"}}), "it is for no DNS name"},
		"expired":           {secured(xmpptest.Cert{DNS: good.DNS, NotAfter: time.Now().Add(-time.Hour)}), "renew it on the server"},
		"unknown authority": {start(xmpptest.Options{TLS: other.Config(good)}).Setting(ca.File()), "?ca=FILE"},
		"no STARTTLS":       {"example.org=xmpp://" + clear.Addr, "turn on STARTTLS"},
		"not direct TLS":    {"example.org=xmpps://" + clear.Addr, "use xmpp:// for it"},
		"not xmpp":          {start(xmpptest.Options{TLS: ca.Config(good), Direct: true}).Setting(ca.File()) + "&tls=optional", "xmpps:// is direct TLS"},
		"nobody listens":    {"example.org=xmpp://" + closed.Addr().String(), "nothing listens there"},
		"no such host":      {"example.org=xmpp://host.invalid:5222", "add SRV records"},
		"other domain":      {refusing.Setting(""), "VirtualHost"},
		"hangs up":          {leaving.Setting(""), "the server hung up"},
		"nothing offered":   {start(xmpptest.Options{Mechanisms: []string{}}).Setting(""), "allow PLAIN or SCRAM on the listener"},
		"nothing usable":    {start(xmpptest.Options{Mechanisms: []string{"EXTERNAL", "SCRAM-SHA-1-PLUS"}}).Setting(""), "without channel binding"},
		"in the clear":      {"example.org=xmpp://" + clear.Addr + "?tls=optional", "?tls=none if the network"},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "not xmpp" { // which the settings refuse already
				status, _, errs := execute(nil, "check", "example.org", "--domain", c.setting)
				if status != 2 || !strings.Contains(errs, c.want) {
					t.Errorf("status %d: %s", status, errs)
				}
				return
			}
			r, words := checked(t, 1, "--domain", c.setting)
			if len(r.Errors) != 1 || !strings.Contains(r.Errors[0].Remedy, c.want) || !strings.Contains(words, "verdict             no browser could log in\n") {
				t.Errorf("want %q in\n%s", c.want, words)
			}
		})
	}
}

const hostUnknown = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='x' version='1.0'>" +
	"<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"

// A server that takes the connection and says nothing costs limit.connect-timeout, no more.
func TestCheckOfASilentServer(t *testing.T) {
	silent := xmpptest.Start(t, xmpptest.Options{Manual: true})
	r, _ := checked(t, 1, "--domain", silent.Setting(""), "--limit.connect-timeout=300ms")
	if len(r.Errors) != 1 || !strings.Contains(r.Errors[0].Remedy, "limit.connect-timeout") {
		t.Errorf("%+v", r.Errors)
	}
}

// What works and is worth a word.
func TestCheckWarns(t *testing.T) {
	ca := xmpptest.NewCA(t)
	srv := xmpptest.Start(t, xmpptest.Options{TLS: ca.Good("example.org"), Mechanisms: []string{"SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"}})
	r, words := checked(t, 0, "--domain", srv.Setting(ca.File()))
	if len(r.Warnings) != 2 || !strings.Contains(words, "?plus=hide") || !strings.Contains(words, "renew it") {
		t.Errorf("%+v", r.Warnings)
	}
	if r, _ = checked(t, 0, "--domain", srv.Setting(ca.File())+"&plus=hide"); len(r.Warnings) != 1 {
		t.Errorf("%+v", r.Warnings)
	}
}

// A domain that serve would not serve is not looked at.
func TestCheckOfADomainThatIsNotServed(t *testing.T) {
	srv := xmpptest.Start(t, xmpptest.Options{})
	for name, c := range map[string]struct {
		status int
		args   []string
		want   string
	}{
		"not configured": {1, []string{"other.example", "--domain", srv.Setting("")}, "as in --domain other.example, or set open to true"},
		"no domain":      {1, []string{"exa mple", "--domain", srv.Setting("")}, `check "exa mple": not a domain name`},
		"none given":     {2, []string{"--domain", srv.Setting("")}, "domain"},
		"bad setting":    {2, []string{"example.org", "--domain", srv.Setting("") + "&tls=maybe"}, "domain"},
		"bad limit":      {2, []string{"example.org", "--domain", srv.Setting(""), "--limit.connect-timeout=1ms"}, "limit.connect-timeout"},
	} {
		status, out, errs := execute(nil, append([]string{"check"}, c.args...)...)
		if status != c.status || out != "" || !strings.Contains(errs, c.want) {
			t.Errorf("%s: status %d, %q, %s", name, status, out, errs)
		}
	}
	var r report
	status, out, errs := execute(nil, "check", "other.example", "--json", "--domain", srv.Setting(""))
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != 1 || !strings.Contains(errs, "not served") {
		t.Fatalf("status %d, %q, %s: %v", status, out, errs, err)
	}
	if r.Domain != "other.example" || r.Login || len(r.Errors) != 1 || !strings.Contains(r.Errors[0].Remedy, "--domain other.example") {
		t.Errorf("programs are told %s", out)
	}
	if srv.Accepted() != 0 {
		t.Error("a connection was made")
	}
}

// What the settings leave in the clear is not called STARTTLS.
func TestCheckWithoutTLS(t *testing.T) {
	srv := xmpptest.Start(t, xmpptest.Options{})
	_, words := checked(t, 0, "--domain", "example.org=xmpp://"+srv.Addr+"?tls=none")
	if want := srv.Addr + " (without TLS): connected to " + srv.Addr; !strings.Contains(words, want) {
		t.Errorf("want %q in\n%s", want, words)
	}
}

// --json belongs to the command line of check: it is no setting.
func TestJSONIsNoSetting(t *testing.T) {
	if status, _, errs := execute([]string{"GATEWAY_JSON=true"}, "config", "--domain", "one.example"); status != 2 || !strings.Contains(errs, "no such setting") {
		t.Errorf("status %d: %s", status, errs)
	}
	file := writeFile(t, "g.yaml", "json: true\ndomain: one.example\n")
	if status, _, errs := execute(nil, "config", "--config", file); status != 2 || !strings.Contains(errs, "no such setting") {
		t.Errorf("status %d: %s", status, errs)
	}
}

// Names from the network cannot steer the terminal, and DNS is told as it answered.
func TestCheckInWords(t *testing.T) {
	f := &upstream.Finding{
		Domain: "example.org", Addr: "a.example:5222", Class: upstream.ClassFAST, Why: "\x1b[2Jit\u009b does",
		Services: []upstream.Service{
			{Name: "_xmpps-client._tcp.example.org", Exists: true},
			{Name: "_xmpp-client._tcp.example.org", Exists: true, Records: []upstream.Record{{Addr: "a.example:5222", Priority: 5, Weight: 10}}},
			{Name: "_a._tcp.example.org"},
			{Name: "_b._tcp.example.org", Err: io.ErrUnexpectedEOF},
		},
		Targets:    []upstream.Attempt{{Addr: "a.example:5222", Remote: "192.0.2.1:5222", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}}},
		Mechanisms: []string{"PLAIN"}, Browser: []string{"PLAIN"}, Legacy: true,
	}
	words := newReport(f, nil, true).words()
	for _, want := range []string{
		"records             _xmpps-client._tcp.example.org: not offered\n",
		"records             _xmpp-client._tcp.example.org: a.example:5222, priority 5, weight 10\n",
		"records             _a._tcp.example.org: none\n", "records             _b._tcp.example.org: unexpected EOF\n",
		"                    addresses: 192.0.2.1 2001:db8::1\n", "TLS                 none\n", "iq-auth",
		"resumption          fast: ?[2Jit? does\n                    a BOSH session survives the loss of its connection to the server, and of its replica\n",
	} {
		if !strings.Contains(words, want) {
			t.Errorf("%q is missing in\n%s", want, words)
		}
	}
}

func TestRoughly(t *testing.T) {
	for d, want := range map[time.Duration]string{90 * time.Minute: "90 minutes", 47 * time.Hour: "47 hours", 48 * time.Hour: "2 days"} {
		if got := roughly(d); got != want {
			t.Errorf("%v is %s", d, got)
		}
	}
}
