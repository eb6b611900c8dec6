package websocket

import (
	"bytes"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmlframe"
)

// All XML that this package writes itself is made here.

const (
	// closeElement is compared byte for byte by Strophe.js (WS-018).
	closeElement = `<close xmlns="` + ns.Framing + `" />`
	defaultLang  = "en"
)

// appendOpen appends an <open/> (RFC 7395 §3.4). WS-018: clients look for "<open " at its beginning.
func appendOpen(b []byte, from, to, id, lang string) []byte {
	b = append(b, `<open xmlns="`+ns.Framing+`" from="`...)
	b = xmlframe.AppendEscaped(b, from)
	if to != "" {
		b = append(b, `" to="`...)
		b = xmlframe.AppendEscaped(b, to)
	}
	b = append(b, `" id="`...)
	b = append(b, id...)
	b = append(b, `" version="1.0" xml:lang="`...)
	b = xmlframe.AppendEscaped(b, lang)
	return append(b, `"/>`...)
}

// appendSeeOther appends a <close/> that names another endpoint (RFC 7395 §3.6.1).
func appendSeeOther(b []byte, uri string) []byte {
	b = append(b, `<close xmlns="`+ns.Framing+`" see-other-uri="`...)
	b = xmlframe.AppendEscaped(b, uri)
	return append(b, `" />`...)
}

// streamError returns a stream error of ours. The condition is one of RFC 6120 §4.9.3.
func streamError(condition string) []byte {
	return []byte(`<stream:error xmlns:stream="` + ns.Stream + `"><` + condition + ` xmlns="` + ns.Streams + `"/></stream:error>`)
}

const (
	streamPrefix  = "stream"
	declareStream = ` xmlns:` + streamPrefix + `="` + ns.Stream + `"`
)

// standalone returns an element of the streams namespace, mended to stand alone. WS-018: with the prefix that clients look
// for, whatever the server chose.
func standalone(el xmlframe.Element) []byte {
	b := el.AppendTo(nil, nil)
	name := tagName(b)
	if bytes.HasPrefix(name, []byte(streamPrefix+":")) {
		return b
	}
	out := append([]byte("<"+streamPrefix+":"), el.Local...)
	out = append(out, declareStream...)
	out = append(out, b[1+len(name):]...)
	if end := "</" + string(name) + ">"; bytes.HasSuffix(out, []byte(end)) {
		out = append(out[:len(out)-len(end)], "</"+streamPrefix+":"...)
		out = append(append(out, el.Local...), '>')
	}
	if _, err := xmlframe.Parse(out, xmlframe.Limits{}); err != nil {
		return b // the server uses our prefix for something else
	}
	return out
}

// standaloneError returns an upstream.StreamError's element such that it stands alone: it may lean on the prefix stream.
func standaloneError(raw []byte) []byte {
	el, err := xmlframe.Parse(raw, xmlframe.Limits{})
	if err != nil {
		name := tagName(raw)
		raw = append(append(append([]byte{'<'}, name...), declareStream...), raw[1+len(name):]...)
		if el, err = xmlframe.Parse(raw, xmlframe.Limits{}); err != nil {
			return streamError("undefined-condition")
		}
	}
	return standalone(el)
}

// tagName returns the qualified name of the element that b begins with.
func tagName(b []byte) []byte {
	n := bytes.IndexAny(b, " \t\r\n/>")
	if n < 1 {
		return nil
	}
	return b[1:n]
}
