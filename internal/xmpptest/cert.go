package xmpptest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// CA is a certificate authority for one test.
type CA struct {
	tb   testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Cert says what a server certificate names.
type Cert struct {
	CommonName string
	DNS        []string
	IPs        []net.IP
	SRV        []string  // SRVName otherName (RFC 4985), e.g. _xmpp-client.example.org
	XmppAddr   []string  // XmppAddr otherName (RFC 6120 §13.7.1.4)
	NotAfter   time.Time // zero means in an hour
	SelfSigned bool      // not signed by the CA
	Critical   bool      // the subjectAltName is critical and the subject empty
}

var serial atomic.Int64

// NewCA makes a CA.
func NewCA(tb testing.TB) *CA {
	tb.Helper()
	key := newKey(tb)
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "xmpptest CA"},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return &CA{tb: tb, cert: cert, key: key}
}

// File writes the CA's certificate as PEM and returns its path.
func (ca *CA) File() string {
	ca.tb.Helper()
	path := filepath.Join(ca.tb.TempDir(), "ca.pem")
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})
	if err := os.WriteFile(path, b, 0o600); err != nil {
		ca.tb.Fatal(err)
	}
	return path
}

// KeyFile writes the CA's certificate and its key as PEM and returns the path.
func (ca *CA) KeyFile() string {
	ca.tb.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(ca.key)
	if err != nil {
		ca.tb.Fatal(err)
	}
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})
	b = append(b, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	path := filepath.Join(ca.tb.TempDir(), "ca-key.pem")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		ca.tb.Fatal(err)
	}
	return path
}

// Pool holds the CA's certificate.
func (ca *CA) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(ca.cert)
	return p
}

// Good is a server configuration with a valid certificate for the DNS names.
func (ca *CA) Good(dns ...string) *tls.Config { return ca.Config(Cert{DNS: dns}) }

// Config is a server configuration with that certificate.
func (ca *CA) Config(c Cert) *tls.Config {
	ca.tb.Helper()
	key := newKey(ca.tb)

	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(time.Hour)
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1000 + serial.Add(1)), Subject: pkix.Name{CommonName: c.CommonName},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: c.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: c.DNS, IPAddresses: c.IPs,
	}
	if len(c.SRV)+len(c.XmppAddr) > 0 {
		t.ExtraExtensions = []pkix.Extension{ca.altNames(c)}
	}
	parent, signer := ca.cert, ca.key
	if c.SelfSigned {
		parent, signer = t, key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, &key.PublicKey, signer)
	if err != nil {
		ca.tb.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// altNames encodes a subjectAltName that crypto/x509 cannot make: with otherName entries (RFC 5280 §4.2.1.6).
func (ca *CA) altNames(c Cert) pkix.Extension {
	ca.tb.Helper()
	type otherName struct {
		ID    asn1.ObjectIdentifier
		Value asn1.RawValue
	}
	var names []asn1.RawValue
	add := func(id asn1.ObjectIdentifier, tag int, s string) {
		// encoding/asn1 ignores an explicit tag on a RawValue, so it is written out.
		value, err := asn1.Marshal(asn1.RawValue{Tag: tag, Bytes: []byte(s)})
		if err != nil {
			ca.tb.Fatal(err)
		}
		explicit := asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: value}
		der, err := asn1.MarshalWithParams(otherName{id, explicit}, "tag:0")
		if err != nil {
			ca.tb.Fatal(err)
		}
		names = append(names, asn1.RawValue{FullBytes: der})
	}
	for _, s := range c.SRV {
		add(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 7}, asn1.TagIA5String, s)
	}
	for _, s := range c.XmppAddr {
		add(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 5}, asn1.TagUTF8String, s)
	}
	for _, ip := range c.IPs {
		names = append(names, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 7, Bytes: ip})
	}
	for _, s := range c.DNS {
		names = append(names, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 2, Bytes: []byte(s)})
	}
	der, err := asn1.Marshal(names)
	if err != nil {
		ca.tb.Fatal(err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: c.Critical, Value: der}
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}
