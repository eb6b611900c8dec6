package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
)

// alpn is the ALPN name of client-to-server XMPP (XEP-0368 §3, UP-007).
const alpn = "xmpp-client"

// prepare makes the TLS configurations of a domain, which all its connections share. A domain with a trust of its own does
// not share tickets with others: a session verified under one trust must not be resumed under another.
func (dom *Domain) prepare(tickets tls.ClientSessionCache) {
	if dom.roots != nil || dom.reference != "" {
		tickets = tls.NewLRUClientSessionCache(ticketSessions)
	}
	dom.tlsUpgrade = &tls.Config{
		// UP-007, UP-015: SNI and reference identity are the XMPP domain, whatever host DNS or a redirect named.
		ServerName:                  asciiDomain(dom.Name),
		MinVersion:                  tls.VersionTLS12, // UP-019 (BCP 195); Go renegotiates and compresses never
		ClientSessionCache:          tickets,
		DynamicRecordSizingDisabled: true, // one write is one record: stanzas are not cut into small ones
		// crypto/tls knows DNS names only; VerifyConnection checks chain and identity, on resumed connections too.
		InsecureSkipVerify: true, //nolint:gosec // verified in VerifyConnection
		VerifyConnection:   func(cs tls.ConnectionState) error { return dom.verify(cs, time.Now()) },
	}
	dom.tlsDirect = dom.tlsUpgrade.Clone()
	dom.tlsDirect.NextProtos = []string{alpn}
}

// secure does the TLS handshake on conn as a client of dom and verifies the server.
// cert is what we show if the server asks, nil for nothing.
func (dom *Domain) secure(ctx context.Context, conn net.Conn, direct bool, cert *tls.Certificate) (*tls.Conn, error) {
	cfg := dom.tlsUpgrade
	if direct {
		cfg = dom.tlsDirect
	}
	if cert != nil {
		cfg = cfg.Clone()
		cfg.ClientSessionCache = nil // a ticket would carry the identity to somebody else's session
		cfg.Certificates = []tls.Certificate{*cert}
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
	_, err := understood(leaf).Verify(x509.VerifyOptions{
		Roots: dom.roots, Intermediates: inter, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err == nil {
		err = dom.matches(leaf)
	}
	if err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates, Err: err}
	}
	return nil
}

// NameError means that a certificate, good otherwise, is for somebody else.
type NameError struct {
	Name string // that it should carry
	Err  error
}

func (e *NameError) Error() string {
	return fmt.Sprintf("certificate is not for %q: %v", e.Name, e.Err)
}
func (e *NameError) Unwrap() error { return e.Err }

func (dom *Domain) matches(cert *x509.Certificate) error {
	if err := matchCertificate(cert, dom.certified()); err != nil {
		return &NameError{Name: dom.certified(), Err: err}
	}
	return nil
}

// certified is the name that certificates must carry.
func (dom *Domain) certified() string {
	if dom.reference != "" {
		return dom.reference
	}
	return dom.Name
}

// trust says what certificates are verified against, as SecurityMetrics names it.
func (dom *Domain) trust(cs *tls.ConnectionState) string {
	switch {
	case cs == nil:
		return "none"
	case dom.roots != nil:
		return "ca"
	}
	return "system"
}

// understood returns the certificate as crypto/x509 may verify it: a critical subjectAltName that holds nothing but entries
// which it does not know is no reason to refuse it, since matchCertificate knows them (RFC 5280 §4.2.1.6).
func understood(cert *x509.Certificate) *x509.Certificate {
	i := slices.IndexFunc(cert.UnhandledCriticalExtensions, oidSubjectAltName.Equal)
	if i < 0 {
		return cert
	}
	c := *cert // crypto/tls shares parsed certificates between connections
	c.UnhandledCriticalExtensions = slices.Delete(slices.Clone(cert.UnhandledCriticalExtensions), i, i+1)
	return &c
}

// errExpired is why Recv ends a stream whose server certificate has run out (RFC 6120 §13.7.2.3).
var errExpired = &fault{"reset", "certificate of the server has expired"}

// certificateEnds returns when the server's certificate expires; zero in the clear.
func (l *link) certificateEnds() time.Time {
	if l.tls == nil || len(l.tls.PeerCertificates) == 0 {
		return time.Time{}
	}
	return l.tls.PeerCertificates[0].NotAfter
}

// arm makes reads fail once the server's certificate has expired (UP-021). The deadline for reading is free for that, since
// nobody else needs one, and saves a timer.
func (l *link) arm() {
	if l.readBy = l.certificateEnds(); !l.readBy.IsZero() {
		_ = l.conn.SetReadDeadline(l.readBy)
	}
}
