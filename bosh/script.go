package bosh

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"unicode"
	"unicode/utf8"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmlframe"
)

// Script syntax (XEP-0252): the <body/> is the query of a GET, and the response a call of a function. Its payload need not
// be whole elements: what successive requests have inside their <body/> is one stream of bytes. So it stays as it came
// until its turn to be forwarded, when everything before it is known; fragments puts it together.

// receiveScript decodes the query of a GET.
func (h *Handler) receiveScript(r *http.Request, req *request) error {
	if len(r.URL.RawQuery) > 3*h.cfg.BodyBytes {
		return errTooLarge
	}
	// XEP-0252 §2.2: octets are escaped as in any URI, so a plus sign is one.
	b, err := url.PathUnescape(r.URL.RawQuery)
	switch {
	case err != nil:
		return &bodyError{badRequest, err}
	case len(b) > h.cfg.BodyBytes:
		return errTooLarge
	}
	req.buffer = &buffer{[]byte(b)}
	return h.decode(req, (*decoder).decodeScript)
}

// decodeScript is decode for a <body/> whose content is part of a stream of bytes.
func (d *decoder) decodeScript(b []byte, r *request) error {
	r.bytes = len(b)
	d.scan.Reset()
	content, err := d.header(b, r)
	if err != nil {
		return err
	}
	tag := b[:len(b)-len(content)]
	content = bytes.TrimRight(content, " \t\r\n")
	if bytes.HasSuffix(tag, []byte("/>")) {
		if len(content) > 0 {
			return malformed("bytes behind the body")
		}
		return nil
	}
	end := bytes.LastIndex(content, []byte("</"))
	if end < 0 || !closes(content[end:], tag) {
		return malformed("body does not end")
	}
	if end > 0 {
		r.payload = append(r.payload, payload{frame: xmlframe.Element{Raw: content[:end]}})
	}
	return nil
}

// closes reports whether an end tag fits a start tag.
func closes(end, start []byte) bool {
	if end[len(end)-1] != '>' {
		return false
	}
	start = start[bytes.IndexByte(start, '<')+1:]
	if bytes.HasPrefix(start, []byte("?")) { // XML declaration
		start = start[bytes.IndexByte(start, '<')+1:]
	}
	name := start[:bytes.IndexAny(start, " \t\r\n/>")]
	return bytes.Equal(bytes.TrimRight(end[2:len(end)-1], " \t\r\n"), name)
}

// fragments puts the elements of a stream together. The zero value stands at the stream's beginning.
type fragments struct {
	scan *xmlframe.Scanner
	left []byte // begun, not complete; the scanner refuses it when it grows beyond the limit of an element
}

// each adds the elements that are complete with these payloads to a draft.
func (f *fragments) each(payloads []payload, d *draft) {
	if f.scan == nil {
		f.scan = xmlframe.NewScanner(xmlframe.Rooted, d.feed.s.h.cfg.Limits)
		f.left = append(f.left, "<body xmlns='"+ns.BOSH+"'>"...)
	}
	for i := range payloads {
		f.left = append(f.left, payloads[i].frame.Raw...)
	}
	used := 0
	for {
		tok, n, err := f.scan.Next(f.left[used:])
		used += n
		switch {
		case err != nil:
			d.refused = string(streamCondition(err))
			return
		case tok.Kind == xmlframe.End:
			d.refused = string(xmlframe.NotWellFormed) // </body> inside of a body
			return
		case tok.Kind == xmlframe.More:
			f.left = append(f.left[:0], f.left[used:]...)
			return
		case tok.Kind == xmlframe.Child:
			p := admissible(tok.Element)
			if !d.add(&p) {
				return
			}
		}
	}
}

const (
	scriptStart = `_BOSH_("`
	scriptEnd   = `")`
)

// appendScript appends a <body/> as the call that the browser executes (XEP-0252 §2.3, BOSH-174).
func appendScript(dst, body []byte) []byte {
	dst = append(dst, scriptStart...)
	for len(body) > 0 {
		r, n := utf8.DecodeRune(body)
		switch {
		case r == '"', r == '\\':
			dst = append(dst, '\\', byte(r))
		case r == '\n':
			dst = append(dst, `\n`...)
		case r == '\r':
			dst = append(dst, `\r`...)
		case r == '\u2028', r == '\u2029', unicode.Is(unicode.Cf, r):
			dst = appendEscape(dst, r)
		default:
			dst = append(dst, body[:n]...)
		}
		body = body[n:]
	}
	return append(dst, scriptEnd...)
}

// appendEscape appends a character as ECMAScript escapes it: in UTF-16.
func appendEscape(dst []byte, r rune) []byte {
	if r < 0x10000 {
		return fmt.Appendf(dst, `\u%04x`, r)
	}
	r -= 0x10000
	return fmt.Appendf(dst, `\u%04x\u%04x`, 0xD800+r>>10, 0xDC00+r&0x3FF)
}
