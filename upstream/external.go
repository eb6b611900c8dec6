package upstream

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// ClassExternal: a certificate for minutes, with the user's bare JID, from a CA that the server trusts for nothing else
// (failover design §3). Whoever holds the CA's key is every user.

// authority is the operator's CA of ?reauth=external.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

const (
	mintedLife = 5 * time.Minute
	mintedSkew = time.Minute // clocks differ
)

// readAuthority reads a CA certificate and its key from one PEM file.
func readAuthority(pem []byte) (*authority, error) {
	pair, err := tls.X509KeyPair(pem, pem)
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("key cannot sign")
	}
	if !pair.Leaf.IsCA {
		return nil, errors.New("certificate is not that of a CA")
	}
	return &authority{cert: pair.Leaf, key: key}, nil
}

// mint makes a certificate for a bare JID as XmppAddr (RFC 6120 §13.7.1.4).
func (a *authority) mint(bare string, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
	if err != nil {
		return nil, fmt.Errorf("serial number: %w", err)
	}
	names, err := xmppAddrName(bare)
	if err != nil {
		return nil, fmt.Errorf("certificate for %q: %w", bare, err)
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "stanzagate"},
		NotBefore: now.Add(-mintedSkew), NotAfter: now.Add(mintedLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		ExtraExtensions: []pkix.Extension{{Id: oidSubjectAltName, Value: names}},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("certificate for %q: %w", bare, err)
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key}, nil
}

// xmppAddrName encodes a subjectAltName with one otherName, which crypto/x509 cannot make (RFC 5280 §4.2.1.6).
func xmppAddrName(bare string) ([]byte, error) {
	value, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(bare)})
	if err != nil {
		return nil, err
	}
	name := struct {
		ID    asn1.ObjectIdentifier
		Value asn1.RawValue
	}{oidXmppAddr, asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: value}} // [0] EXPLICIT
	der, err := asn1.MarshalWithParams(name, "tag:0")
	if err != nil {
		return nil, err
	}
	return asn1.Marshal([]asn1.RawValue{{FullBytes: der}})
}
