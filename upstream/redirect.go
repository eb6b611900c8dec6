package upstream

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
)

const (
	seeOtherHost = "see-other-host"
	maxRedirects = 5 // in a row (UP-044)
)

var errRedirects = errors.New("server redirects in a loop")

// redirect is a see-other-host error (RFC 6120 §4.9.3.19).
type redirect struct {
	host   string
	direct bool // the server that sent it was spoken to by direct TLS
}

func (r *redirect) Error() string { return "server redirects elsewhere" }

// redirected returns the targets of a redirect. The TLS policy and the reference identity of the domain stay what they
// were; that the operator named a host does not extend to where that host points.
func (d *Dialer) redirected(ctx context.Context, dom *Domain, see *redirect) (*Domain, []target, error) {
	host, port, err := splitRedirect(strings.TrimSpace(see.host))
	if err != nil {
		return nil, nil, err
	}
	away := *dom
	away.host, away.port = "", ""
	if ip, ok := literal(host); ok {
		host, port = ip.String(), orDefault(port, directPort(see.direct))
	}
	if port != "" {
		// UP-045: a port leaves nothing for SRV to say.
		return &away, []target{{host: host, port: port, direct: see.direct}}, nil
	}
	targets, err := d.discover(ctx, host, dom.security)
	return &away, targets, err
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
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 || h == "" {
			return "", "", errors.New("redirect names no usable address")
		}
		return h, p, nil
	}
	if _, ok := literal(s); ok {
		return s, "", nil
	}
	if s == "" || strings.ContainsAny(s, ":[]/@ ") {
		return "", "", errors.New("redirect names no usable address")
	}
	return s, "", nil
}
