package upstream

import (
	"bytes"
	"io"
	"sync"

	"stanzagate/internal/xmlframe"
)

const (
	smallBytes = 512       // what an idle stream keeps
	largeBytes = 16 * 1024 // what a stream borrows while data flows: the size of a TLS record
)

var largePool = sync.Pool{New: func() any { return new([largeBytes]byte) }}

// reader cuts what a server sends into tokens. Idle streams are most streams, so while no element is unfinished it holds
// only the small buffer; it borrows the large one when a read fills what there is, and allocates beyond that up to the
// element limit. Owned by the goroutine that calls Recv.
type reader struct {
	src  io.Reader
	scan *xmlframe.Scanner

	buf    []byte // small, large, or an allocation
	lo, hi int    // buf[lo:hi] is not consumed
	full   bool   // the last read left no room: more is likely waiting
	large  *[largeBytes]byte
	small  [smallBytes]byte
	err    error // of src, reported once the bytes before it are consumed

	// what buffered found ahead of next
	ahead    bool
	token    xmlframe.Token
	tokenErr error
}

func newReader(src io.Reader, limits xmlframe.Limits) *reader {
	r := &reader{src: src, scan: xmlframe.NewScanner(xmlframe.Rooted, limits)}
	r.buf = r.small[:]
	return r
}

// next returns the next token. What it returned before becomes invalid.
func (r *reader) next() (xmlframe.Token, error) {
	for {
		if r.scanned() {
			r.ahead = false
			return r.token, r.tokenErr
		}
		if err := r.fill(); err != nil {
			return xmlframe.Token{}, err
		}
	}
}

// buffered reports whether next would return without reading. What next returned before becomes invalid.
func (r *reader) buffered() bool { return r.scanned() || r.err != nil }

// scanned reports whether a token, or a fault, is in what was read already.
func (r *reader) scanned() bool {
	if r.ahead || r.lo == r.hi {
		return r.ahead
	}
	tok, n, err := r.scan.Next(r.buf[r.lo:r.hi])
	r.lo += n
	r.ahead = err != nil || tok.Kind != xmlframe.More
	r.token, r.tokenErr = tok, err
	return r.ahead
}

// fill reads once, making room first.
func (r *reader) fill() error {
	if r.err != nil {
		return r.err
	}
	if r.lo == r.hi {
		r.lo, r.hi = 0, 0
		if !r.full {
			r.release() // most likely this read waits
		}
	}
	if r.lo > 0 && r.hi == len(r.buf) {
		r.hi = copy(r.buf, r.buf[r.lo:r.hi])
		r.lo = 0
	}
	if r.hi == len(r.buf) || r.full && len(r.buf) < largeBytes {
		r.grow()
	}
	n, err := r.src.Read(r.buf[r.hi:])
	r.hi += n
	r.full = r.hi == len(r.buf)
	if n > 0 {
		r.err = err
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

func (r *reader) grow() {
	old := r.buf[r.lo:r.hi]
	if len(r.buf) < largeBytes {
		r.large = largePool.Get().(*[largeBytes]byte)
		r.buf = r.large[:]
		r.lo, r.hi = 0, copy(r.buf, old)
		return
	}
	// The scanner refuses an element as soon as it is beyond Limits.ElementBytes: that bounds the doubling.
	bigger := make([]byte, 2*len(r.buf))
	n := copy(bigger, old)
	r.giveBack()
	r.buf, r.lo, r.hi = bigger, 0, n
}

// release drops back to the small buffer. Nothing may be unconsumed.
func (r *reader) release() {
	r.giveBack()
	r.buf, r.lo, r.hi = r.small[:], 0, 0
}

func (r *reader) giveBack() {
	if r.large != nil {
		largePool.Put(r.large)
		r.large = nil
	}
}

// drop forgets everything that was read and not consumed (UP-013).
func (r *reader) drop() {
	r.release()
	r.err, r.ahead = nil, false
}

// restart puts the scanner before a new stream header: no namespace of the old stream stays in scope (UP-028).
func (r *reader) restart() { r.scan.Reset() }

// maxPeek bounds how much of a tag name newRoot looks at.
const maxPeek = 4096

// newRoot waits for the next tag and reports whether it opens a new stream: an XML declaration or an element whose local
// name is stream. Anything else still belongs to the stream before the restart.
func (r *reader) newRoot() (bool, error) {
	for {
		b := bytes.TrimLeft(r.buf[r.lo:r.hi], " \t\r\n")
		r.lo = r.hi - len(b) // an XML declaration must be the first thing of the new stream
		if i := bytes.IndexAny(b, " \t\r\n/>?"); len(b) > 1 && (i > 1 || i == 1 && b[1] != '/') {
			name := b[1:i]
			_, local, found := bytes.Cut(name, []byte(":"))
			if !found {
				local = name
			}
			return b[1] == '?' || string(local) == "stream", nil
		}
		if len(b) > 1 && b[1] == '/' {
			return false, nil
		}
		if len(b) > maxPeek {
			return false, nil
		}
		if err := r.fill(); err != nil {
			return false, err
		}
	}
}
