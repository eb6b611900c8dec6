package upstream

import (
	"net/netip"
	"testing"

	"stanzagate/internal/xmpptest"
)

// The header is the first thing on the wire, before TLS, and only where it is configured.
//
// Covers: UP-116, UP-119, UP-120.
func TestProxyHeaderOnTheWire(t *testing.T) {
	ca := xmpptest.NewCA(t)
	client, local := netip.MustParseAddrPort("192.0.2.7:40000"), netip.MustParseAddrPort("198.51.100.1:443")
	const v1, v1unknown = "PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n", "PROXY UNKNOWN\r\n"
	v2, v2local := string(appendProxyHeader(nil, proxyV2, client, local)), string(appendProxyHeader(nil, proxyV2, netip.AddrPort{}, local))
	for _, c := range []struct {
		name string
		o    xmpptest.Options
		v    string
		open Opening
		want string
	}{
		{"v1", xmpptest.Options{Proxy: true}, "v1", Opening{Client: client, Local: local}, v1},
		{"v1 without a client", xmpptest.Options{Proxy: true}, "v1", Opening{}, v1unknown},
		{"v2", xmpptest.Options{Proxy: true}, "v2", Opening{Client: client, Local: local}, v2},
		{"v2 without a client", xmpptest.Options{Proxy: true}, "v2", Opening{Local: local}, v2local},
		{"v2 before direct TLS", xmpptest.Options{Proxy: true, TLS: ca.Good("example.org"), Direct: true}, "v2", Opening{Client: client, Local: local}, v2},
		{"v1 before STARTTLS", xmpptest.Options{Proxy: true, TLS: ca.Good("example.org")}, "v1", Opening{Client: client, Local: local}, v1},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := xmpptest.Start(t, c.o)
			setting := srv.Setting(ca.File()) + "&proxy=" + c.v
			dialTo(t, setting, c.open)
			if got := string(srv.Next().Proxy()); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
	srv := xmpptest.Start(t, xmpptest.Options{})
	dialTo(t, srv.Setting(""), Opening{Client: client, Local: local})
	if got := srv.Next().Received(); got[:5] != "<?xml" {
		t.Errorf("off by default, but %q", got)
	}
}
