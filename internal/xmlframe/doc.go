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
// jabber:client; a token is what Next returns.
//
// # How it works
//
// A machine goes through one token byte by byte and can stop behind any of them (machine.go, starttag.go, attributes.go,
// name.go, reference.go). It keeps offsets, never bytes, so the input may lie elsewhere when it goes on. Where a start tag
// ends it resolves its namespaces (namespace.go, bindings.go, duplicate.go). The Scanner around it (scanner.go, prolog.go)
// knows what stands between tokens. A machine is borrowed from a pool while a token is unfinished; an idle Scanner has
// none. Nothing recurses and nothing is allocated for an element, except to decode a namespace name that has references
// in it, or where there are very many declarations.
//
// # What is read how
//
//   - XML is that of XML 1.0 fifth edition and Namespaces in XML 1.0 third edition, version numbers 1.x.
//   - A fault has the condition of RFC 6120 §4.9.3. All that XML or XML Names forbid is not-well-formed, an undeclared
//     prefix too (§11.3); bad-namespace-prefix is left for those who bind or use xml and xmlns against their meaning.
//     restricted-xml is for what is XML, but forbidden by §11.1; a document type declaration has it wherever it stands.
//   - Text directly in a root is refused, white space passed over, whatever its amount (BOSH-024, RFC 6120 §4.6.1).
//   - A byte order mark is accepted in front of a root, because browsers and proxies put it there (BOSH-029), and refused
//     in front of an element that stands alone (WS-013). Servers may not send one, but it does no harm (RFC 6120 §11.6).
//   - No language is not a language: an element that inherits no xml:lang is not given one when it moves.
package xmlframe
