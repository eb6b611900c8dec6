package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"
)

// alpn is the ALPN name of client-to-server XMPP (XEP-0368 §3, UP-007).
const alpn = "xmpp-client"

// secure does the TLS handshake on conn as a client of dom and verifies the server.
func (d *Dialer) secure(ctx context.Context, dom *Domain, conn net.Conn, direct bool) (*tls.Conn, error) {
	cfg := &tls.Config{
		// UP-007, UP-015: SNI and reference identity are the XMPP domain, whatever host DNS or a redirect named.
		ServerName:                  asciiDomain(dom.Name),
		MinVersion:                  tls.VersionTLS12, // UP-019 (BCP 195); Go renegotiates and compresses never
		ClientSessionCache:          d.tickets,
		DynamicRecordSizingDisabled: true, // one write is one record: stanzas are not cut into small ones
		// crypto/tls knows DNS names only; VerifyConnection checks chain and identity, on resumed connections too.
		InsecureSkipVerify: true, //nolint:gosec // verified in VerifyConnection
		VerifyConnection:   func(cs tls.ConnectionState) error { return dom.verify(cs, time.Now()) },
	}
	if dom.roots != nil || dom.reference != "" {
		cfg.ClientSessionCache = nil // a ticket must not cross between domains with different trust
	}
	if direct {
		cfg.NextProtos = []string{alpn}
	}
	tc := tls.Client(conn, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return tc, nil
}

// verify checks the chain against the domain's roots and the certificate against its name (RFC 6120 §13.7.2).
func (dom *Domain) verify(cs tls.ConnectionState, now time.Time) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("server sent no certificate")
	}
	leaf := cs.PeerCertificates[0]
	inter := x509.NewCertPool()
	for _, c := range cs.PeerCertificates[1:] {
		inter.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: dom.roots, Intermediates: inter, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return err
	}
	name := dom.reference
	if name == "" {
		name = dom.Name
	}
	if err := matchCertificate(leaf, name); err != nil {
		return fmt.Errorf("certificate is not for %q: %w", name, err)
	}
	return nil
}
