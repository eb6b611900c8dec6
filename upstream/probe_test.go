package upstream

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"stanzagate/internal/xmpptest"
)

func TestProbe(t *testing.T) {
	ca := xmpptest.NewCA(t)
	o := modern()
	o.TLS = ca.Good("example.org")
	o.SASL2.NeedsFrom = true
	full, bad := xmpptest.Start(t, o), xmpptest.Start(t, xmpptest.Options{TLS: ca.Good("example.com"), Direct: true})
	z := newZone(t, "_xmpps-client._tcp.example.org. 60 IN SRV 1 0 "+bad.Port+" a.test.",
		"_xmpp-client._tcp.example.org. 60 IN SRV 2 0 "+full.Port+" a.test.", "a.test. 60 IN A 127.0.0.1")
	d := managedDialer(t, Config{Resolver: z.resolver}, "example.org?ca="+ca.File())
	f, err := d.Probe(within(t), "Example.org")
	if err != nil {
		t.Fatal(err)
	}
	if f.Domain != "example.org" || f.Addr != "a.test:"+full.Port || f.TLS == nil || f.Header.From != "example.org" || f.Class != ClassFAST {
		t.Errorf("%+v", f)
	}
	if len(f.Targets) != 2 || opOf(f.Targets[0].Err) != OpTLS || !f.Targets[0].Direct || f.Targets[1].Err != nil {
		t.Errorf("%+v", f.Targets)
	}
	if !slices.Equal(f.SASL2, []string{"SCRAM-SHA-1", "PLAIN", "ANONYMOUS"}) || !slices.Equal(f.FAST, []string{htExporter, htNone}) || len(f.Mechanisms) != 3 {
		t.Errorf("%q %q %q", f.Mechanisms, f.SASL2, f.FAST)
	}
	wantServices := []Service{
		{Name: "_xmpps-client._tcp.example.org", Exists: true, Records: []Record{{Addr: "a.test:" + bad.Port, Priority: 1}}},
		{Name: "_xmpp-client._tcp.example.org", Exists: true, Records: []Record{{Addr: "a.test:" + full.Port, Priority: 2}}},
	}
	if !reflect.DeepEqual(f.Services, wantServices) {
		t.Errorf("%+v", f.Services)
	}
	if a := f.Targets[1]; !slices.Equal(a.Addresses, []netip.Addr{netip.MustParseAddr("127.0.0.1")}) || a.Remote != full.Addr {
		t.Errorf("%+v", a)
	}
	if !f.SM || f.Trust != "ca" || f.Reference != "example.org" || !slices.Equal(f.Browser, f.SASL2) || len(f.Clear) != 0 {
		t.Errorf("%+v", f)
	}
	full.Stop()
	f, err = d.Probe(within(t), "example.org")
	if !errors.Is(err, ErrUnreachable) || len(f.Targets) != 2 || f.Targets[1].Err == nil {
		t.Errorf("%+v %v", f, err)
	}
	if _, err := d.Probe(within(t), "other.test"); !errors.Is(err, ErrHostUnknown) {
		t.Error(err)
	}
	for range full.Accepted() {
		if got := full.Next().Received(); strings.Contains(got, "<auth") {
			t.Errorf("somebody was signed in: %s", got)
		}
	}
}

// The class that is promised is the one that sessions get.
func TestProbedClass(t *testing.T) {
	for _, k := range classes(t) {
		d := managedDialer(t, Config{}, k.setting)
		f, err := d.Probe(within(t), "example.org")
		if err != nil || f.Class != k.class {
			t.Errorf("%s: %s, %v", k.name, f.Class, err)
		}
		d.cfg.Failover = nil
		if f, err := d.Probe(within(t), "example.org"); err != nil || f.Class != ClassNone {
			t.Errorf("%s without fail-over: %s, %v", k.name, f.Class, err)
		}
	}
}

