// Package xmlframe cuts an XML byte stream into its first-level elements without copying or re-encoding them.
//
// It is the only XML scanner on the way of a stanza. It finds where the root's start tag, each first-level element and
// the root's end tag begin and end; checks on the way that they are XML that XMPP allows (RFC 6120 §11: no comments,
// processing instructions, DTDs or entity references beyond the five; namespaces well-formed; UTF-8) and within Limits;
// and, when an element changes transport, mends what it inherited from its old root (AppendTo).
//
// A root is a <stream:stream/> header (upstream), a <body/> (BOSH), or nothing at all (a WebSocket message is one
// element that stands alone).
//
// Vocabulary: an element is a first-level child of the root; a stanza is an element named message, presence or iq in
// jabber:client.
package xmlframe
