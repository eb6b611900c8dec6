package bosh

import (
	"bytes"
	"errors"
	"hash/maphash"
	"strings"
	"sync"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmlframe"
)

// maxRID is the largest request id that every client can count to (BOSH-130).
const maxRID = 1<<53 - 1

// bodyError is why a <body/> cannot be served.
type bodyError struct {
	condition string // XEP-0124 §17.2
	cause     error  // for the log; never shown
}

func (e *bodyError) Error() string { return e.condition + ": " + e.cause.Error() }
func (e *bodyError) Unwrap() error { return e.cause }

func malformed(reason string) error { return &bodyError{badRequest, errors.New(reason)} }

// decoder reads <body/> elements. Pooled by Handler; not safe for concurrent use.
type decoder struct {
	scan *xmlframe.Scanner
}

func newDecoder(limits xmlframe.Limits) *decoder {
	return &decoder{scan: xmlframe.NewScanner(xmlframe.Rooted, limits)}
}

// hashSeed makes hashes of bodies comparable on this replica.
var hashSeed = maphash.MakeSeed()

var requests = sync.Pool{New: func() any { return new(request) }}

// decode reads the one <body/> that is in b. r refers to b afterwards. Its errors are *bodyError; r.sid, if it is not
// empty, then still says which session sent this.
func (d *decoder) decode(b []byte, r *request) error {
	r.bytes, r.hash = len(b), maphash.Bytes(hashSeed, b)
	d.scan.Reset()
	rest, err := d.header(b, r)
	if err != nil {
		return err
	}
	for {
		tok, n, err := d.scan.Next(rest)
		if err != nil {
			return faulty(err)
		}
		rest = rest[n:]
		switch tok.Kind {
		case xmlframe.Child:
			r.payload = append(r.payload, admissible(tok.Element))
		case xmlframe.End:
			if len(bytes.TrimLeft(rest, " \t\r\n")) > 0 {
				return malformed("bytes behind the body") // BOSH-021: one root
			}
			return nil
		default:
			return faulty(xmlframe.ErrTruncated) // BOSH-022: no partial elements
		}
	}
}

// header reads the start tag of <body/> and returns what follows it.
func (d *decoder) header(b []byte, r *request) ([]byte, error) {
	tok, n, err := d.scan.Next(b)
	switch {
	case err != nil:
		return nil, faulty(err)
	case tok.Kind != xmlframe.Header:
		return nil, faulty(xmlframe.ErrTruncated)
	case !tok.Element.Is(ns.BOSH, "body"):
		return nil, malformed("root is not a body") // BOSH-021
	}
	return b[n:], r.attributes(tok.Element)
}

// decodeHeader reads as much of a <body/> that is too large as names its session.
func (d *decoder) decodeHeader(b []byte, r *request) error {
	d.scan.Reset()
	_, err := d.header(b, r)
	return err
}

// faulty gives a fault in the XML its condition: what exceeds a limit of ours is no mistake of form (BOSH-015, BOSH-022).
func faulty(err error) error {
	var x *xmlframe.Error
	if errors.As(err, &x) && x.Condition == xmlframe.PolicyViolation {
		return &bodyError{policyViolation, err}
	}
	return &bodyError{badRequest, err}
}

// streamCondition is the RFC 6120 §4.9.3 condition of a fault in the XML.
func streamCondition(err error) xmlframe.Condition {
	var x *xmlframe.Error
	if errors.As(err, &x) {
		return x.Condition
	}
	return xmlframe.NotWellFormed
}

// admissible makes a payload of an element. XBOSH-004: stanzas that declare no namespace of their own are meant to be in
// jabber:client, with their children.
func admissible(el xmlframe.Element) payload {
	if string(el.Space) == ns.BOSH {
		switch string(el.Local) {
		case "message", "presence", "iq":
			el = el.Rebase(ns.Client)
		}
	}
	return payload{frame: el, stanza: el.IsStanza()}
}

