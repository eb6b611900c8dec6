package bosh

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// peekBytes is how much of a body that is too large is read to find out whose it is.
const peekBytes = 8 << 10

// errBroken means that the request's body did not arrive in full, or not in time. There is nothing to answer: the browser
// sends the request again (BOSH-017).
var errBroken = errors.New("request body is incomplete")

// newRequest returns an empty request.
func newRequest() *request { return requests.Get().(*request) }

// recycle takes a request back. Nothing may refer to it or its payload any more.
func (r *request) recycle() {
	putBuffer(r.buffer)
	payload := r.payload
	if cap(payload) > 64 {
		payload = nil
	}
	clear(payload)
	*r = request{payload: payload[:0]}
	requests.Put(r)
}

// receive reads and decodes the body of a POST. Its errors are errBroken, errTooLarge, or wrap a *bodyError; with the last
// two the request says which session it is for, as far as that can be told.
func (h *Handler) receive(r *http.Request, control *http.ResponseController, req *request) error {
	if r.ContentLength != 0 {
		// Connections without deadlines (in tests) have no slow browsers either. On an error the deadline stays, since
		// net/http reads some of what is left; it sets one of its own before the next request.
		_ = control.SetReadDeadline(time.Now().Add(h.cfg.BodyTimeout))
	}
	c, err := requestCoding(r.Header["Content-Encoding"])
	if err != nil {
		return &bodyError{badRequest, err}
	}
	req.buffer, err = h.read(r, control)
	if err == nil && c != identity {
		err = req.decompress(c, h.cfg.BodyBytes)
	}
	switch {
	case errors.Is(err, errTooLarge):
		_ = h.decode(req, (*decoder).decodeHeader) // what can be read of it
		return errTooLarge
	case err != nil:
		return err
	}
	return h.decode(req, (*decoder).decode)
}

// read reads the body to its end. What it returns with errTooLarge is the beginning.
func (h *Handler) read(r *http.Request, control *http.ResponseController) (*buffer, error) {
	if r.ContentLength == 0 {
		return nil, nil
	}
	limit := h.cfg.BodyBytes
	tooLarge := r.ContentLength > int64(limit)
	if tooLarge {
		limit = min(limit, peekBytes)
	}
	size := limit
	if r.ContentLength >= 0 {
		size = min(limit, int(r.ContentLength))
	} else {
		size = min(limit, bufferClasses[1])
	}
	in := getBuffer(size + 1)
	for {
		if len(in.b) == cap(in.b) {
			in.b = growBuffer(in.b, limit+1)
		}
		n, err := r.Body.Read(in.b[len(in.b):min(cap(in.b), limit+1)])
		in.b = in.b[:len(in.b)+n]
		switch {
		case len(in.b) > limit || err == nil && tooLarge && len(in.b) == limit:
			return in, errTooLarge
		case err == io.EOF:
			// The end has been seen, so from here on net/http watches whether the browser goes away (BOSH-018). It must
			// not be the deadline that makes it think so.
			_ = control.SetReadDeadline(time.Time{})
			return in, nil
		case err != nil:
			putBuffer(in)
			return nil, errBroken
		}
	}
}

// decompress replaces the buffer by what it decodes to (BOSH-009).
func (r *request) decompress(c coding, limit int) error {
	src := r.buffer
	if src == nil {
		return nil
	}
	out := getBuffer(min(4*len(src.b), limit))
	var err error
	out.b, err = decompress(out.b, src.b, c, limit)
	putBuffer(src)
	r.buffer = out
	if err != nil && !errors.Is(err, errTooLarge) {
		return &bodyError{badRequest, err}
	}
	return err
}

// decode lends a decoder.
func (h *Handler) decode(r *request, how func(*decoder, []byte, *request) error) error {
	d := h.decoders.Get().(*decoder)
	defer h.decoders.Put(d)
	var b []byte
	if r.buffer != nil {
		b = r.buffer.b
	}
	return how(d, b, r)
}
