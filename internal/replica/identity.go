package replica

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"sync/atomic"
	"time"
)

// Identity is how replicas recognise each other: whoever can derive one of the key pairs is one of them. Safe for
// concurrent use.
type Identity struct {
	now atomic.Pointer[keyPairs]
}

// keyPairs is immutable.
type keyPairs struct {
	cert    *tls.Certificate    // of the newest pair, to show
	trusted []ed25519.PublicKey // of all, to accept
}

// NewIdentity makes an Identity of relay keys (seal.Keys.Relay), newest first.
func NewIdentity(keys [][]byte) (*Identity, error) {
	id := &Identity{}
	return id, id.Set(keys)
}

// Set replaces the keys. Connections that stand go on.
func (id *Identity) Set(keys [][]byte) error {
	if len(keys) == 0 {
		return errors.New("relay: no key")
	}
	pairs := &keyPairs{}
	for i, key := range keys {
		if len(key) != ed25519.SeedSize {
			return fmt.Errorf("relay: key of %d bytes, want %d", len(key), ed25519.SeedSize)
		}
		private := ed25519.NewKeyFromSeed(key)
		pairs.trusted = append(pairs.trusted, private.Public().(ed25519.PublicKey))
		if i > 0 {
			continue
		}
		var err error
		if pairs.cert, err = selfSigned(private); err != nil {
			return fmt.Errorf("relay: %w", err)
		}
	}
	id.now.Store(pairs)
	return nil
}

// selfSigned wraps a key pair in the certificate that TLS wants. Nothing in it is looked at but the public key; it is valid
// at any time, as clocks of replicas may differ.
func selfSigned(private ed25519.PrivateKey) (*tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "replica"},
		NotBefore: time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, nil
}

var (
	errStranger = errors.New("relay: the other side does not have our key")
	errProtocol = errors.New("relay: the other side speaks another protocol")
)

// verify is the one check of a connection, on both sides, for resumed ones too. TLS has proved that the other side has the
// private key.
func (id *Identity) verify(state tls.ConnectionState) error {
	if state.NegotiatedProtocol != protocol {
		return errProtocol
	}
	if len(state.PeerCertificates) == 0 {
		return errStranger
	}
	public, ok := state.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok {
		return errStranger
	}
	for _, trusted := range id.now.Load().trusted {
		if subtle.ConstantTimeCompare(trusted, public) == 1 {
			return nil
		}
	}
	return errStranger
}

func (id *Identity) serverTLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{protocol}, ClientAuth: tls.RequireAnyClientCert, VerifyConnection: id.verify,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return id.now.Load().cert, nil },
	}
}

func (id *Identity) clientTLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{protocol},
		// Names and authorities mean nothing here: verify compares the public key.
		InsecureSkipVerify: true, VerifyConnection: id.verify,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return id.now.Load().cert, nil },
	}
}

// LogValue keeps keys out of logs.
func (id *Identity) LogValue() slog.Value { return slog.StringValue("xxxxx") }
