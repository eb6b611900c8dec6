package upstream

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stanzagate/internal/xmpptest"
)

// ?reauth= needs what it says.
func TestReauthSettings(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.pem")
	if err := os.WriteFile(bad, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	authority, server := xmpptest.NewCA(t), xmpptest.NewCA(t)
	for query, want := range map[string]string{
		"?reauth=fast":     "",
		"?reauth=password": "",
		"?reauth=external&reauth-ca=" + authority.KeyFile(): "",
		"?reauth=always":                              "want external, fast or password",
		"?reauth=external":                            "belong together",
		"?reauth-ca=" + authority.KeyFile():           "belong together",
		"?reauth=external&reauth-ca=" + bad:           "CA certificate and its key",
		"?reauth=external&reauth-ca=" + server.File(): "CA certificate and its key",
		"?reauth=external&reauth-ca=/nonexistent":     "no such file",
	} {
		_, err := ParseDomain("example.org" + query)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", query, err)
		}
	}
}

// A minted certificate names the user, lives for minutes, and is good for a client only.
//
// Covers: UP-106.
func TestMintedCertificate(t *testing.T) {
	pem, err := os.ReadFile(xmpptest.NewCA(t).KeyFile())
	if err != nil {
		t.Fatal(err)
	}
	a, err := readAuthority(pem)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	c, err := a.mint("jül@example.org", at)
	if err != nil {
		t.Fatal(err)
	}
	cert := leaf(t, c.Certificate[0])
	if _, addrs := otherNames(cert); len(addrs) != 1 || addrs[0] != "jül@example.org" {
		t.Errorf("%q", addrs)
	}
	if life := cert.NotAfter.Sub(cert.NotBefore); life > 10*time.Minute || cert.IsCA {
		t.Errorf("lives %v", life)
	}
	if err := cert.CheckSignatureFrom(a.cert); err != nil {
		t.Error(err)
	}
}

func leaf(t *testing.T, der []byte) *x509.Certificate {
	t.Helper()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
