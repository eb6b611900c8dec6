package bosh

import (
	"bytes"
	"strconv"

	"stanzagate/internal/xmlframe"
)

// Elements of a run carry numbers, separate for each stream and direction and without gaps, so that one lost, doubled or
// out of order shows at once. The machine must treat them as opaque.

var simPadding = bytes.Repeat([]byte("x"), 64<<10)

// simMarkup is <name n='number'>padding</name>.
func simMarkup(name string, n, padding int) []byte {
	raw := make([]byte, 0, 2*len(name)+20+padding)
	raw = append(raw, '<')
	raw = append(raw, name...)
	raw = append(raw, " n='"...)
	raw = strconv.AppendInt(raw, int64(n), 10)
	if padding == 0 {
		return append(raw, "'/>"...)
	}
	raw = append(raw, "'>"...)
	raw = append(raw, simPadding[:padding]...)
	raw = append(raw, "</"...)
	raw = append(raw, name...)
	return append(raw, '>')
}

// simNumber reads an element's number back.
func simNumber(raw []byte) (int, bool) {
	i := bytes.IndexByte(raw, '\'')
	if i < 3 || raw[i-2] != 'n' {
		return 0, false
	}
	n := 0
	for _, c := range raw[i+1:] {
		if c == '\'' {
			return n, true
		}
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return 0, false
}

// simName is the element's name.
func simName(raw []byte) string {
	for i := 1; i < len(raw); i++ {
		if c := raw[i]; c == ' ' || c == '/' || c == '>' {
			return string(raw[1:i])
		}
	}
	return ""
}

// Elements from the server, for the browser.
const (
	simFeatures    = "stream:features"
	simStreamError = "stream:error"
	simSuccess     = "success"
	simBound       = "iq"
	simMessage     = "message"
)

// Elements from the browser, for the server. The CSI element carries no number: it is not a stanza and may be sent again.
const (
	simAuth   = "auth"
	simBind   = "iq"
	simActive = "active"
	simToAll  = "presence" // numbered apart: a copy goes to every stream (BOSH-157)
)

var (
	simClientSpace = []byte("jabber:client")
	simOtherSpace  = []byte("urn:other")
)

// simPayload is one numbered first-level element of a request.
func simPayload(name string, n, padding int) payload {
	stanza := name == simMessage || name == simBind || name == simToAll
	space := simClientSpace
	if !stanza {
		space = simOtherSpace
	}
	return payload{stanza: stanza, frame: xmlframe.Element{Raw: simMarkup(name, n, padding), Space: space, Local: []byte(name)}}
}

func simActivePayload() payload {
	return payload{frame: xmlframe.Element{Raw: []byte("<active/>"), Space: simOtherSpace, Local: []byte(simActive)}}
}
