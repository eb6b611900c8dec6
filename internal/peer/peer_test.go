package peer

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func resolver(t *testing.T, trusted ...string) *Resolver {
	t.Helper()
	r, err := NewResolver(trusted)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// request has a remote address and headers given as "Name: value" lines.
func request(remote string, headers ...string) *http.Request {
	req := httptest.NewRequest("POST", "http://gw.example/http-bind", nil)
	req.RemoteAddr = remote
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	return req
}

// A forwarding header counts only as far as trusted proxies wrote it.
//
// Covers: BOSH-178.
func TestAddressOfTheBrowser(t *testing.T) {
	r := resolver(t, "10.0.0.0/8", "2001:db8:1::/48", "127.0.0.1")
	for name, c := range map[string]struct {
		remote  string
		headers []string
		want    string
	}{
		"no header":                 {"192.0.2.7:1234", nil, "192.0.2.7:1234"},
		"untrusted peer":            {"192.0.2.7:1234", []string{"X-Forwarded-For: 1.1.1.1", "Forwarded: for=1.1.1.1"}, "192.0.2.7:1234"},
		"one proxy":                 {"10.0.0.1:80", []string{"X-Forwarded-For: 192.0.2.7"}, "192.0.2.7:0"},
		"single trusted address":    {"127.0.0.1:80", []string{"X-Forwarded-For: 192.0.2.7"}, "192.0.2.7:0"},
		"forged member":             {"10.0.0.1:80", []string{"X-Forwarded-For: 1.1.1.1, 192.0.2.7"}, "192.0.2.7:0"},
		"forged trusted member":     {"10.0.0.1:80", []string{"X-Forwarded-For: 10.9.9.9, 192.0.2.7"}, "192.0.2.7:0"},
		"two proxies":               {"10.0.0.1:80", []string{"X-Forwarded-For: 1.1.1.1, 192.0.2.7, 10.0.0.2"}, "192.0.2.7:0"},
		"two headers":               {"10.0.0.1:80", []string{"X-Forwarded-For: 192.0.2.7", "X-Forwarded-For: 10.0.0.2"}, "192.0.2.7:0"},
		"browser inside the range":  {"10.0.0.1:80", []string{"X-Forwarded-For: 10.0.0.77"}, "10.0.0.77:0"},
		"with a port":               {"10.0.0.1:80", []string{"X-Forwarded-For: 192.0.2.7:555"}, "192.0.2.7:555"},
		"IPv6":                      {"[2001:db8:1::1]:80", []string{"X-Forwarded-For: 2001:db8:2::5"}, "[2001:db8:2::5]:0"},
		"IPv6 in brackets":          {"10.0.0.1:80", []string{"X-Forwarded-For: [2001:db8:2::5]:99"}, "[2001:db8:2::5]:99"},
		"mapped IPv4 proxy":         {"[::ffff:10.0.0.1]:80", []string{"X-Forwarded-For: ::ffff:192.0.2.7"}, "192.0.2.7:0"},
		"garbage":                   {"10.0.0.1:80", []string{"X-Forwarded-For: what"}, "10.0.0.1:80"},
		"garbage behind a proxy":    {"10.0.0.1:80", []string{"X-Forwarded-For: what, 10.0.0.2"}, "10.0.0.2:0"},
		"empty members":             {"10.0.0.1:80", []string{"X-Forwarded-For: , 192.0.2.7,,"}, "192.0.2.7:0"},
		"standard":                  {"10.0.0.1:80", []string{"Forwarded: for=192.0.2.7"}, "192.0.2.7:0"},
		"standard quoted IPv6":      {"10.0.0.1:80", []string{`Forwarded: For="[2001:db8:2::5]:4711";proto=https`}, "[2001:db8:2::5]:4711"},
		"standard, comma in quotes": {"10.0.0.1:80", []string{`Forwarded: for=1.1.1.1;x=",for=2.2.2.2", for=192.0.2.7`}, "192.0.2.7:0"},
		"standard forged":           {"10.0.0.1:80", []string{"Forwarded: for=1.1.1.1, for=192.0.2.7, for=10.0.0.2"}, "192.0.2.7:0"},
		"standard unknown":          {"10.0.0.1:80", []string{"Forwarded: for=unknown"}, "10.0.0.1:80"},
		"standard hidden":           {"10.0.0.1:80", []string{"Forwarded: for=1.1.1.1, for=_hidden, for=10.0.0.2"}, "10.0.0.2:0"},
		"standard hidden port":      {"10.0.0.1:80", []string{`Forwarded: for="192.0.2.7:_abc"`}, "192.0.2.7:0"},
		"standard broken":           {"10.0.0.1:80", []string{`Forwarded: for="192.0.2.7`}, "10.0.0.1:80"},
		"both agree":                {"10.0.0.1:80", []string{"X-Forwarded-For: 192.0.2.7", "Forwarded: for=192.0.2.7"}, "192.0.2.7:0"},
		"both differ":               {"10.0.0.1:80", []string{"X-Forwarded-For: 192.0.2.7", "Forwarded: for=1.1.1.1"}, "10.0.0.1:80"},
		"UNIX socket":               {"@", []string{"X-Forwarded-For: 1.1.1.1"}, "invalid AddrPort"},
		"nothing":                   {"", nil, "invalid AddrPort"},
		"zone":                      {"[fe80::1%eth0]:80", nil, "[fe80::1]:80"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := r.Of(request(c.remote, c.headers...)).Addr.String(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// Covers: BOSH-178.
func TestSecureAndHost(t *testing.T) {
	r := resolver(t, "10.0.0.0/8")
	for name, c := range map[string]struct {
		remote  string
		headers []string
		secure  bool
		host    string
	}{
		"plain":                      {"192.0.2.7:1", nil, false, "gw.example"},
		"spoofed by a browser":       {"192.0.2.7:1", []string{"X-Forwarded-Proto: https", "X-Forwarded-Host: evil.example", "Forwarded: proto=https"}, false, "gw.example"},
		"said by a proxy":            {"10.0.0.1:1", []string{"X-Forwarded-Proto: https", "X-Forwarded-Host: chat.example"}, true, "chat.example"},
		"WebSocket's name":           {"10.0.0.1:1", []string{"X-Forwarded-Proto: WSS"}, true, "gw.example"},
		"proxy without TLS":          {"10.0.0.1:1", []string{"X-Forwarded-Proto: http"}, false, "gw.example"},
		"appended after a forgery":   {"10.0.0.1:1", []string{"X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https, http"}, false, "gw.example"},
		"the outermost proxy's word": {"10.0.0.1:1", []string{"X-Forwarded-For: 192.0.2.7, 10.0.0.2", "X-Forwarded-Proto: https, http"}, true, "gw.example"},
		"kept by the inner proxy":    {"10.0.0.1:1", []string{"X-Forwarded-For: 192.0.2.7, 10.0.0.2", "X-Forwarded-Proto: https"}, true, "gw.example"},
		"standard":                   {"10.0.0.1:1", []string{`Forwarded: for=192.0.2.7;proto=https;host="chat.example:8443"`}, true, "chat.example:8443"},
		"standard, unknown address":  {"10.0.0.1:1", []string{"Forwarded: for=unknown;proto=https"}, true, "gw.example"},
		"standard forged":            {"10.0.0.1:1", []string{"Forwarded: for=1.1.1.1;proto=https, for=192.0.2.7;proto=http"}, false, "gw.example"},
		"both, contradicting":        {"10.0.0.1:1", []string{"X-Forwarded-Proto: http", "Forwarded: proto=https"}, false, "gw.example"},
		"both, other way round":      {"10.0.0.1:1", []string{"X-Forwarded-Proto: https", "Forwarded: proto=http"}, false, "gw.example"},
	} {
		t.Run(name, func(t *testing.T) {
			got := r.Of(request(c.remote, c.headers...))
			if got.Secure != c.secure || got.Host != c.host {
				t.Errorf("got secure %v host %q, want %v %q", got.Secure, got.Host, c.secure, c.host)
			}
		})
	}
}

func TestOwnTLSAndLocalAddress(t *testing.T) {
	req := request("192.0.2.7:1")
	req.TLS = &tls.ConnectionState{}
	req = req.WithContext(context.WithValue(req.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.ParseIP("192.0.2.1"), Port: 443}))
	for name, r := range map[string]*Resolver{"nil": nil, "empty": resolver(t)} {
		got := r.Of(req)
		if !got.Secure || got.Local != netip.MustParseAddrPort("192.0.2.1:443") || got.Addr != netip.MustParseAddrPort("192.0.2.7:1") {
			t.Errorf("%s resolver: %+v", name, got)
		}
	}
}

func TestNewResolverRefuses(t *testing.T) {
	for _, s := range []string{"", "proxy.example", "10.0.0.0/33", "10.0.0.1:80", "::ffff:10.0.0.0/64"} {
		if _, err := NewResolver([]string{s}); err == nil || !strings.Contains(err.Error(), "trusted-proxies") || !strings.Contains(err.Error(), "want") {
			t.Errorf("NewResolver(%q): %v", s, err)
		}
	}
}

func TestMappedRange(t *testing.T) {
	r := resolver(t, "::ffff:10.0.0.0/104")
	if got := r.Of(request("10.1.2.3:1", "X-Forwarded-For: 192.0.2.7")).Addr.Addr().String(); got != "192.0.2.7" {
		t.Errorf("got %s", got)
	}
}

// FuzzOf: whatever stands in the headers, an untrusted peer stays who it is, and nothing panics.
func FuzzOf(f *testing.F) {
	f.Add("10.0.0.1:80", "1.1.1.1, 192.0.2.7", `for="[::1]:_x";proto=https`, "https")
	f.Add("192.0.2.7:1", ",,", `for="\"`, ",")
	r, err := NewResolver([]string{"10.0.0.0/8"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, remoteAddr, xff, forwarded, proto string) {
		req := &http.Request{RemoteAddr: remoteAddr, Header: http.Header{
			"X-Forwarded-For": {xff}, "Forwarded": {forwarded}, "X-Forwarded-Proto": {proto},
		}}
		got := r.Of(req)
		if own := remote(remoteAddr); !r.trusts(own.Addr()) && (got.Addr != own || got.Secure) {
			t.Errorf("untrusted %q became %+v", remoteAddr, got)
		}
	})
}

func BenchmarkOf(b *testing.B) {
	r, err := NewResolver([]string{"10.0.0.0/8"})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("direct", func(b *testing.B) {
		req := request("192.0.2.7:1234")
		b.ReportAllocs()
		for b.Loop() {
			r.Of(req)
		}
	})
	b.Run("proxied", func(b *testing.B) {
		req := request("10.0.0.1:80", "X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https")
		b.ReportAllocs()
		for b.Loop() {
			r.Of(req)
		}
	})
}
