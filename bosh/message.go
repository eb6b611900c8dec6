package bosh

import (
	"time"

	"stanzagate/internal/xmlframe"
)

// request is a decoded <body/> of a browser (XEP-0124 §6, XEP-0206). Attribute syntax has been checked by the decoder:
// numbers beyond their type's range are clipped to it, a content or xml:lang that is not acceptable is left out.
//
// Creation requests stay as they are for the life of the machine. Any other request, and its payload, is used again by the
// shell once its exchange is answered with a response that is neither terminal nor type='error', all of its forwardings
// have been written, and so the machine needs nothing of it but copies.
type request struct {
	rid    uint64 // 1 … 2^53-1
	sid    string
	hasAck bool
	ack    uint64
	key    string
	newkey string

	hasPause  bool
	pause     int // seconds
	terminate bool
	condition string // of a terminate, for the log (BOSH-127)
	restart   bool   // XEP-0206 §5
	stream    string

	to, from, route, lang, content string

	hasVer      bool
	ver         version
	xmppVersion string
	hasWait     bool
	wait        int // seconds
	hasHold     bool
	hold        int

	secure bool // it came over TLS (BOSH-177)
	script bool // XEP-0252

	payload []payload
	bytes   int    // of the body, what it counts against queue-bytes
	hash    uint64 // of the body, for the log (BOSH-140)

	// The shell's own.
	hasSID bool    // the attribute is there (BOSH-033)
	sidRaw []byte  // its value; sid is set once the session is found
	buffer *buffer // has the bytes of the payload
}

// payload is one first-level element of a request.
type payload struct {
	frame  xmlframe.Element // as received, in a buffer that belongs to the request
	stanza bool             // message, presence or iq for the stream (also in the httpbind namespace: XBOSH-004)
}

// version is a protocol version: two integers (BOSH-041).
type version struct{ major, minor int }

// less compares numerically: 1.6 is less than 1.10.
func (v version) less(o version) bool {
	return v.major < o.major || v.major == o.major && v.minor < o.minor
}

// response is what becomes a <body/>, or for a legacy client an HTTP status.
type response struct {
	payload []element // in one stream's order; the slice must not be changed
	prefix  bool      // declare xmlns:stream (XBOSH-002)
	stream  string    // "" to leave out

	terminate bool
	condition string // "" for a plain terminate
	uri       string // of see-other-uri
	failed    bool   // type='error': recoverable (XEP-0124 §17.3)
	status    int    // a legacy client gets this HTTP status in place of the body; 0: 200 with the body

	content string // Content-Type; "" for the default. On every response of the session (BOSH-046)

	hasAck bool
	ack    uint64
	report uint64        // 0 to leave out
	since  time.Duration // time attribute, with report

	created *creation // the creation response's attributes, nil in all others

	// Sent with the first features, whichever response carries them; "" to leave out.
	from, authID, xmppVersion string
}

// creation is what only the creation response says (XEP-0124 §7.2).
type creation struct {
	sid        string
	wait       time.Duration
	inactivity time.Duration
	polling    time.Duration
	maxpause   time.Duration // 0 to leave out
	requests   int
	hold       int
	hasVer     bool // false for legacy clients: leave ver out
	ver        version
	secure     bool
}
