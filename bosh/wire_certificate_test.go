package bosh

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"strings"
	"testing"

	"stanzagate/internal/xmpptest"
)

// The rule on clients' certificates (XEP-0124 §19.1), where a request reaches another replica than the one at which the
// session began.

// showing has the browser prove that it has a certificate of that name, nil for none.
func showing(t *testing.T, ca *xmpptest.CA, name string) func(*http.Request) {
	t.Helper()
	pair := ca.Good(name).Certificates[0]
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return func(r *http.Request) {
		r.TLS = &tls.ConnectionState{HandshakeComplete: true, PeerCertificates: []*x509.Certificate{cert}}
	}
}

// strangersAreRefused expects that only who shows alice's certificate gets anything of her session, at the browser's replica.
func (b *browser) strangersAreRefused(alice, mallory func(*http.Request)) {
	b.t.Helper()
	for name, other := range map[string]func(*http.Request){"another certificate": mallory, "no certificate": encrypted, "in the clear": func(*http.Request) {}} {
		evil := b.altered(other)
		for _, body := range []string{b.at(b.rid+1, "type='terminate'", ""), b.at(b.rid+100, "", "")} {
			if out := evil.post(evil.client, body); out.err == nil {
				b.t.Errorf("%s: got %d %s", name, out.status, out.raw)
			}
		}
	}
	if out := b.altered(alice).say("", message("nobody@example.org", "up")); strings.Count(out.raw, "service-unavailable") != 1 {
		b.t.Errorf("her own: got %d %s", out.status, out.raw)
	}
}

// The replica that takes the session over knows the certificate from the record.
//
// Covers: BOSH-179.
func TestFailover_7_CertificateOfASessionThatIsTakenOver(t *testing.T) {
	replicated(t, func(t *testing.T) {
		ca := xmpptest.NewCA(t)
		alice, mallory := showing(t, ca, "alice"), showing(t, ca, "mallory")
		_, one, two := pair(t)
		b := one.loginWith((&browser{rig: one.rig}).altered(alice).client, "alice", defaultAttrs)
		one.kill()
		b.to(two).strangersAreRefused(alice, mallory)
		if two.h.Sessions() != 1 {
			t.Errorf("%d sessions", two.h.Sessions())
		}
	})
}

// The owner judges a request that was handed on by the certificate that the browser showed elsewhere, not by that of the
// replica which hands it on.
//
// Covers: BOSH-179.
func TestFailover_7_CertificateOfARequestThatIsHandedOn(t *testing.T) {
	ca := xmpptest.NewCA(t)
	alice, mallory := showing(t, ca, "alice"), showing(t, ca, "mallory")
	_, all := onLoopback(t, 2)
	b := all[0].loginWith((&browser{rig: all[0].rig}).altered(alice).client, "alice", defaultAttrs)
	b.to(all[1]).strangersAreRefused(alice, mallory)
	if all[0].h.Sessions() != 1 || all[1].h.Sessions() != 0 {
		t.Error("the session has moved")
	}
}
