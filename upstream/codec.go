package upstream

import (
	"stanzagate/internal/ns"
	"stanzagate/internal/xmlframe"
)

// All XML that this package writes itself is made here; everything else goes through as the bytes it came in.

const (
	closingTag    = "</stream:stream>"
	startTLS      = "<starttls xmlns='" + ns.TLS + "'/>"
	refusedTLS    = "<failure xmlns='" + ns.TLS + "'/>"
	compression   = "http://jabber.org/protocol/compress" // XEP-0138 §4
	refusedZip    = "<failure xmlns='" + compression + "'><setup-failed/></failure>"
	plain         = "PLAIN"
	refusedEnable = "<failed xmlns='" + ns.SM + "'><unexpected-request xmlns='" + ns.Stanzas + "'/></failed>"
)

// appendHeader appends our stream header. UP-023: XML declaration, no id, the prefix stream and nothing else declared.
func appendHeader(b []byte, domain, from, lang string) []byte {
	b = append(b, "<?xml version='1.0'?><stream:stream to='"...)
	b = xmlframe.AppendEscaped(b, domain)
	if from != "" {
		b = append(b, "' from='"...)
		b = xmlframe.AppendEscaped(b, from)
	}
	b = append(b, "' version='1.0'"...)
	if lang != "" {
		b = append(b, " xml:lang='"...)
		b = xmlframe.AppendEscaped(b, lang)
		b = append(b, '\'')
	}
	return append(b, " xmlns='"+ns.Client+"' xmlns:stream='"+ns.Stream+"'>"...)
}

// appendStreamError appends a stream error and the end of the stream (RFC 6120 §4.9.1.1). The condition is one of ours.
func appendStreamError(b []byte, condition string) []byte {
	b = append(b, "<stream:error><"...)
	b = append(b, condition...)
	return append(b, " xmlns='"+ns.Streams+"'/></stream:error>"+closingTag...)
}

// rawStreamError is the body of a StreamError that we make up for the browser.
func rawStreamError(condition string) []byte {
	b := append([]byte("<stream:error><"), condition...)
	return append(b, " xmlns='"+ns.Streams+"'/></stream:error>"...)
}

// appendFailure appends a SASL failure in the namespace of the attempt (RFC 6120 §6.5, XEP-0388 §3.6.2).
func appendFailure(b []byte, attempt xmlframe.Element, condition string) []byte {
	b = append(b, "<failure xmlns='"...)
	b = append(b, attempt.Space...) // one of the two
	b = append(b, "'><"...)
	b = append(b, condition...)
	if string(attempt.Space) == ns.SASL2 {
		b = append(b, " xmlns='"+ns.SASL+"'"...)
	}
	return append(b, "/></failure>"...)
}

// appendTooBig appends the answer to a stanza that the server would not take (XEP-0478 §4): a policy-violation error in
// the name of whom it was sent to.
func appendTooBig(b []byte, el xmlframe.Element) []byte {
	b = append(b, '<')
	b = append(b, el.Local...)
	b = append(b, " xmlns='"+ns.Client+"' type='error'"...)
	if id, ok := el.Attr("", "id"); ok {
		b = append(b, " id='"...)
		b = append(xmlframe.AppendEscaped(b, id), '\'')
	}
	if to, ok := el.Attr("", "to"); ok {
		b = append(b, " from='"...)
		b = append(xmlframe.AppendEscaped(b, to), '\'')
	}
	b = append(b, "><error type='modify'><policy-violation xmlns='"+ns.Stanzas+"'/></error></"...)
	b = append(b, el.Local...)
	return append(b, '>')
}
