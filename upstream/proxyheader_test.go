package upstream

import (
	"bytes"
	"net/netip"
	"testing"
)

// Covers: UP-117, UP-118, UP-120.
func TestProxyHeaderVectors(t *testing.T) {
	ap := netip.MustParseAddrPort
	v4, dst4 := ap("192.0.2.7:40000"), ap("198.51.100.1:443")
	v6, dst6 := ap("[2001:db8::7]:1"), ap("[2001:db8::1]:65535")
	sig := "\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"
	v6src := "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07"
	v6dst := "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"
	mapped := "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff"
	for _, c := range []struct {
		name     string
		v        proxyVersion
		src, dst netip.AddrPort
		want     string
	}{
		{"off", proxyOff, v4, dst4, ""},
		{"v1 tcp4", proxyV1, v4, dst4, "PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n"},
		{"v1 tcp6", proxyV1, v6, dst6, "PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n"},
		{"v1 mixed", proxyV1, v4, dst6, "PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 40000 65535\r\n"},
		{"v1 mapped", proxyV1, ap("[::ffff:192.0.2.7]:1"), dst4, "PROXY TCP4 192.0.2.7 198.51.100.1 1 443\r\n"},
		{"v1 zone", proxyV1, ap("[fe80::1%eth0]:1"), ap("[fe80::2%eth0]:2"), "PROXY TCP6 fe80::1 fe80::2 1 2\r\n"},
		{"v1 unknown", proxyV1, netip.AddrPort{}, dst4, "PROXY UNKNOWN\r\n"},
		{"v2 tcp4", proxyV2, v4, dst4, sig + "\x21\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01\x9c\x40\x01\xbb"},
		{"v2 tcp6", proxyV2, v6, dst6, sig + "\x21\x21\x00\x24" + v6src + v6dst + "\x00\x01\xff\xff"},
		{"v2 mixed", proxyV2, v4, dst6, sig + "\x21\x21\x00\x24" + mapped + "\xc0\x00\x02\x07" + v6dst + "\x9c\x40\xff\xff"},
		{"v2 local", proxyV2, v4, netip.AddrPort{}, sig + "\x20\x00\x00\x00"},
	} {
		got := appendProxyHeader([]byte("x"), c.v, c.src, c.dst)
		if !bytes.Equal(got, []byte("x"+c.want)) {
			t.Errorf("%s: %q", c.name, got)
		}
		if c.v == proxyV1 && len(got)-1 > 107 {
			t.Errorf("%s: %d bytes", c.name, len(got)-1)
		}
	}
}
