// Package peer says who is at the other end of an HTTP request: the one place that decides which forwarding headers are
// believed, so that BOSH, WebSocket and discovery agree.
//
// A header is believed only if the connection comes from a trusted proxy, and only as far as trusted proxies wrote it: the
// list of addresses is read from the right, and the first one that is not a trusted proxy is the browser's. Whatever stands
// further left may have been sent by the browser itself. Where headers contradict each other or cannot be read, the answer
// is the last address that a trusted proxy is known to have, so that a forger shares that proxy's limits.
package peer

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Peer is the browser behind a request.
type Peer struct {
	Addr   netip.AddrPort // of the browser; port 0 where only the address is known; zero on a socket without IP addresses
	Local  netip.AddrPort // where the browser reached the gateway; zero if unknown
	Secure bool           // it came over TLS, to us or to a trusted proxy (BOSH-178)
	Host   string         // the host that it asked for, as sent; not to be trusted
}

// Resolver finds the Peer of requests. Immutable; safe for concurrent use. The nil Resolver trusts no proxy.
type Resolver struct {
	trusted []netip.Prefix
}

// NewResolver reads the setting `trusted-proxies`: addresses and CIDRs whose X-Forwarded-For, X-Forwarded-Proto,
// X-Forwarded-Host and Forwarded headers are believed.
func NewResolver(trusted []string) (*Resolver, error) {
	r := &Resolver{}
	for _, s := range trusted {
		prefix, err := parsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("trusted-proxies: %q is not an address range; want 10.0.0.0/8, 2001:db8::/32 or a single address", s)
		}
		r.trusted = append(r.trusted, prefix)
	}
	return r, nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		addr, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, err
		}
		addr = addr.Unmap().WithZone("")
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	if addr := prefix.Addr(); addr.Is4In6() {
		if prefix.Bits() < 96 {
			return netip.Prefix{}, fmt.Errorf("a range of mapped addresses shorter than /96")
		}
		prefix = netip.PrefixFrom(addr.Unmap(), prefix.Bits()-96)
	}
	return prefix.Masked(), nil
}

func (r *Resolver) trusts(addr netip.Addr) bool {
	for _, p := range r.trusted {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// Of returns the Peer of a request.
func (r *Resolver) Of(req *http.Request) Peer {
	p := Peer{Addr: remote(req.RemoteAddr), Secure: req.TLS != nil, Host: req.Host}
	if local, ok := req.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok {
		p.Local = clean(local.AddrPort())
	}
	if r == nil || len(r.trusted) == 0 || !r.trusts(p.Addr.Addr()) {
		return p
	}
	return r.forwarded(p, req.Header)
}

// remote reads the address of a TCP connection; that of a UNIX socket ("@", "") gives zero, which no range contains.
func remote(s string) netip.AddrPort {
	addr, err := netip.ParseAddrPort(s)
	if err != nil {
		return netip.AddrPort{}
	}
	return clean(addr)
}

// clean gives an address the one form that ranges, limits and the PROXY header compare.
func clean(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
