package replica

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"stanzagate/sessionstore"
)

// ownHeaders are hop by hop, or tell of proxies in front of the browser side, which has read them.
var ownHeaders = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Proxy-Authenticate": true, "Proxy-Authorization": true,
	"Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true, "Expect": true, "Content-Length": true,
	"Forwarded": true, "X-Forwarded-For": true, "X-Forwarded-Proto": true, "X-Forwarded-Host": true,
}

// outbound is a browser's request on its way to the owner. It shares what is only read.
func outbound(req Request, to sessionstore.Replica, insist bool) *message {
	r, p := req.R, req.Peer
	m := &message{
		to: to.Incarnation, insist: insist, secure: p.Secure, host: p.Host,
		method: r.Method, path: r.URL.Path, rawPath: r.URL.RawPath, query: r.URL.RawQuery,
		header: make(http.Header, len(r.Header)), body: req.Body,
	}
	for name, values := range r.Header {
		if !ownHeaders[name] {
			m.header[name] = values
		}
	}
	for _, hop := range r.Header["Connection"] {
		for value := range strings.SplitSeq(hop, ",") {
			delete(m.header, http.CanonicalHeaderKey(strings.TrimSpace(value))) // RFC 9110 §7.6.1: what the browser names there
		}
	}
	if p.Addr.IsValid() {
		m.peer = p.Addr.String()
	}
	if p.Local.IsValid() {
		m.local = p.Local.String()
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		m.certificate = r.TLS.PeerCertificates[0].Raw
	}
	return m
}

// inbound is the request as if the browser had sent it to this replica without any proxy, so that whoever serves it needs
// to know nothing of relays, nor trust anybody's headers. The sender is one of us.
func (m *message) inbound(ctx context.Context) *http.Request {
	r := &http.Request{
		Method: m.method, URL: &url.URL{Path: m.path, RawPath: m.rawPath, RawQuery: m.query}, Host: m.host,
		Proto: "HTTP/2.0", ProtoMajor: 2, // many requests share the connection, and none can close it
		Header: m.header, Body: http.NoBody, ContentLength: int64(len(m.body)),
		RemoteAddr: "@", // of no use as an address
	}
	if len(m.body) > 0 {
		r.Body = io.NopCloser(bytes.NewReader(m.body))
	}
	if addr, err := netip.ParseAddrPort(m.peer); err == nil {
		r.RemoteAddr = addr.String()
	}
	if m.secure {
		r.TLS = &tls.ConnectionState{HandshakeComplete: true}
		if cert, err := x509.ParseCertificate(m.certificate); err == nil {
			r.TLS.PeerCertificates = []*x509.Certificate{cert}
		}
	}
	return r.WithContext(context.WithValue(ctx, http.LocalAddrContextKey, m.localAddr()))
}

// localAddr is where the browser reached its replica, as net/http tells it.
func (m *message) localAddr() net.Addr {
	addr, err := netip.ParseAddrPort(m.local)
	if err != nil {
		return &net.TCPAddr{}
	}
	return net.TCPAddrFromAddrPort(addr)
}
