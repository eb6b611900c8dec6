package upstream

import (
	"strconv"
	"strings"

	"mellium.im/xmpp/jid"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmlframe"
)

// readHeader checks the server's stream header. encrypted says whether it came over TLS.
func readHeader(el xmlframe.Element, domain string, encrypted bool) (Header, error) {
	if !el.Is(ns.Stream, "stream") {
		return Header{}, &fault{"invalid-namespace", "root is not a stream"}
	}
	var h Header
	h.ID, _ = el.Attr("", "id") // UP-025: id, from and to may be absent
	h.From, _ = el.Attr("", "from")
	h.Version, _ = el.Attr("", "version")
	h.Lang, _ = el.Attr(ns.XML, "lang")
	if major(h.Version) < 1 {
		// UP-026: such a server sends no features and knows no SASL.
		return Header{}, &fault{"unsupported-version", "server speaks no XMPP 1.0"}
	}
	if encrypted && h.From != "" {
		if from, err := Normalise(h.From); err != nil || from != domain {
			return Header{}, &fault{"invalid-from", "stream header comes from another domain"} // UP-025
		}
	}
	return h, nil
}

// major returns the major number of an XMPP version (RFC 6120 §4.7.5: numbers, not text); -1 if it is none.
func major(version string) int {
	m, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(m)
	if err != nil {
		return -1
	}
	return n
}

// headerFrom returns the from that our header carries. UP-024: a bare JID of the domain, over an encrypted stream only.
// What a browser claims beyond that is left out, for it to be settled by SASL.
func headerFrom(o Opening, encrypted bool) string {
	if !encrypted || o.From == "" {
		return ""
	}
	j, err := jid.Parse(o.From)
	if err != nil || j.Localpart() == "" || j.Domainpart() != o.Domain {
		return ""
	}
	return j.Bare().String()
}
