// Package ns holds the XML namespace names that more than one package compares with.
package ns

// Namespace names, each under the specification that defines it.
const (
	Client  = "jabber:client"                        // RFC 6120 §4.8.2
	Stream  = "http://etherx.jabber.org/streams"     // RFC 6120 §4.8.1
	Streams = "urn:ietf:params:xml:ns:xmpp-streams"  // RFC 6120 §4.9.2
	Stanzas = "urn:ietf:params:xml:ns:xmpp-stanzas"  // RFC 6120 §8.3.2
	TLS     = "urn:ietf:params:xml:ns:xmpp-tls"      // RFC 6120 §5.4
	SASL    = "urn:ietf:params:xml:ns:xmpp-sasl"     // RFC 6120 §6.4
	Bind    = "urn:ietf:params:xml:ns:xmpp-bind"     // RFC 6120 §7.4
	Framing = "urn:ietf:params:xml:ns:xmpp-framing"  // RFC 7395 §3.3
	BOSH    = "http://jabber.org/protocol/httpbind"  // XEP-0124 §6
	XBOSH   = "urn:xmpp:xbosh"                       // XEP-0206 §3
	SM      = "urn:xmpp:sm:3"                        // XEP-0198 §3
	SASL2   = "urn:xmpp:sasl:2"                      // XEP-0388 §2
	Bind2   = "urn:xmpp:bind:0"                      // XEP-0386 §2
	FAST    = "urn:xmpp:fast:0"                      // XEP-0484 §2
	SASLCB  = "urn:xmpp:sasl-cb:0"                   // XEP-0440 §3
	XML     = "http://www.w3.org/XML/1998/namespace" // bound to the prefix xml for ever
	XMLNS   = "http://www.w3.org/2000/xmlns/"        // bound to xmlns for ever
)
