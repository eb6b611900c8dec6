package upstream

import (
	"errors"
	"slices"
	"strings"
	"testing"

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
