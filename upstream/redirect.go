package upstream

import (
	"context"
	"errors"
	"net"
	"strings"
)

const (
	seeOtherHost = "see-other-host"
	maxRedirects = 5 // in a row (UP-044)
)

var errRedirects = errors.New("server redirects in a loop")

// redirect is a see-other-host error (RFC 6120 §4.9.3.19).
type redirect struct{ host string }

func (r *redirect) Error() string { return "server redirects elsewhere" }

// redirected returns the targets of a redirect, or the domain's own if elsewhere is "". The domain, the TLS policy and the
// reference identity stay what they were.
func (d *Dialer) redirected(ctx context.Context, dom *Domain, elsewhere string) ([]target, error) {
	if elsewhere == "" {
		return d.targets(ctx, dom)
	}
	host, port, err := splitRedirect(strings.TrimSpace(elsewhere))
	if err != nil {
		return nil, err
	}
	if port != "" {
		// UP-045: a port leaves nothing for SRV to say.
		return []target{{host, port, dom.direct}}, nil
	}
	if ip, err := literalHost(host); err == nil {
		return []target{{ip, directPort(dom.direct), dom.direct}}, nil
	}
	return d.discover(ctx, host, dom.security)
}

func directPort(direct bool) string {
	if direct {
		return portDirect
	}
	return portClient
}

// splitRedirect takes host, host:port, [v6] or [v6]:port apart.
func splitRedirect(s string) (host, port string, err error) {
	if h, p, err := net.SplitHostPort(s); err == nil {
		if _, err := net.LookupPort("tcp", p); err != nil || h == "" || p == "" || p == "0" {
			return "", "", errors.New("redirect names no usable address")
		}
		return h, p, nil
	}
	if _, err := literalHost(s); err == nil {
		return s, "", nil
	}
	if s == "" || strings.ContainsAny(s, ":[]/@ ") {
		return "", "", errors.New("redirect names no usable address")
	}
	return s, "", nil
}

func literalHost(s string) (string, error) {
	ip, ok := literal(s)
	if !ok {
		return "", errors.New("not an address")
	}
	return ip.String(), nil
}
