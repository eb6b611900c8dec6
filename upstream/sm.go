package upstream

import (
	"strconv"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmlframe"
)

// Stream management by the gateway (XEP-0198 1.6.3), on managed streams. The counters of what was sent and received belong
// to the stream's owner, who stores them; here is what goes over the wire, and the server's claims are checked.

// smPhase is how far stream management has come on a managed stream.
type smPhase uint8

const (
	smOff       smPhase = iota // not offered, or nothing asked yet
	smRequested                // <enable/> has been sent, right behind the bind request
	smRefused                  // the bind has failed: <failed/> is to come and means nothing
	smAcks                     // the server acknowledges, and does not keep the session
	smResumable                // it does both
)

// management is the XEP-0198 state of a managed stream. Guarded by Stream.mu.
type management struct {
	offered bool
	phase   smPhase
	id      string // previd of a resumption
	max     uint32 // seconds that the server keeps the session; 0 if it does not say
	where   string // location, for reconnecting; "" for none

	// UP-059: both count modulo 2³².
	sent  uint32 // stanzas that may have been sent since <enable/>; never less than were
	acked uint32 // highest h of the server
	told  uint32 // highest h that we gave
}

// counting reports whether stanzas count in both directions.
func (m *management) counting() bool { return m.phase == smAcks || m.phase == smResumable }

// asked reports whether stanzas that are sent count: <enable/> is out, or answered.
func (m *management) asked() bool { return m.phase == smRequested || m.counting() }

// notAfter reports whether a comes at or before b, modulo 2³².
func notAfter(a, b uint32) bool { return int32(b-a) >= 0 }

// handled takes the server's h. UP-062: it cannot have handled more than there was.
func (m *management) handled(h uint32) error {
	if !notAfter(h, m.sent) {
		return &tooHigh{h: h, sent: m.sent}
	}
	if notAfter(m.acked, h) {
		m.acked = h
	}
	return nil
}

// tooHigh is an h beyond what was sent (XEP-0198 §6).
type tooHigh struct{ h, sent uint32 }

func (t *tooHigh) Error() string { return "server acknowledges stanzas that were never sent" }

// appendTooHigh appends the stream error for it.
func appendTooHigh(b []byte, t *tooHigh) []byte {
	b = append(b, "<stream:error><undefined-condition xmlns='"+ns.Streams+"'/><handled-count-too-high xmlns='"+ns.SM+"' h='"...)
	b = strconv.AppendUint(b, uint64(t.h), 10)
	b = append(b, "' send-count='"...)
	b = strconv.AppendUint(b, uint64(t.sent), 10)
	return append(b, "'/></stream:error>"+closingTag...)
}

// appendEnable appends <enable/>. max is left out if it is 0.
func appendEnable(b []byte, resume bool, max uint32) []byte {
	b = append(b, "<enable xmlns='"+ns.SM+"'"...)
	if resume {
		b = append(b, " resume='true'"...)
		if max > 0 {
			b = append(b, " max='"...)
			b = append(strconv.AppendUint(b, uint64(max), 10), '\'')
		}
	}
	return append(b, "/>"...)
}

func appendAck(b []byte, h uint32) []byte {
	b = append(b, "<a xmlns='"+ns.SM+"' h='"...)
	b = strconv.AppendUint(b, uint64(h), 10)
	return append(b, "'/>"...)
}

func appendResume(b []byte, id string, h uint32) []byte {
	b = append(b, "<resume xmlns='"+ns.SM+"' previd='"...)
	b = xmlframe.AppendEscaped(b, id)
	b = append(b, "' h='"...)
	b = strconv.AppendUint(b, uint64(h), 10)
	return append(b, "'/>"...)
}

const ackRequest = "<r xmlns='" + ns.SM + "'/>"

var errBadCount = &fault{"bad-format", "attribute h is not a counter"}

// readCount reads an h attribute.
func readCount(el xmlframe.Element) (uint32, error) {
	s, _ := el.Attr("", "h")
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, errBadCount
	}
	return uint32(n), nil
}

const maxSMID = 4000 // bytes (XEP-0198 §3, UP-056)

// enabled takes <enabled/>. resume says whether we asked for resumption. UP-055: both spellings of an XML boolean count.
func (m *management) enabled(el xmlframe.Element, resume bool) {
	m.phase = smAcks
	m.id, _ = el.Attr("", "id")
	if v, _ := el.Attr("", "resume"); resume && (v == "true" || v == "1") && m.id != "" && len(m.id) <= maxSMID {
		m.phase = smResumable
	}
	if s, ok := el.Attr("", "max"); ok {
		if n, err := strconv.ParseUint(s, 10, 32); err == nil {
			m.max = uint32(n)
		}
	}
	m.where, _ = el.Attr("", "location")
}

// condition returns the first defined condition in a <failed/>, also where a server wraps it in an <error/> (failover
// design §4.3); undefined-condition if there is none.
func failedCondition(el xmlframe.Element) string {
	for c := range el.Children() {
		if string(c.Space) == ns.Stanzas && string(c.Local) != "text" {
			return string(c.Local)
		}
		if string(c.Local) == "error" {
			return failedCondition(c)
		}
	}
	return undefinedCondition
}
