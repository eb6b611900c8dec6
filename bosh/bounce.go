package bosh

import (
	"stanzagate/internal/ns"
	"stanzagate/internal/xmlframe"
)

// bounce tells senders that their stanzas will not be delivered (XBOSH-020).
func (s *session) bounce(b *bounce) {
	f := s.feedOf(b.stream)
	if f == nil {
		return
	}
	out := getBuffer(256 * len(b.els))
	defer putBuffer(out)
	for i := range b.els {
		// It came from a server and was checked then; in itself it is complete.
		if el, err := xmlframe.Parse(b.els[i].raw, xmlframe.Limits{}); err == nil {
			out.b = appendBounce(out.b, el)
		}
	}
	if len(out.b) == 0 {
		return
	}
	if err := f.stream.Send(out.b); err != nil {
		f.fail(err)
	}
}

// appendBounce appends the error that RFC 6120 §8.3 wants for a stanza. Presence is dropped, and errors and results are
// never answered.
func appendBounce(dst []byte, el xmlframe.Element) []byte {
	if !el.IsStanza() {
		return dst
	}
	typ, _ := el.Attr("", "type")
	name, class, condition := string(el.Local), "", ""
	switch {
	case typ == "error":
	case name == "message":
		class, condition = "wait", "recipient-unavailable"
	case name == "iq" && (typ == "get" || typ == "set"):
		class, condition = "cancel", "service-unavailable"
	}
	if condition == "" {
		return dst
	}
	dst = append(append(dst, '<'), name...)
	dst = append(dst, " type='error'"...)
	if from, ok := el.Attr("", "from"); ok {
		dst = appendAttr(dst, "to", from)
	}
	if id, ok := el.Attr("", "id"); ok {
		dst = appendAttr(dst, "id", id)
	}
	dst = appendAttr(append(dst, "><error"...), "type", class)
	dst = append(append(append(dst, "><"...), condition...), " xmlns='"+ns.Stanzas+"'/></error></"...)
	return append(append(dst, name...), '>')
}
