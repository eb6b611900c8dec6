//go:build e2e

package e2e

import (
	"encoding/xml"
	"strings"
)

// Namespace names the tests look for.
const (
	nsClient  = "jabber:client"
	nsStreams = "http://etherx.jabber.org/streams"
	nsStrErr  = "urn:ietf:params:xml:ns:xmpp-streams"
	nsSASL    = "urn:ietf:params:xml:ns:xmpp-sasl"
	nsBind    = "urn:ietf:params:xml:ns:xmpp-bind"
	nsSession = "urn:ietf:params:xml:ns:xmpp-session"
	nsSM      = "urn:xmpp:sm:3"
	nsFraming = "urn:ietf:params:xml:ns:xmpp-framing"
	nsBOSH    = "http://jabber.org/protocol/httpbind"
	nsXBOSH   = "urn:xmpp:xbosh"
	nsXML     = "http://www.w3.org/XML/1998/namespace"
)

// node is a parsed element.
type node struct {
	XMLName xml.Name
	Attrs   []xml.Attr `xml:",any,attr"`
	Text    string     `xml:",chardata"`
	Kids    []*node    `xml:",any"`
}

func parseNode(s []byte) (*node, error) {
	n := new(node)
	return n, xml.Unmarshal(s, n)
}

func (n *node) is(space, local string) bool {
	return n != nil && n.XMLName.Space == space && n.XMLName.Local == local
}

// attr returns an attribute without namespace, or with xml: or another namespace when space is given.
func (n *node) attr(local string, space ...string) string {
	want := strings.Join(space, "")
	for _, a := range n.Attrs {
		if a.Name.Local == local && a.Name.Space == want {
			return a.Value
		}
	}
	return ""
}

// kid walks down by local names; nil when one is absent.
func (n *node) kid(path ...string) *node {
	for _, local := range path {
		var next *node
		if n != nil {
			for _, k := range n.Kids {
				if k.XMLName.Local == local {
					next = k
					break
				}
			}
		}
		n = next
	}
	return n
}

func (n *node) String() string {
	if n == nil {
		return "(nothing)"
	}
	var b strings.Builder
	b.WriteString("<" + n.XMLName.Local + " xmlns=" + n.XMLName.Space)
	for _, a := range n.Attrs {
		if a.Name.Local != "xmlns" {
			b.WriteString(" " + a.Name.Local + "=" + a.Value)
		}
	}
	b.WriteString(">")
	for _, k := range n.Kids {
		b.WriteString(k.String())
	}
	if text := strings.TrimSpace(n.Text); len(text) > 200 {
		b.WriteString(text[:200] + "…")
	} else {
		b.WriteString(text)
	}
	return b.String()
}

// escape makes text safe as character data and as an attribute value.
func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder cannot fail
	return b.String()
}
