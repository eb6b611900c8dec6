package upstream

import (
	"bytes"
	"io"
	"time"

	"stanzagate/internal/readbuf"
	"stanzagate/internal/xmlframe"
)

// reader cuts what a server sends into tokens. Owned by the goroutine that calls Recv.
type reader struct {
	scan *xmlframe.Scanner
	in   readbuf.Buffer

	timed bool      // whether since is of interest: it costs a look at the clock
	since time.Time // when the wait began that goes on, or has failed; zero for none

	// what buffered found ahead of next
	ahead    bool
	token    xmlframe.Token
	tokenErr error
}

func newReader(src io.Reader, limits xmlframe.Limits, timed bool) *reader {
	r := &reader{scan: xmlframe.NewScanner(xmlframe.Rooted, limits), timed: timed}
	r.in.Init(src, nil)
	return r
}

// next returns the next token. What it returned before becomes invalid.
func (r *reader) next() (xmlframe.Token, error) {
	if r.ahead {
		r.ahead = false
		return r.token, r.tokenErr
	}
	for {
		if tok, err := r.cut(); err != nil || tok.Kind != xmlframe.More {
			return tok, err
		}
		// The scanner refuses an element as soon as it is beyond Limits.ElementBytes: that bounds the buffer.
		if err := r.fill(); err != nil {
			return xmlframe.Token{}, err
		}
	}
}

// fill waits for more and reads it.
func (r *reader) fill() error {
	if r.timed && r.since.IsZero() {
		r.since = time.Now()
	}
	err := r.in.Fill()
	if err == nil {
		r.since = time.Time{}
	}
	return err
}

// buffered reports whether a token, or a fault, is in what was read already: next would return it without reading. What
// next returned before becomes invalid.
func (r *reader) buffered() bool {
	if r.ahead {
		return true
	}
	if tok, err := r.cut(); err != nil || tok.Kind != xmlframe.More {
		r.ahead, r.token, r.tokenErr = true, tok, err
	}
	return r.ahead
}

// cut takes the next token off what was read, if it is all there.
func (r *reader) cut() (xmlframe.Token, error) {
	if r.in.Len() == 0 {
		return xmlframe.Token{}, nil
	}
	tok, n, err := r.scan.Next(r.in.Bytes())
	r.in.Consume(n)
	return tok, err
}

// restart puts the scanner before a new stream header: no namespace of the old stream stays in scope (UP-028).
func (r *reader) restart() { r.scan.Reset() }

// maxPeek bounds how much of a tag name newRoot looks at.
const maxPeek = 4096

// newRoot waits for the next tag and reports whether it opens a new stream: an XML declaration or an element whose local
// name is stream. Anything else still belongs to the stream before the restart.
func (r *reader) newRoot() (bool, error) {
	for {
		held := r.in.Bytes()
		b := bytes.TrimLeft(held, " \t\r\n")
		r.in.Consume(len(held) - len(b)) // an XML declaration must be the first thing of the new stream
		if i := bytes.IndexAny(b, " \t\r\n/>?"); len(b) > 1 && (i > 1 || i == 1 && b[1] != '/') {
			name := b[1:i]
			_, local, found := bytes.Cut(name, []byte(":"))
			if !found {
				local = name
			}
			return b[1] == '?' || string(local) == "stream", nil
		}
		if len(b) > 1 && b[1] == '/' || len(b) > maxPeek {
			return false, nil
		}
		if err := r.fill(); err != nil {
			return false, err
		}
	}
}
