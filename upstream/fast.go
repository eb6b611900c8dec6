package upstream

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmlframe"
)

// FAST (XEP-0484 0.2.0) with the HT-* mechanisms of draft-schmaus-kitten-sasl-ht-09: signing in with a token instead of a
// password.

// token is what signs an account in without its password. It is as secret as one.
type token struct {
	secret    string
	mechanism string // the only one that it may be used with (UP-092)
	issued    time.Time
	expiry    time.Time // zero if the server does not say
}

// The mechanisms that are used, best first (UP-085). UP-090: newer drafts, whose names do not begin with HT-, have another
// layout, so nothing else is ever taken.
const (
	htExporter = "HT-SHA-256-EXPR"
	htEndPoint = "HT-SHA-256-ENDP"
	htNone     = "HT-SHA-256-NONE"
)

var htPreference = []string{htExporter, htEndPoint, htNone}

// chooseHT returns the best mechanism that the server lists and the connection can do; "" for none.
func chooseHT(offered []string, cs *tls.ConnectionState) string {
	for _, m := range htPreference {
		for _, o := range offered {
			if o != m {
				continue
			}
			if _, err := bindingData(m, cs); err == nil {
				return m
			}
		}
	}
	return ""
}

var errNoBinding = errors.New("connection has no such channel binding")

// bindingData returns what ties a proof to the connection (draft -09 §2, RFC 9266, RFC 5929).
func bindingData(mechanism string, cs *tls.ConnectionState) ([]byte, error) {
	switch {
	case mechanism == htNone:
		return nil, nil
	case cs == nil:
		return nil, errNoBinding
	case mechanism == htExporter:
		// UP-089: the context is present and empty, which TLS 1.2 tells from an absent one.
		return cs.ExportKeyingMaterial("EXPORTER-Channel-Binding", []byte{}, 32)
	case mechanism == htEndPoint && len(cs.PeerCertificates) > 0:
		return endPoint(cs.PeerCertificates[0])
	}
	return nil, errNoBinding
}

// endPoint is tls-server-end-point (RFC 5929 §4.1): the certificate's hash by the hash of its signature, but SHA-256 at least.
func endPoint(cert *x509.Certificate) ([]byte, error) {
	switch cert.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.SHA256WithRSA, x509.ECDSAWithSHA256, x509.SHA256WithRSAPSS:
		h := sha256.Sum256(cert.Raw)
		return h[:], nil
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384, x509.SHA384WithRSAPSS:
		h := sha512.Sum384(cert.Raw)
		return h[:], nil
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512, x509.SHA512WithRSAPSS:
		h := sha512.Sum512(cert.Raw)
		return h[:], nil
	}
	return nil, errNoBinding // RFC 5929 leaves signatures with no or several hashes undefined
}

// proof is the HMAC of one side (draft -09 §3): side is "Initiator" or "Responder".
func (t *token) proof(side string, binding []byte) []byte {
	m := hmac.New(sha256.New, []byte(t.secret))
	m.Write([]byte(side))
	m.Write(binding)
	return m.Sum(nil)
}

// initialResponse is authcid, NUL, proof in base64 (UP-087).
func (t *token) initialResponse(authcid string, binding []byte) string {
	b := append([]byte(authcid), 0)
	return base64.StdEncoding.EncodeToString(append(b, t.proof("Initiator", binding)...))
}

// verify checks the server's proof in constant time (UP-088): only who knows the token can make it.
func (t *token) verify(additional string, binding []byte) bool {
	got, err := base64.StdEncoding.DecodeString(additional)
	return err == nil && hmac.Equal(got, t.proof("Responder", binding))
}

// readToken reads <token/> (XEP-0484 §3.3); nil if it is none.
func readToken(el xmlframe.Element, mechanism string, now time.Time) *token {
	secret, _ := el.Attr("", "token")
	if secret == "" || len(secret) > maxToken || mechanism == "" {
		return nil
	}
	t := &token{secret: secret, mechanism: mechanism, issued: now}
	if s, ok := el.Attr("", "expiry"); ok {
		if at, err := time.Parse(time.RFC3339, s); err == nil && at.After(now) {
			t.expiry = at
		}
	}
	return t
}

const (
	maxToken = 4096
	// tokenLife is believed at most: one server's expiry is decades off (failover design §9.1).
	tokenLife = 14 * 24 * time.Hour
)

// due returns when the token is to be replaced: before half of its life is over.
func (t *token) due() time.Time {
	life := tokenLife
	if !t.expiry.IsZero() {
		life = min(life, t.expiry.Sub(t.issued))
	}
	return t.issued.Add(life / 2)
}

// fastOffer is what features say about SASL2 and FAST (XEP-0388 §3.1, XEP-0484 §3.1).
type fastOffer struct {
	sasl2      bool
	mechanisms []string // of SASL2
	fast       []string
	types      int  // of channel binding (XEP-0440 §3)
	sm         bool // XEP-0198 inline (XEP-0198 §9.2)
}

func readFastOffer(features xmlframe.Element) fastOffer {
	var o fastOffer
	for c := range features.Children() {
		switch {
		case c.Is(ns.SASLCB, "sasl-channel-binding"):
			for range c.Children() {
				o.types++
			}
		case c.Is(ns.SASL2, "authentication"):
			o.sasl2 = true
			o.mechanisms = readMechanisms(c)
			for in := range c.Children() {
				if !in.Is(ns.SASL2, "inline") {
					continue
				}
				for f := range in.Children() {
					switch {
					case f.Is(ns.FAST, "fast"):
						o.fast = readMechanisms(f)
					case f.Is(ns.SM, "sm"):
						o.sm = true
					}
				}
			}
		}
	}
	return o
}

// readMechanisms returns the text of the <mechanism/> children, whose namespace is the list's.
func readMechanisms(list xmlframe.Element) []string {
	var out []string
	for c := range list.Children() {
		if string(c.Local) == "mechanism" && string(c.Space) == string(list.Space) {
			out = append(out, strings.TrimSpace(c.Text()))
		}
	}
	return out
}

// tampered reports lists that no server sends: mechanisms that bind without types of binding, or the reverse. Somebody in
// between has taken one of them out (XEP-0440 §3, UP-101).
func (o fastOffer) tampered() bool {
	binds := false
	for _, list := range [][]string{o.mechanisms, o.fast} {
		for _, m := range list {
			binds = binds || strings.HasSuffix(m, "-PLUS") ||
				strings.HasPrefix(m, "HT-") && !strings.HasSuffix(m, "-NONE")
		}
	}
	return binds != (o.types > 0)
}
