package replica

import (
	"errors"
	"net"
	"strings"
	"testing"
)

func TestAdvertise(t *testing.T) {
	got, err := Advertise(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 9281})
	if err != nil || got != "192.0.2.7:9281" {
		t.Errorf("%s, %v", got, err)
	}
	got, err = Advertise(&net.TCPAddr{IP: net.IPv6unspecified, Port: 9281})
	if err == nil && !strings.HasSuffix(got, ":9281") || err != nil && !errors.Is(err, errNoAddress) {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := Advertise(&net.UnixAddr{Name: "x", Net: "unix"}); err == nil {
		t.Error("a UNIX socket is accepted")
	}
}

func TestReachable(t *testing.T) {
	for _, c := range []struct {
		addrs string
		want  string
	}{
		{"127.0.0.1/8 ::1/128 fe80::1/64 169.254.1.1/16", ""},
		{"127.0.0.1/8 10.0.0.5/24 192.0.2.1/24", "10.0.0.5"},
		{"::1/128 fe80::1/64 2001:db8::5/64 10.0.0.5/24", "10.0.0.5"},
		{"fe80::1/64 2001:db8::5/64 fd00::1/8", "2001:db8::5"},
	} {
		var addrs []net.Addr
		for _, s := range strings.Fields(c.addrs) {
			ip, network, err := net.ParseCIDR(s)
			if err != nil {
				t.Fatal(err)
			}
			addrs = append(addrs, &net.IPNet{IP: ip, Mask: network.Mask})
		}
		got, err := reachable(addrs)
		if c.want == "" {
			if !errors.Is(err, errNoAddress) {
				t.Errorf("%s: %s, %v", c.addrs, got, err)
			}
		} else if err != nil || got.String() != c.want {
			t.Errorf("%s: %s, %v, want %s", c.addrs, got, err, c.want)
		}
	}
}