// attributes reads the attributes of <body/>. BOSH-028: others are ignored. Those of other namespaces are told apart by
// their namespace, whatever the prefix (XBOSH-007). The first mistake is returned, but all attributes are read, so that
// the session is known.
func (r *request) attributes(el xmlframe.Element) error {
	var wrong error
	for a := range el.Attributes() {
		var err error
		switch {
		case len(a.Prefix) == 0:
			err = r.plain(a)
		case a.Is(ns.XBOSH, "restart"):
			r.restart, err = boolean(a.Value())
		case a.Is(ns.XBOSH, "version"):
			r.xmppVersion = a.Value()
		case a.Is(ns.XML, "lang"):
			r.lang = language(a.Value())
		}
		if wrong == nil {
			wrong = err
		}
	}
	if wrong == nil && r.rid == 0 {
		return malformed("rid is missing") // BOSH-032
	}
	return wrong
}

// plain reads an attribute without namespace.
func (r *request) plain(a xmlframe.Attribute) (err error) {
	switch string(a.Local) {
	case "rid":
		if r.rid, err = number(a); r.rid == 0 || r.rid > maxRID {
			err = malformed("rid is not a request id")
		}
	case "sid":
		r.hasSID, r.sidRaw = true, a.Bytes()
	case "ack":
		r.ack, err = number(a)
		r.hasAck = err == nil
	case "key":
		r.key = a.Value()
	case "newkey":
		r.newkey = a.Value()
	case "pause":
		r.pause, err = small(a)
		r.hasPause = err == nil
	case "wait":
		r.wait, err = small(a)
		r.hasWait = err == nil
	case "hold":
		r.hold, err = small(a)
		r.hasHold = err == nil
	case "ver":
		r.ver, err = parseVersion(a.Value())
		r.hasVer = true
	case "type":
		r.terminate = a.Value() == "terminate"
	case "condition":
		r.condition = a.Value()
	case "stream":
		r.stream = a.Value()
	case "to":
		r.to = a.Value()
	case "from":
		r.from = a.Value()
	case "route":
		r.route = a.Value()
	case "content":
		r.content = contentType(a.Value())
	}
	return err
}

// number reads an unsigned integer (XML Schema: leading zeros and white space around it are legal). What is beyond 64 bits
// is beyond every limit, and clipped.
func number(a xmlframe.Attribute) (uint64, error) {
	digits := bytes.Trim(a.Bytes(), " \t\r\n")
	if len(digits) == 0 {
		return 0, malformed("a number is empty")
	}
	const most = 1<<64 - 1
	var n uint64
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, malformed("a number has other characters than digits")
		}
		if d := uint64(c - '0'); n > (most-d)/10 {
			n = most
		} else {
			n = 10*n + d
		}
	}
	return n, nil
}

// small reads a number of seconds or requests. What is larger than the schema allows is clipped, not refused: it is above
// every ceiling.
func small(a xmlframe.Attribute) (int, error) {
	n, err := number(a)
	return int(min(n, 1<<31-1)), err
}

// boolean reads an xs:boolean (XBOSH-016).
func boolean(s string) (bool, error) {
	switch strings.Trim(s, " \t\r\n") {
	case "true", "1":
		return true, nil
	case "false", "0":
		return false, nil
	}
	return false, malformed("a boolean is neither true nor false")
}

// parseVersion reads major.minor (BOSH-041). A major version alone means that the minor one is 0.
func parseVersion(s string) (version, error) {
	major, minor, dotted := strings.Cut(strings.TrimSpace(s), ".")
	if !dotted {
		minor = "0"
	}
	a, okA := versionPart(major)
	b, okB := versionPart(minor)
	if !okA || !okB {
		return version{}, malformed("ver is not a version")
	}
	return version{a, b}, nil
}

func versionPart(s string) (n int, ok bool) {
	if len(s) == 0 || len(s) > 6 {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = 10*n + int(s[i]-'0')
	}
	return n, true
}

const maxLanguageBytes = 64

// language returns a language tag, or "" if it is none (BOSH-040). Only its form is checked (RFC 5646 §2.1).
func language(s string) string {
	if len(s) > maxLanguageBytes {
		return ""
	}
	for part := range strings.SplitSeq(s, "-") {
		if len(part) == 0 || len(part) > 8 {
			return ""
		}
		for i := range len(part) {
			c := part[i] | 0x20
			if (c < 'a' || c > 'z') && (part[i] < '0' || part[i] > '9') {
				return ""
			}
		}
	}
	return s
}
