package replica

import (
	"encoding/binary"
	"errors"
	"net/http"
)

// message is the content of a kindRequest.
type message struct {
	to     string // the incarnation that is meant
	insist bool   // also if the owner is fenced, as the browser side cannot ask the store either
	secure bool   // the browser uses TLS

	peer, local string // the browser's address and port, and where it reached its replica; empty if unknown
	host        string // what it asked for
	certificate []byte // that it proved to have, DER; empty for none

	method, path, rawPath, query string
	header                       http.Header
	body                         []byte
}

// answer is the content of a kindAnswer.
type answer struct {
	says says
	held uint64 // microseconds from the request until the answer

	// With saysThis:
	status int
	header http.Header
	body   []byte
}

// says is what an owner says of a request.
type says byte

const (
	saysThis     says = iota // here is the answer
	saysNotMine              // the session is not here
	saysStranger             // this is another process than the one that is meant
	saysFenced               // it may not be served now: others may think that this replica is dead, or too much is handed on
	saysAborted              // the connection to the browser is to be closed without an answer
)

const (
	flagInsist = 1 << iota
	flagSecure
)

func (m *message) append(b []byte) []byte {
	var flags byte
	if m.insist {
		flags |= flagInsist
	}
	if m.secure {
		flags |= flagSecure
	}
	b = append(b, flags)
	for _, s := range []string{m.to, m.peer, m.local, m.host, m.method, m.path, m.rawPath, m.query} {
		b = appendString(b, s)
	}
	b = appendString(b, m.certificate)
	b = appendHeader(b, m.header)
	return append(b, m.body...)
}

// parseMessage takes a message apart. It refers to b.
func parseMessage(b []byte) (*message, error) {
	p, m := parser{b: b}, &message{}
	flags := p.octet()
	m.insist, m.secure = flags&flagInsist != 0, flags&flagSecure != 0
	for _, s := range []*string{&m.to, &m.peer, &m.local, &m.host, &m.method, &m.path, &m.rawPath, &m.query} {
		*s = string(p.string())
	}
	m.certificate = p.string()
	m.header = p.header()
	m.body = p.b
	return m, p.err
}

func (a *answer) append(b []byte) []byte {
	b = append(b, byte(a.says))
	b = binary.AppendUvarint(b, a.held)
	b = binary.AppendUvarint(b, uint64(a.status)) //nolint:gosec // never negative
	b = appendHeader(b, a.header)
	return append(b, a.body...)
}

// parseAnswer takes an answer apart. It refers to b.
func parseAnswer(b []byte) (*answer, error) {
	p, a := parser{b: b}, &answer{}
	a.says = says(p.octet())
	a.held = p.number(maxHeld)
	a.status = int(p.number(999)) //nolint:gosec // bounded
	a.header = p.header()
	a.body = p.b
	if p.err == nil && a.says == saysThis && a.status < http.StatusOK {
		p.err = errMessage
	}
	return a, p.err
}

// maxHeld is longer than anything is held: 2^40 µs are twelve days.
const maxHeld = 1 << 40

func appendString[S ~string | ~[]byte](b []byte, s S) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendHeader(b []byte, h http.Header) []byte {
	n := uint64(0)
	for _, values := range h {
		n += uint64(len(values))
	}
	b = binary.AppendUvarint(b, n)
	for name, values := range h {
		for _, v := range values {
			b = appendString(appendString(b, name), v)
		}
	}
	return b
}

var errMessage = errors.New("relay: malformed message")

// parser takes what the appending functions have made. After an error everything is empty.
type parser struct {
	b   []byte
	err error
}

func (p *parser) fail() { p.b, p.err = nil, errMessage }

func (p *parser) octet() byte {
	if len(p.b) == 0 {
		p.fail()
		return 0
	}
	c := p.b[0]
	p.b = p.b[1:]
	return c
}

// number is at most limit.
func (p *parser) number(limit uint64) uint64 {
	n, size := binary.Uvarint(p.b)
	if size <= 0 || n > limit {
		p.fail()
		return 0
	}
	p.b = p.b[size:]
	return n
}

func (p *parser) string() []byte {
	n := p.number(uint64(len(p.b)))
	if n > uint64(len(p.b)) { // the number itself took some
		p.fail()
		return nil
	}
	s := p.b[:n:n]
	p.b = p.b[n:]
	return s
}

func (p *parser) header() http.Header {
	n := p.number(uint64(len(p.b) / 2)) // a field takes two octets at least
	h := make(http.Header, min(n, 16))
	for range n {
		name, value := string(p.string()), string(p.string())
		if p.err != nil {
			return nil
		}
		h[name] = append(h[name], value)
	}
	return h
}