// What keeps sessions from being resumable is told.
func TestProbeSaysWhy(t *testing.T) {
	ca := xmpptest.NewCA(t)
	server := func(o xmpptest.Options) *xmpptest.Server { return xmpptest.Start(t, o) }
	noFAST, otherFAST, scramOnly := modern(), modern(), xmpptest.Options{Mechanisms: []string{"SCRAM-SHA-1"}}
	noFAST.SASL2 = &xmpptest.SASL2{}
	otherFAST.SASL2 = &xmpptest.SASL2{FAST: []string{"HT-SHA-512-UNIQ"}}
	external := "&reauth=external&reauth-ca=" + ca.KeyFile()
	for name, c := range map[string]struct{ setting, why string }{
		"no SASL2":          {server(scramOnly).Setting(""), "no SASL2"},
		"no FAST":           {server(noFAST).Setting(""), "no FAST"},
		"unknown FAST":      {server(otherFAST).Setting(""), "only HT-SHA-512-UNIQ"},
		"no PLAIN":          {server(scramOnly).Setting("") + "&reauth=password", "no PLAIN"},
		"external in clear": {server(scramOnly).Setting("") + external, "needs TLS"},
		"in the clear":      {strings.Replace(server(scramOnly).Setting(""), "none", "optional", 1), "not encrypted"},
	} {
		f, err := managedDialer(t, Config{}, c.setting).Probe(within(t), "example.org")
		if err != nil || f.Class != ClassNone || !strings.Contains(f.Why, c.why) {
			t.Errorf("%s: %s, %q, %v", name, f.Class, f.Why, err)
		}
	}
}

// A browser is shown what sessions would show it; what is offered before STARTTLS is found too.
func TestProbedMechanisms(t *testing.T) {
	ca := xmpptest.NewCA(t)
	list := []string{"SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "PLAIN"}
	encrypted := xmpptest.Start(t, xmpptest.Options{TLS: ca.Good("example.org"), Optional: true, Mechanisms: list, PreAuth: "<auth xmlns='" + nsAuthFeature + "'/>"})
	clear := xmpptest.Start(t, xmpptest.Options{Mechanisms: list})
	for _, c := range []struct {
		setting        string
		before, shown  []string
		legacy, secure bool
	}{
		{encrypted.Setting(ca.File()), list, list, true, true},
		{encrypted.Setting(ca.File()) + "&plus=hide", list, []string{"SCRAM-SHA-1", "PLAIN"}, true, true},
		{clear.Setting(""), nil, list, false, false},
		{strings.Replace(clear.Setting(""), "none", "optional", 1), nil, list[:2], false, false},
	} {
		f, err := newDialer(t, Config{Domains: []string{c.setting}}).Probe(within(t), "example.org")
		if err != nil || !slices.Equal(f.Clear, c.before) || !slices.Equal(f.Browser, c.shown) || f.Legacy != c.legacy || (f.TLS != nil) != c.secure || f.SM {
			t.Errorf("%s: %+v, %v", c.setting, f, err)
		}
	}
}

// A server that takes the connection and says nothing does not use the time of the others.
func TestProbeBesideASilentServer(t *testing.T) {
	t.Parallel()
	silent := xmpptest.Start(t, xmpptest.Options{Manual: true})
	good := xmpptest.Start(t, xmpptest.Options{})
	z := newZone(t, "_xmpp-client._tcp.example.org. 60 IN SRV 1 0 "+silent.Port+" a.test.",
		"_xmpp-client._tcp.example.org. 60 IN SRV 2 0 "+good.Port+" a.test.", "a.test. 60 IN A 127.0.0.1")
	d := newDialer(t, Config{Resolver: z.resolver, Domains: []string{"example.org?tls=none"}, ConnectTimeout: 3 * time.Second})
	f, err := d.Probe(within(t), "example.org")
	if err != nil || f.Addr != "a.test:"+good.Port || !errors.Is(f.Targets[0].Err, context.DeadlineExceeded) || len(f.Services) != 1 {
		t.Errorf("%+v, %v", f, err)
	}
}
