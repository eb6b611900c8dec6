package peer

import (
	"net/http"
	"net/netip"
	"strings"
)

// hop is what a proxy says of whoever is connected to it.
type hop struct {
	addr        netip.AddrPort // zero: not said
	proto, host string         // "": not said
}

// forwarded corrects p, which is a trusted proxy, by what the proxies wrote.
func (r *Resolver) forwarded(p Peer, h http.Header) Peer {
	said := r.legacy(h)
	if standard := splitList(h.Values("Forwarded")); len(standard) > 0 {
		said = reconcile(said, r.standard(standard), p.Addr)
	}
	if said.addr.IsValid() {
		p.Addr = said.addr
	}
	if said.proto != "" {
		p.Secure = strings.EqualFold(said.proto, "https") || strings.EqualFold(said.proto, "wss")
	}
	if said.host != "" {
		p.Host = said.host
	}
	return p
}

// reconcile joins the two kinds of headers. A proxy that writes only one of them passes on the other as the browser sent it.
func reconcile(a, b hop, proxy netip.AddrPort) hop {
	switch {
	case !a.addr.IsValid():
		a.addr = b.addr
	case b.addr.IsValid() && b.addr.Addr() != a.addr.Addr():
		a.addr = proxy
	}
	switch {
	case a.proto == "":
		a.proto = b.proto
	case b.proto != "" && !strings.EqualFold(a.proto, b.proto):
		a.proto = "http"
	}
	if a.host == "" {
		a.host = b.host
	}
	return a
}

// legacy reads X-Forwarded-For, -Proto and -Host. The last two are lists where each proxy adds a member, or a single value.
func (r *Resolver) legacy(h http.Header) hop {
	var said hop
	list := splitList(h.Values("X-Forwarded-For"))
	passed := 0 // trusted proxies between ours and the browser
	for i := len(list) - 1; i >= 0; i-- {
		addr, ok := node(list[i])
		if !ok {
			break
		}
		said.addr = addr
		if i == 0 || !r.trusts(addr.Addr()) {
			break
		}
		passed++
	}
	said.proto = nthFromRight(splitList(h.Values("X-Forwarded-Proto")), passed)
	said.host = nthFromRight(splitList(h.Values("X-Forwarded-Host")), passed)
	return said
}

// standard reads Forwarded, where proto and host stand beside the address that they belong to.
func (r *Resolver) standard(list []string) hop {
	var said hop
	for i := len(list) - 1; i >= 0; i-- {
		next, ok := parseHop(list[i])
		if !ok {
			break
		}
		if !next.addr.IsValid() { // RFC 7239 §6: "unknown" or an obfuscated name
			next.addr = said.addr
			return next
		}
		said = next
		if !r.trusts(said.addr.Addr()) {
			break
		}
	}
	return said
}

// parseHop reads for=…;proto=…;host=… (RFC 7239 §4). What stands in `for` and is no IP address leaves addr zero.
func parseHop(s string) (hop, bool) {
	var said hop
	for _, pair := range splitQuoted(s, ';') {
		name, value, ok := strings.Cut(strings.TrimSpace(pair), "=")
		if !ok {
			return hop{}, false
		}
		if value, ok = unquote(value); !ok {
			return hop{}, false
		}
		switch strings.ToLower(name) {
		case "for":
			said.addr, _ = node(value)
		case "proto":
			said.proto = value
		case "host":
			said.host = value
		}
	}
	return said, true
}

// node reads an address with or without a port: 192.0.2.1, 192.0.2.1:80, 2001:db8::1, [2001:db8::1], [2001:db8::1]:80.
// RFC 7239 §6.3: the port may be obfuscated.
func node(s string) (netip.AddrPort, bool) {
	if i := strings.LastIndex(s, ":_"); i > 0 {
		s = s[:i]
	}
	if addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil {
		return clean(netip.AddrPortFrom(addr, 0)), true
	}
	addr, err := netip.ParseAddrPort(s)
	return clean(addr), err == nil
}

// splitList joins repeated headers and splits them at commas outside quotes. Empty members are legal in HTTP lists.
func splitList(values []string) []string {
	var list []string
	for _, v := range values {
		for _, s := range splitQuoted(v, ',') {
			if s = strings.TrimSpace(s); s != "" {
				list = append(list, s)
			}
		}
	}
	return list
}

// splitQuoted splits at sep outside quoted strings (RFC 9110 §5.6.4).
func splitQuoted(s string, sep byte) []string {
	if strings.IndexByte(s, '"') < 0 {
		return strings.Split(s, string(sep))
	}
	var parts []string
	start, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == sep && !quoted:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}

// unquote takes the quotes off a value. An escape has no place in an address, a scheme or a host.
func unquote(s string) (string, bool) {
	if strings.HasPrefix(s, `"`) {
		if len(s) < 2 || !strings.HasSuffix(s, `"`) {
			return "", false
		}
		s = s[1 : len(s)-1]
	}
	return s, !strings.ContainsAny(s, `"\`)
}

// nthFromRight returns what the proxy n hops away wrote. A proxy that replaces the header leaves fewer members than hops.
func nthFromRight(list []string, n int) string {
	if len(list) == 0 {
		return ""
	}
	return list[max(0, len(list)-1-n)]
}
