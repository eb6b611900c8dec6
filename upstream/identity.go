package upstream

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"net"
	"strings"
)

var (
	oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidXmppAddr       = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 5} // RFC 6120 §13.7.1.4
	oidSRVName        = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 7} // RFC 4985 §2
)

// srvPrefix is the service of an SRV-ID that counts for clients (RFC 6120 §13.7.1.2.1): never _xmpp-server.
const srvPrefix = "_xmpp-client."

var errNoMatch = errors.New("no DNS name, SRV name, XMPP address or IP address in it matches")

// matchCertificate checks that the certificate is for a normalised domain. UP-016: it may say so by dNSName, SRVName or
// XmppAddr. UP-017: the common name never counts. UP-018: names are compared as A-labels; an IP literal needs an IP entry.
func matchCertificate(cert *x509.Certificate, name string) error {
	if ip, ok := literal(name); ok {
		for _, c := range cert.IPAddresses {
			if c.Equal(net.IP(ip.AsSlice())) {
				return nil
			}
		}
		return errNoMatch
	}
	host := asciiDomain(name)
	for _, p := range cert.DNSNames {
		if matchName(p, host) {
			return nil
		}
	}
	srvs, addrs := otherNames(cert)
	for _, s := range srvs {
		if len(s) > len(srvPrefix) && strings.EqualFold(s[:len(srvPrefix)], srvPrefix) && matchName(s[len(srvPrefix):], host) {
			return nil
		}
	}
	for _, a := range addrs {
		if n, err := Normalise(a); err == nil && n == name {
			return nil
		}
	}
	return errNoMatch
}

// matchName compares one presented name with the host. A wildcard counts only as the whole left-most label and stands for
// exactly one label (RFC 6125 §6.4.3).
func matchName(pattern, host string) bool {
	pattern = strings.TrimSuffix(strings.ToLower(pattern), ".")
	if host == "" || pattern == "" {
		return false
	}
	if rest, ok := strings.CutPrefix(pattern, "*."); ok {
		_, parent, found := strings.Cut(host, ".")
		return found && parent == rest && strings.Contains(rest, ".") && !strings.Contains(rest, "*")
	}
	return pattern == host
}

// otherNames returns the SRVName and XmppAddr entries of the subjectAltName, which crypto/x509 skips. Whatever is not
// DER as RFC 5280 §4.2.1.6 has it is left out.
func otherNames(cert *x509.Certificate) (srvs, addrs []string) {
	for _, ext := range cert.Extensions {
		if !ext.Id.Equal(oidSubjectAltName) {
			continue
		}
		var seq asn1.RawValue
		if rest, err := asn1.Unmarshal(ext.Value, &seq); err != nil || len(rest) != 0 {
			return nil, nil
		}
		for rest := seq.Bytes; len(rest) > 0; {
			var name asn1.RawValue
			var err error
			if rest, err = asn1.Unmarshal(rest, &name); err != nil {
				return srvs, addrs
			}
			if name.Class != asn1.ClassContextSpecific || name.Tag != 0 {
				continue
			}
			id, value, ok := otherName(name.Bytes)
			switch {
			case ok && id.Equal(oidSRVName) && value.Tag == asn1.TagIA5String:
				srvs = append(srvs, string(value.Bytes))
			case ok && id.Equal(oidXmppAddr) && value.Tag == asn1.TagUTF8String:
				addrs = append(addrs, string(value.Bytes))
			}
		}
	}
	return srvs, addrs
}

// otherName splits OtherName ::= SEQUENCE { type-id OID, value [0] EXPLICIT ANY }, whose outer tag is implicit.
func otherName(der []byte) (asn1.ObjectIdentifier, asn1.RawValue, bool) {
	var id asn1.ObjectIdentifier
	rest, err := asn1.Unmarshal(der, &id)
	if err != nil {
		return nil, asn1.RawValue{}, false
	}
	var outer, value asn1.RawValue
	if _, err := asn1.Unmarshal(rest, &outer); err != nil || outer.Class != asn1.ClassContextSpecific || outer.Tag != 0 {
		return nil, asn1.RawValue{}, false
	}
	if _, err := asn1.Unmarshal(outer.Bytes, &value); err != nil || value.Class != asn1.ClassUniversal {
		return nil, asn1.RawValue{}, false
	}
	return id, value, true
}
