// Package origin decides which web origins may use the gateway. BOSH (CORS) and WebSocket (the Origin header) must agree
// on it, so both ask a Policy.
package origin

import (
	"fmt"
	"net/url"
	"strings"
)

// Policy is an immutable list of allowed origins. The zero value allows only the request's own host.
type Policy struct {
	any   bool
	exact map[string]bool // scheme://host[:port], lower case, default ports removed
	wild  []pattern
}

// pattern is https://*.example.org[:port]: any host below the suffix, at any depth.
type pattern struct{ scheme, suffix, port string }

// Parse reads the setting `origins`: exact origins, https://*.example.org, or "*".
func Parse(list []string) (Policy, error) {
	p := Policy{exact: map[string]bool{}}
	for _, s := range list {
		if s == "*" {
			p.any = true
			continue
		}
		scheme, host, port, ok := split(s)
		if !ok {
			return Policy{}, fmt.Errorf("origins: %q is not an origin: want https://host[:port], https://*.example.org or *", s)
		}
		if rest, found := strings.CutPrefix(host, "*."); found {
			if rest == "" || strings.Contains(rest, "*") {
				return Policy{}, fmt.Errorf("origins: %q: the only wildcard is a whole leading label, as in https://*.example.org", s)
			}
			p.wild = append(p.wild, pattern{scheme, "." + rest, port})
			continue
		}
		if strings.Contains(host, "*") {
			return Policy{}, fmt.Errorf("origins: %q: the only wildcard is a whole leading label, as in https://*.example.org", s)
		}
		p.exact[scheme+"://"+host+port] = true
	}
	return p, nil
}

// Any reports whether every origin is allowed, "null" included.
func (p Policy) Any() bool { return p.any }

// Allows reports whether a page from origin may use an endpoint reached under host (the request's Host, port included).
// The origin "null" is allowed only by "*".
func (p Policy) Allows(origin, host string) bool {
	if p.any {
		return true
	}
	scheme, h, port, ok := split(origin)
	if !ok || strings.Contains(h, "*") {
		return false
	}
	if _, own, ownPort, ok := split(scheme + "://" + host); ok && own == h && ownPort == port {
		return true
	}
	if p.exact[scheme+"://"+h+port] {
		return true
	}
	for _, w := range p.wild {
		if w.scheme == scheme && w.port == port && strings.HasSuffix(h, w.suffix) {
			return true
		}
	}
	return false
}

// split takes an origin apart, lower-cased; port is "" when it is the scheme's default, else ":port".
func split(s string) (scheme, host, port string, ok bool) {
	u, err := url.Parse(strings.ToLower(s))
	if err != nil || u.Host == "" || u.User != nil || (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" {
		return "", "", "", false
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return "", "", "", false
	}
	port = u.Port()
	if port != "" {
		port = ":" + port
	}
	if (u.Scheme == "https" && port == ":443") || (u.Scheme == "http" && port == ":80") {
		port = ""
	}
	host = u.Hostname()
	return u.Scheme, host, port, host != ""
}
