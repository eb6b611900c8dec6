package upstream

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stanzagate/internal/xmpptest"
)

func TestNormalise(t *testing.T) {
	for in, want := range map[string]string{
		"Example.ORG":        "example.org",
		"example.org.":       "example.org",
		"BÜCHER.example":     "bücher.example",
		"xn--bcher-kva.test": "bücher.test",
		"localhost":          "localhost",
		"127.0.0.1":          "127.0.0.1",
		"[::1]":              "[::1]",
	} {
		if got, err := Normalise(in); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"", ".", "a@b", "a/b", "a b", "a..b", "xn--\xff", strings.Repeat("a", 64) + ".x", "[::1", "<a>"} {
		if got, err := Normalise(in); err == nil {
			t.Errorf("%q: accepted as %q", in, got)
		}
	}
}

func TestParseDomainRefusesWithRemedy(t *testing.T) {
	for setting, want := range map[string]string{
		"":                                       "want",
		"a@b":                                    "want",
		"example.org=http://x":                   "neither xmpp nor xmpps",
		"example.org=xmpp://":                    "not a server address",
		"example.org=xmpp://h:99999":             "port",
		"example.org=xmpp://h:0":                 "port",
		"example.org=xmpp://h/path":              "not a server address",
		"example.org=xmpp://h?tls=maybe":         "none, optional or required",
		"example.org=xmpps://h?tls=none":         "direct TLS",
		"example.org=xmpp://h?ca=/nonexistent":   "no such file",
		"example.org=xmpp://h?proxy=v3":          "off, v1 or v2",
		"example.org=xmpp://h?what=1":            "unknown",
		"example.org=xmpp://h?tls=none&tls=none": "once",
	} {
		_, err := ParseDomain(setting)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `"`+setting+`"`) {
			t.Errorf("%q: %v", setting, err)
		}
	}
}

func TestParseDomainDefaults(t *testing.T) {
	for setting, want := range map[string]Domain{
		"Example.org":           {Name: "example.org"},
		"example.org=xmpp://h":  {Name: "example.org", host: "h", port: "5222"},
		"example.org=xmpps://h": {Name: "example.org", host: "h", port: "5223", direct: true},
		"example.org=xmpp://[::1]:99?tls=none&proxy=v2": {Name: "example.org", host: "::1", port: "99", security: tlsNone, proxy: proxyV2},
		"example.org?tls=optional&name=x.org":           {Name: "example.org", security: tlsOptional, reference: "x.org"},
	} {
		if got, err := ParseDomain(setting); err != nil || got != want {
			t.Errorf("%q: %+v, %v", setting, got, err)
		}
	}
}

// Domains that are taken out of service are gone; those never known are unknown; nothing is dialled for either.
func TestServesOnlyWhatIsConfigured(t *testing.T) {
	d, err := NewDialer(Config{Domains: []string{"example.org", "old.example"}})
	if err != nil {
		t.Fatal(err)
	}
	if name, err := d.Serves("EXAMPLE.org."); err != nil || name != "example.org" {
		t.Fatal(name, err)
	}
	if err := d.SetDomains([]string{"example.org=xmpp://h"}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Serves("old.example"); !errors.Is(err, ErrHostGone) {
		t.Fatal(err)
	}
	if _, err := d.Serves("other.example"); !errors.Is(err, ErrHostUnknown) {
		t.Fatal(err)
	}
	if err := d.SetDomains([]string{"a.example", "A.example"}); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Fatal(err)
	}
	if err := d.SetDomains([]string{"old.example"}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Serves("old.example"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Serves("example.org"); !errors.Is(err, ErrHostGone) {
		t.Fatal(err)
	}
}

// A plus sign in the name of a file is one: settings are no forms.
func TestPlusInFileNames(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a+b")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(xmpptest.NewCA(t).File())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(file, pem, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{file, strings.ReplaceAll(file, "+", "%2B")} {
		if d, err := ParseDomain("example.org?ca=" + name); err != nil || d.roots == nil {
			t.Error(err)
		}
	}
}
