package bosh

import (
	"bytes"
	"strconv"
	"time"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmlframe"
)

// This is the only place where a <body/> is made. What it writes is what clients that search for text expect too: no XML
// declaration (BOSH-031), the prefixes xmpp and stream, single quotes as in the examples of the specifications, no white
// space that is not needed, and a namespace declaration on every payload.

const (
	bodyStart  = "<body xmlns='" + ns.BOSH + "'"
	bodyEnd    = "</body>"
	codings    = "deflate,gzip" // of requests (BOSH-009); what decompress knows
	maxShort   = 65535          // xs:unsignedShort
	prefixXMPP = " xmlns:xmpp='" + ns.XBOSH + "'"
	// XBOSH-002: old clients look for the prefix itself.
	prefixStream = " xmlns:stream='" + ns.Stream + "'"
)

// bodyScope is what a <body/> of ours declares for its payload. Elements are mended for it before they reach the machine.
// lang is what the browser assumes, which is the session's: XEP-0124 §7.1 makes it the default of all that is sent in it
// (XBOSH-022).
func bodyScope(lang string) *xmlframe.Scope {
	if lang == "" {
		return plainScope
	}
	return &xmlframe.Scope{Default: ns.BOSH, Lang: lang}
}

// streamScope is bodyScope of a <body/> that declares the prefix stream (XBOSH-002).
func streamScope(lang string) *xmlframe.Scope {
	if lang == "" {
		return plainStreamScope
	}
	return &xmlframe.Scope{Default: ns.BOSH, Lang: lang, Prefixes: plainStreamScope.Prefixes}
}

// Shared, as Scopes are immutable and most sessions name no language.
var (
	plainScope       = &xmlframe.Scope{Default: ns.BOSH}
	plainStreamScope = &xmlframe.Scope{Default: ns.BOSH, Prefixes: []xmlframe.Prefix{{Name: "stream", Space: ns.Stream}}}
)

// appendBody appends the <body/> of a response.
func appendBody(dst []byte, r *response) []byte {
	dst = append(dst, bodyStart...)
	if r.created != nil {
		dst = appendCreation(dst, r.created)
	}
	if r.xmppVersion != "" || r.created != nil {
		dst = append(dst, prefixXMPP...)
	}
	if r.created != nil {
		dst = append(dst, " xmpp:restartlogic='true'"...) // XBOSH-010
	}
	if r.xmppVersion != "" {
		dst = appendAttr(dst, "xmpp:version", r.xmppVersion) // XBOSH-009
	}
	if r.authID != "" {
		dst = appendAttr(dst, "authid", r.authID) // XBOSH-011
	}
	if r.from != "" {
		dst = appendAttr(dst, "from", r.from) // BOSH-061
	}
	if r.prefix {
		dst = append(dst, prefixStream...)
	}
	dst = appendSession(dst, r)
	if len(r.payload) == 0 && r.uri == "" {
		return append(dst, "/>"...)
	}
	dst = append(dst, '>')
	for i := range r.payload {
		dst = append(dst, r.payload[i].raw...)
	}
	if r.uri != "" {
		// BOSH-166: in the namespace of <body/>.
		dst = append(dst, "<uri>"...)
		dst = xmlframe.AppendEscaped(dst, r.uri)
		dst = append(dst, "</uri>"...)
	}
	return append(dst, bodyEnd...)
}

// appendSession appends the attributes that any response may have.
func appendSession(dst []byte, r *response) []byte {
	if r.stream != "" {
		dst = appendAttr(dst, "stream", r.stream)
	}
	if r.hasAck {
		dst = appendNumber(dst, "ack", r.ack)
	}
	if r.report != 0 {
		dst = appendNumber(dst, "report", r.report)
		// BOSH-091: the type of `time` ends at 65535 ms.
		dst = appendNumber(dst, "time", uint64(min(max(r.since/time.Millisecond, 0), maxShort)))
	}
	switch {
	case r.terminate:
		dst = append(dst, " type='terminate'"...)
		if r.condition != "" {
			dst = appendAttr(dst, "condition", r.condition)
		}
	case r.failed:
		dst = append(dst, " type='error'"...) // XEP-0124 §17.3
	}
	return dst
}

// appendCreation appends what only the creation response says (XEP-0124 §7.2). There is no `charsets`: requests are UTF-8.
func appendCreation(dst []byte, c *creation) []byte {
	dst = appendAttr(dst, "sid", c.sid)
	dst = appendSeconds(dst, "wait", c.wait)
	dst = appendNumber(dst, "requests", uint64(c.requests))
	dst = appendSeconds(dst, "inactivity", c.inactivity)
	dst = appendSeconds(dst, "polling", c.polling)
	dst = appendNumber(dst, "hold", uint64(c.hold))
	if c.maxpause > 0 {
		dst = appendSeconds(dst, "maxpause", c.maxpause)
	}
	if c.hasVer {
		dst = append(dst, " ver='"...)
		dst = strconv.AppendInt(dst, int64(c.ver.major), 10)
		dst = append(dst, '.')
		dst = strconv.AppendInt(dst, int64(c.ver.minor), 10)
		dst = append(dst, '\'')
	}
	return append(dst, " accept='"+codings+"'"...)
}

func appendAttr(dst []byte, name, value string) []byte {
	dst = append(dst, ' ')
	dst = append(dst, name...)
	dst = append(dst, '=', '\'')
	return append(xmlframe.AppendEscaped(dst, value), '\'')
}

func appendNumber(dst []byte, name string, n uint64) []byte {
	dst = append(dst, ' ')
	dst = append(dst, name...)
	dst = append(dst, '=', '\'')
	return append(strconv.AppendUint(dst, n, 10), '\'')
}

func appendSeconds(dst []byte, name string, d time.Duration) []byte {
	return appendNumber(dst, name, uint64(min(max(d/time.Second, 0), maxSeconds)))
}

// appendStreamError appends the stream error that tells a browser why its stream is ended by us (XBOSH-018).
func appendStreamError(dst []byte, condition string) []byte {
	dst = append(dst, "<stream:error><"...)
	dst = append(dst, condition...)
	return append(dst, " xmlns='"+ns.Streams+"'/></stream:error>"...)
}

// prefixed gives the element at b[from:], which is in the streams namespace, the prefix stream if the server wrote it
// another way (XBOSH-002). Its content is not touched: a default namespace that it declares stays declared.
func prefixed(b []byte, from int) []byte {
	const prefix = "stream:"
	el := b[from:]
	tag := el[:bytes.IndexByte(el, '>')+1]
	if len(tag) == 0 || bytes.HasPrefix(el[1:], []byte(prefix)) || bytes.Contains(tag, []byte("xmlns:stream")) {
		return b
	}
	name := tag[1:bytes.IndexAny(tag, " \t\r\n/>")]
	_, local, qualified := bytes.Cut(name, []byte{':'})
	if !qualified {
		local = name
	}
	rest, end := el[1+len(name):], ""
	if !bytes.HasSuffix(el, []byte("/>")) || bytes.LastIndex(el, []byte("</")) > len(tag) {
		rest = rest[:bytes.LastIndex(rest, []byte("</"))]
		end = "</" + prefix + string(local) + ">"
	}
	renamed := make([]byte, 0, len(b)+2*len(prefix))
	renamed = append(renamed, b[:from]...)
	renamed = append(append(append(renamed, '<'), prefix...), local...)
	renamed = append(renamed, rest...)
	return append(renamed, end...)
}
