package replica

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"stanzagate/internal/peer"
)

// What replicas say to each other besides the request itself. Headers of these names from browsers are not passed on, and
// those of the owner do not reach the browser.
const (
	headerTo      = "Relay-To"      // the incarnation that is meant
	headerPeer    = "Relay-Peer"    // the browser's address and port; missing if unknown
	headerLocal   = "Relay-Local"   // where the browser reached its replica; missing if unknown
	headerSecure  = "Relay-Secure"  // "1": it came over TLS
	headerHost    = "Relay-Host"    // what it asked for
	headerInsist  = "Relay-Insist"  // "1": also if the owner is fenced, as the browser side cannot ask the store either
	headerCert    = "Relay-Cert"    // the certificate that it proved to have, DER in base64; missing if none
	headerOutcome = "Relay-Outcome" // of the owner: why there is no answer; one of the below
	headerHeld    = "Relay-Held"    // of the owner: microseconds from the request until the answer
)

const (
	saysNotMine  = "not-mine" // the session is not here
	saysStranger = "stranger" // this is another process than the one that is meant
	saysFenced   = "fenced"   // others may think that this replica is dead
	saysAborted  = "aborted"  // the connection to the browser is to be closed without an answer
)

// ownHeaders are hop by hop, or ours, or tell of proxies in front of the browser side, which has read them.
var ownHeaders = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Proxy-Authenticate": true, "Proxy-Authorization": true,
	"Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true, "Expect": true, "Content-Length": true,
	"Forwarded": true, "X-Forwarded-For": true, "X-Forwarded-Proto": true, "X-Forwarded-Host": true,
	headerTo: true, headerPeer: true, headerLocal: true, headerSecure: true, headerHost: true, headerInsist: true, headerCert: true, headerOutcome: true,
	headerHeld: true,
}

// outbound returns the headers of a request on its way to the owner. Values are shared with r, which is only read.
func outbound(r *http.Request, p peer.Peer, incarnation string) http.Header {
	h := make(http.Header, len(r.Header)+6)
	for name, values := range r.Header {
		if !ownHeaders[name] {
			h[name] = values
		}
	}
	for value := range strings.SplitSeq(r.Header.Get("Connection"), ",") {
		delete(h, http.CanonicalHeaderKey(strings.TrimSpace(value))) // RFC 9110 §7.6.1: what the browser names there
	}
	h[headerTo] = []string{incarnation}
	if p.Addr.IsValid() {
		h[headerPeer] = []string{p.Addr.String()}
	}
	if p.Local.IsValid() {
		h[headerLocal] = []string{p.Local.String()}
	}
	if p.Secure {
		h[headerSecure] = []string{"1"}
	}
	if p.Host != "" && isPlain(p.Host) {
		h[headerHost] = []string{p.Host}
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		h[headerCert] = []string{base64.StdEncoding.EncodeToString(r.TLS.PeerCertificates[0].Raw)}
	}
	return h
}

// isPlain reports whether s may stand in a header.
func isPlain(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// inbound makes r look as if the browser had sent it to this replica without any proxy, so that whoever serves it needs to
// know nothing of relays, nor trust anybody's headers. The sender is one of us.
func inbound(r *http.Request) {
	h := r.Header
	r.RemoteAddr = "@" // of no use as an address
	if addr, err := netip.ParseAddrPort(h.Get(headerPeer)); err == nil {
		r.RemoteAddr = addr.String()
	}
	r.Host = h.Get(headerHost)
	r.TLS = nil
	if h.Get(headerSecure) != "" {
		r.TLS = &tls.ConnectionState{HandshakeComplete: true}
		if der, err := base64.StdEncoding.DecodeString(h.Get(headerCert)); err == nil && len(der) > 0 {
			if cert, err := x509.ParseCertificate(der); err == nil {
				r.TLS.PeerCertificates = []*x509.Certificate{cert}
			}
		}
	}
	for _, name := range []string{headerTo, headerPeer, headerLocal, headerSecure, headerHost, headerInsist, headerCert} {
		delete(h, name)
	}
}

// local is where the browser reached its replica, as net/http tells it.
func local(h http.Header) net.Addr {
	addr, err := netip.ParseAddrPort(h.Get(headerLocal))
	if err != nil {
		return &net.TCPAddr{}
	}
	return net.TCPAddrFromAddrPort(addr)
}

// heldFor returns what headerHeld says; 0 if it says nothing.
func heldFor(h http.Header) time.Duration {
	us, err := strconv.ParseUint(h.Get(headerHeld), 10, 40)
	if err != nil {
		return 0
	}
	return time.Duration(us) * time.Microsecond
}
