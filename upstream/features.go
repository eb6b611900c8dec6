package upstream

import (
	"bytes"
	"strconv"
	"strings"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmlframe"
)

// Namespaces that only features name.
const (
	nsCompressFeature = "http://jabber.org/features/compress"    // XEP-0138 §3
	nsLimits          = "urn:xmpp:stream-limits:0"               // XEP-0478 §3
	nsRegisterFeature = "http://jabber.org/features/iq-register" // XEP-0077 §3.3
	nsRegister        = "jabber:iq:register"
	nsCSI             = "urn:xmpp:csi:0" // XEP-0352 §3
	nsSession         = "urn:ietf:params:xml:ns:xmpp-session"
)

// features is what a <stream:features/> offers, as far as it matters here.
type features struct {
	startTLS    bool
	login       bool // SASL, SASL2 or bind: there is a way on
	register    bool
	maxBytes    int64 // XEP-0478; 0 means not said
	idleSeconds int64
	unknownNeed bool // a feature that we do not know is required
}

func isFeatures(el xmlframe.Element) bool { return el.Is(ns.Stream, "features") }

// readFeatures reads them as a set: order and unknown children do not matter (UP-027).
func readFeatures(el xmlframe.Element) features {
	var f features
	for c := range el.Children() {
		switch space := string(c.Space); {
		case c.Is(ns.TLS, "starttls"):
			f.startTLS = true
		case c.Is(ns.SASL, "mechanisms"), c.Is(ns.SASL2, "authentication"), c.Is(ns.Bind, "bind"):
			f.login = true
		case c.Is(nsRegisterFeature, "register"):
			f.register = true
		case c.Is(nsLimits, "limits"):
			f.maxBytes, f.idleSeconds = readLimits(c)
		case isCompression(c), space == nsSession, space == ns.SM:
		default:
			f.unknownNeed = f.unknownNeed || required(c)
		}
	}
	return f
}

// required reports a <required/> child (RFC 6120 §4.3.2), whatever namespace the feature gives it.
func required(feature xmlframe.Element) bool {
	for c := range feature.Children() {
		if string(c.Local) == "required" {
			return true
		}
	}
	return false
}

func isCompression(el xmlframe.Element) bool {
	return string(el.Local) == "compression" && (string(el.Space) == nsCompressFeature || string(el.Space) == compression)
}

// readLimits reads XEP-0478 §4: what the server takes in one element, and how long it bears silence.
func readLimits(el xmlframe.Element) (maxBytes, idle int64) {
	number := func(c xmlframe.Element) int64 {
		n, err := strconv.ParseInt(strings.TrimSpace(c.Text()), 10, 64)
		if err != nil || n < 0 {
			return 0
		}
		return n
	}
	for c := range el.Children() {
		switch {
		case c.Is(nsLimits, "max-bytes"):
			maxBytes = number(c)
		case c.Is(nsLimits, "idle-seconds"):
			idle = number(c)
		}
	}
	return maxBytes, idle
}

// filterFeatures returns the features as a browser may see them: without starttls and compression (WS-030, XBOSH-005),
// which belong to the hop behind it. All else, the list of mechanisms above all, stays byte for byte: servers hash it
// (UP-098, UP-102).
func filterFeatures(el xmlframe.Element) xmlframe.Element {
	var out []byte
	copied, at := 0, 0
	for c := range el.Children() {
		i := bytes.Index(el.Raw[at:], c.Raw)
		if i < 0 {
			break
		}
		start := at + i
		at = start + len(c.Raw)
		if c.Is(ns.TLS, "starttls") || isCompression(c) {
			out = append(out, el.Raw[copied:start]...)
			copied = at
		}
	}
	if copied == 0 {
		return el
	}
	el.Raw = append(out, el.Raw[copied:]...) // the start tag, and with it all that Element knows, is the same
	return el
}
