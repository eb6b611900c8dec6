package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"stanzagate/upstream"
)

// problem is something that `gateway check` found wrong, and what to do about it.
type problem struct {
	What   string `json:"what"`
	Remedy string `json:"remedy"`
}

// remedy says what an operator can do about a target that does not let sessions in.
func remedy(err error, direct bool) string {
	if cert := refusedCertificate(err); cert != nil {
		return certificateRemedy(err, cert)
	}
	var said *upstream.StreamError
	if errors.As(err, &said) {
		return streamRemedy(said.Condition)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "it did not answer within limit.connect-timeout: see whether host and port are right, whether a firewall is in between, and whether ?proxy= fits the server's listener"
	}
	var e *upstream.Error
	if !errors.As(err, &e) {
		return "see the server's log"
	}
	switch e.Op {
	case upstream.OpResolve:
		return "add SRV records (_xmpp-client._tcp) or an address to DNS, or name the server, as in --domain example.org=xmpp://host:5222"
	case upstream.OpConnect:
		return connectRemedy(err)
	case upstream.OpTLS:
		return tlsRemedy(err, direct)
	}
	if hungUp(err) {
		return "the server hung up: see its log, and whether ?proxy= and xmpp:// or xmpps:// fit its listener"
	}
	return "see whether an XMPP server's client port (c2s) is there, and the server's log"
}

func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

func connectRemedy(err error) string {
	switch {
	case errors.Is(err, upstream.ErrAddressRefused):
		return "addresses that are not public are only used if the settings name the server, as in --domain example.org=xmpp://host:5222"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there: start the server, or see whether host and port are right"
	}
	return "see whether host and port are right, and whether a firewall is in between"
}

func tlsRemedy(err error, direct bool) string {
	var plain tls.RecordHeaderError
	var alert tls.AlertError
	switch {
	case errors.Is(err, upstream.ErrNoTLS):
		return "turn on STARTTLS at the server (it needs a certificate), or say ?tls=none if the network in between is private"
	case direct && (errors.As(err, &plain) || hungUp(err)):
		return "the port seems not to speak TLS from the start: use xmpp:// for it, or correct the _xmpps-client record"
	case errors.As(err, &alert):
		return "the server broke the handshake off: it has to speak TLS 1.2 or newer, and to have a certificate for the domain"
	}
	return "see the server's log; it has to speak TLS 1.2 or newer"
}

// certificateRemedy goes by the reason for which a certificate was refused.
func certificateRemedy(err error, cert *x509.Certificate) string {
	var name *upstream.NameError
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &name):
		has := strings.Join(certificateNames(cert), ", ")
		if has == "" {
			has = "no DNS name"
		}
		return fmt.Sprintf("it is for %s; give the server one for %s, or say ?name= if it is known under another name", has, name.Name)
	case errors.As(err, &authority):
		return fmt.Sprintf("it was issued by %q, which is not trusted; name the authority's PEM file with ?ca=FILE, or have the server send the whole chain", cert.Issuer.String())
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("it is valid from %s to %s; renew it on the server, or set the clock", day(cert.NotBefore), day(cert.NotAfter))
	}
	return "give the server a certificate for TLS servers, valid for the domain"
}

func streamRemedy(condition string) string {
	switch condition {
	case "host-unknown", "host-gone":
		return "the server does not serve this domain: add it there (VirtualHost, hosts), or name the right server"
	case "see-other-host":
		return "the server redirects: name the one that it points to"
	case "policy-violation", "not-authorized":
		return "the server does not want the gateway: see its log, its per-address limits and access rules"
	}
	return "see the server's log"
}
