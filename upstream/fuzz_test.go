package upstream

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"strings"
	"testing"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmlframe"
)

// Whatever a server names in see-other-host, what comes out can be dialled or is refused.
//
// Covers: UP-045.
func FuzzSplitRedirect(f *testing.F) {
	for _, s := range []string{"h", "h:1", "[::1]:5", "[::1]", "1.2.3.4", ":", "a:b:c", "h:65536", "[", "ü.example:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, port, err := splitRedirect(s)
		if err != nil {
			return
		}
		if host == "" || strings.ContainsAny(host, "/@ ") && port == "" {
			t.Errorf("%q: host %q", s, host)
		}
		if port != "" {
			if p, err := net.LookupPort("tcp", port); err != nil || p == 0 {
				t.Errorf("%q: port %q", s, port)
			}
		}
	})
}

// Normalise is idempotent, and what it returns has a DNS form or is an address.
//
// Covers: UP-018.
func FuzzNormalise(f *testing.F) {
	for _, s := range []string{"example.org", "BÜCHER.example", "xn--bcher-kva.test", "127.0.0.1", "[::1]", "a..b", "faß.de", "\u200d.x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := Normalise(s)
		if err != nil {
			return
		}
		if again, err := Normalise(name); err != nil || again != name {
			t.Errorf("%q -> %q -> %q, %v", s, name, again, err)
		}
		if _, ok := literal(name); !ok && asciiDomain(name) == "" {
			t.Errorf("%q -> %q has no DNS form", s, name)
		}
	})
}

// A setting parses or is refused, and says what is wrong with it.
//
// Covers: UP-001.
func FuzzParseDomain(f *testing.F) {
	for _, s := range []string{"example.org", "a=xmpp://h:1?tls=none&proxy=v2", "a=xmpps://[::1]", "a?name=b", "a?plus=hide", "?", "=", "a=xmpp://h?%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.Contains(s, "ca=") {
			return // reads files
		}
		d, err := ParseDomain(s)
		if err == nil && (d.Name == "" || d.host != "" && d.port == "") {
			t.Errorf("%q: %+v", s, d)
		}
	})
}

// The otherName entries come from certificates of strangers.
//
// Covers: UP-016.
func FuzzOtherNames(f *testing.F) {
	f.Add([]byte("\x30\x00"))
	f.Add([]byte("\x30\x1f\xa0\x1d\x06\x08\x2b\x06\x01\x05\x05\x07\x08\x05\xa0\x11\x0c\x0fx@example.org/yz"))
	f.Fuzz(func(t *testing.T, der []byte) {
		cert := &x509.Certificate{Extensions: []pkix.Extension{{Id: oidSubjectAltName, Value: der}}}
		srvs, addrs := otherNames(cert)
		if len(srvs)+len(addrs) > len(der) {
			t.Error("more names than bytes")
		}
		_ = matchCertificate(cert, "example.org")
	})
}

// Headers, features and stream errors of a server are read without harm, and what is
// shown to a browser stays well-formed.
//
// Covers: UP-025, UP-026, UP-027, UP-042.
func FuzzServerElements(f *testing.F) {
	const s = " xmlns:stream='" + ns.Stream + "'"
	f.Add([]byte("<stream:stream" + s + " version='1.0' from='example.org'/>"))
	f.Add([]byte("<stream:features" + s + ">" + fTLS + fSASL + fSASL2 + fLimits + "</stream:features>"))
	f.Add([]byte("<stream:error" + s + "><see-other-host xmlns='" + ns.Streams + "'>h:1</see-other-host></stream:error>"))
	f.Add([]byte("<success xmlns='" + ns.SASL2 + "'><bound xmlns='" + ns.Bind2 + "'><enabled xmlns='" + ns.SM + "' resume='1'/></bound></success>"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		el, err := xmlframe.Parse(raw, xmlframe.Limits{Depth: 64, Attributes: 64})
		if err != nil {
			return
		}
		_, _ = readHeader(el, "example.org", true)
		_ = checkFeatures(readFeatures(el))
		shown := policy{managed: true, noPlain: true, noPlus: true}.filter(el)
		if _, err := xmlframe.Parse(shown.Raw, xmlframe.Limits{}); err != nil {
			t.Errorf("%s\nbecame %s: %v", raw, shown.Raw, err)
		}
		se, _ := parseStreamError(el)
		if !conditions[se.Condition] {
			t.Errorf("condition %q", se.Condition)
		}
		p := progress{binding: true}
		p.saw(el)
	})
}

// A browser's login data, and a stored state, come from outside: whatever they hold, the account is a bare JID of the domain or
// none, and a state that opens has what it needs.
//
// Covers: UP-104.
func FuzzLoginAndState(f *testing.F) {
	f.Add("PLAIN", "AGp1bGlldABzZWNyZXQ=", []byte(`{"v":1,"class":"fast","secret":"eA=="}`))
	f.Add("SCRAM-SHA-1", "bixhPXgsbj1hPTJDYixyPXg=", []byte(`{"v":1,"class":"external"}`))
	f.Add("OAUTHBEARER", "bixhPXVzZXJAZXhhbXBsZS5vcmcsAQ==", []byte(`{}`))
	f.Fuzz(func(t *testing.T, mechanism, data string, stored []byte) {
		a := attempt{mechanism: mechanism, data: data}
		if bare := a.account("example.org"); bare != "" && (bareOf(bare) != bare || !strings.HasSuffix(bare, "@example.org")) {
			t.Errorf("%q", bare)
		}
		st, cred, err := decodeState(stored, vault{})
		switch {
		case err != nil:
		case st.Version != stateVersion, cred.class == ClassFAST && cred.token == nil, cred.class == ClassPassword && cred.password == "", cred.class == ClassNone:
			t.Errorf("%+v %+v", st, cred)
		}
	})
}

// SASL2 elements of a server become classic ones that are well-formed, or nothing.
//
// Covers: UP-080.
func FuzzTranslation(f *testing.F) {
	f.Add([]byte("<failure xmlns='" + ns.SASL2 + "'><aborted xmlns='" + ns.SASL + "'/><text xml:lang='de'>&lt;</text></failure>"))
	f.Add([]byte("<challenge xmlns='" + ns.SASL2 + "'>a<b/>&amp;c</challenge>"))
	f.Add([]byte("<success xmlns='" + ns.SASL2 + "'><additional-data>&lt;</additional-data><token xmlns='" + ns.FAST + "' token='x'/></success>"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		el, err := xmlframe.Parse(raw, xmlframe.Limits{Depth: 64, Attributes: 64})
		if err != nil || string(el.Space) != ns.SASL2 {
			return
		}
		s := &Stream{dom: &Domain{Name: "example.org"}, link: &link{greeting: &greeting{}}, m: newManaged(Opening{}, true)}
		s.m.login = &login{running: true, sasl2: true, asked: htNone}
		ev, deliver, err := s.translated(el)
		if err != nil || deliver && string(ev.Element.Space) != ns.SASL {
			t.Errorf("%s\nbecame %s, %v", raw, ev.Element.Raw, err)
		}
	})
}
