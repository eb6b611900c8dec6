package upstream

import (
	"bytes"
	"slices"
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
	nsAuthFeature     = "http://jabber.org/features/iq-auth" // XEP-0078 §3
	nsAuth            = "jabber:iq:auth"
	nsSM2             = "urn:xmpp:sm:2"  // XEP-0198 before 1.2
	nsCSI             = "urn:xmpp:csi:0" // XEP-0352 §3
	nsSession         = "urn:ietf:params:xml:ns:xmpp-session"
)

// features is what a <stream:features/> offers, as far as it matters here.
type features struct {
	startTLS    bool
	login       bool  // SASL, SASL2, XEP-0078 or bind: there is a way on
	register    bool  // XEP-0077
	legacy      bool  // XEP-0078
	maxBytes    int64 // XEP-0478; 0 means not said
	idleSeconds int64
	sm          bool // XEP-0198
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
		case c.Is(nsAuthFeature, "auth"):
			f.legacy, f.login = true, true
		case c.Is(nsRegisterFeature, "register"):
			f.register = true
		case c.Is(nsLimits, "limits"):
			f.maxBytes, f.idleSeconds = readLimits(c)
		case c.Is(ns.SM, "sm"):
			f.sm = true
		case isCompression(c), space == nsSession:
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

// policy says what of the features a browser must not see. The list of mechanisms stays as it is otherwise, byte for byte,
// and so do the types of channel binding: servers hash both, and clients compare (UP-098, UP-102; XEP-0474 §6).
type policy struct {
	managed bool // XEP-0198 and SASL2 are the gateway's own business
	noPlain bool // a password in the clear would cross an unprotected hop (UP-051)
	noPlus  bool // ?plus=hide: binding mechanisms and binding types, always both (UP-100)

	translate bool // the list of SASL2 takes the place of that of classic SASL (UP-103)
}

// hides reports whether a feature, or one mechanism in a list of them, is not for the browser.
func (p policy) hides(c xmlframe.Element) bool {
	switch space := string(c.Space); {
	case c.Is(ns.TLS, "starttls"), isCompression(c):
		return true // WS-030, XBOSH-005: they belong to the hop behind
	case space == ns.SM, space == nsSM2, c.Is(ns.SASL2, "authentication"):
		return p.managed
	case c.Is(ns.SASL, "mechanisms"):
		return p.translate
	case c.Is(nsAuthFeature, "auth"):
		return p.noPlain
	case space == ns.SASLCB:
		return p.noPlus
	case string(c.Local) == "mechanism":
		return p.hidesMechanism(strings.TrimSpace(c.Text()))
	}
	return false
}

func (p policy) hidesMechanism(name string) bool {
	return p.noPlain && name == plain || p.noPlus && strings.HasSuffix(name, "-PLUS")
}

func (p policy) offered(mechanisms []string) []string {
	return slices.DeleteFunc(slices.Clone(mechanisms), p.hidesMechanism)
}

// readClassicList returns the mechanisms of classic SASL.
func readClassicList(features xmlframe.Element) []string {
	for c := range features.Children() {
		if c.Is(ns.SASL, "mechanisms") {
			return readMechanisms(c)
		}
	}
	return nil
}

// filter returns the features without what p hides. All else is what the server sent.
func (p policy) filter(el xmlframe.Element) xmlframe.Element {
	c := cutter{raw: el.Raw}
	c.cut(el, 0, p)
	if c.kept == 0 {
		return el
	}
	el.Raw = append(c.out, el.Raw[c.kept:]...) // the start tag, and with it all that Element knows, is the same
	return el
}

// cutter copies raw, leaving parts out.
type cutter struct {
	raw, out []byte
	kept     int // raw up to here is dealt with
}

// cut leaves out the children of el, which begins at base in raw, that p hides; in lists of mechanisms it looks inside.
func (c *cutter) cut(el xmlframe.Element, base int, p policy) {
	pos := 0
	for child := range el.Children() {
		i := bytes.Index(el.Raw[pos:], child.Raw)
		if i < 0 {
			return
		}
		start := base + pos + i
		pos += i + len(child.Raw)
		switch {
		case p.hides(child):
			c.out = append(c.out, c.raw[c.kept:start]...)
			c.kept = base + pos
			if p.translate && child.Is(ns.SASL2, "authentication") {
				c.out = appendClassicList(c.out, p.offered(readMechanisms(child)))
			}
		case child.Is(ns.SASL, "mechanisms"), child.Is(ns.SASL2, "authentication"):
			c.cut(child, start, p)
		}
	}
}
