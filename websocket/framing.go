package websocket

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"unicode/utf8"

	ws "github.com/coder/websocket"

	"stanzagate/internal/readbuf"
	"stanzagate/internal/xmlframe"
)

// Reasons of our own why next fails.
var (
	errBinary  = errors.New("binary message")
	errTooBig  = errors.New("message is too big")
	errNotUTF8 = errors.New("message is not UTF-8")
	errNothing = errors.New("nothing to read")
)

// verdict is what peek thinks of the next frame.
type verdict uint8

const (
	frameWhole   verdict = iota // here, and simple
	framePartial                // simple, and not all here
	frameOther                  // for the library
)

// frame is a simple frame: final, masked, without extension bits, and within a block.
type frame struct {
	op      byte // first byte
	head    int  // bytes of the header, mask included
	payload int  // bytes of the payload
}

// peek looks at the beginning of b. RFC 6455 §5.2.
func peek(b []byte) (frame, verdict) {
	if len(b) == 0 {
		return frame{}, framePartial
	}
	f := frame{op: b[0], head: 6}
	if f.op != frameText && f.op != framePing && f.op != framePong {
		return f, frameOther
	}
	if len(b) < 2 {
		return f, framePartial
	}
	f.payload = int(b[1] &^ 0x80)
	switch {
	case b[1]&0x80 == 0, f.payload == 127, f.payload == 126 && f.op != frameText:
		// RFC 6455 §5.1: not masked; §5.5: a control frame has no more than 125 bytes.
		return f, frameOther
	case f.payload == 126:
		f.head = 8
		if len(b) < 4 {
			return f, framePartial
		}
		f.payload = int(binary.BigEndian.Uint16(b[2:]))
	}
	switch {
	case f.head+f.payload > readbuf.BlockBytes:
		return f, frameOther
	case len(b) < f.head+f.payload:
		return f, framePartial
	}
	return f, frameWhole
}

// unmask is RFC 6455 §5.3, eight bytes at a time.
func unmask(b []byte, key []byte) {
	k := uint64(binary.LittleEndian.Uint32(key))
	k |= k << 32
	for len(b) >= 32 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^k)
		binary.LittleEndian.PutUint64(b[8:], binary.LittleEndian.Uint64(b[8:])^k)
		binary.LittleEndian.PutUint64(b[16:], binary.LittleEndian.Uint64(b[16:])^k)
		binary.LittleEndian.PutUint64(b[24:], binary.LittleEndian.Uint64(b[24:])^k)
		b = b[32:]
	}
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^k)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= key[i&3]
	}
}

// next returns the next message from the browser, complete and unmasked; it is valid until the following call. Most
// messages are one small frame that was received as a whole: they are taken where they lie. Everything else (fragments,
// compression, big messages, Close, and whatever is illegal) is left to coder/websocket. errNothing means that nothing
// of a message has been received: it is time to wait.
func (s *session) next() ([]byte, error) {
	if s.big != nil {
		giveBack(s.big)
		s.big = nil
	}
	for s.library == nil || s.library.in.Buffered() == 0 { // else the library has begun to read the next frame
		b := s.sock.in.Bytes()
		f, v := peek(b)
		switch v {
		case framePartial:
			if len(b) == 0 {
				return nil, errNothing
			}
			if err := s.sock.fill(); err != nil {
				return nil, err
			}
			continue
		case frameOther:
			return s.nextByLibrary()
		case frameWhole:
		}
		payload := b[f.head : f.head+f.payload]
		unmask(payload, b[f.head-4:f.head])
		s.sock.in.Consume(f.head + f.payload)
		switch f.op {
		case framePing:
			s.sock.out.control(framePong, payload) // RFC 6455 §5.5.3: the same payload; it leaves before we wait again
		case frameText:
			if len(payload) > s.h.cfg.Limits.ElementBytes {
				return nil, errTooBig
			}
			return payload, nil
		}
	}
	return s.nextByLibrary()
}

// nextByLibrary reads a message through coder/websocket, which answers control frames on the way.
func (s *session) nextByLibrary() ([]byte, error) {
	l, err := s.needLibrary()
	if err != nil {
		return nil, err
	}
	kind, r, err := l.Reader(context.Background()) // ends by wake, or with the connection
	if err != nil {
		return nil, err
	}
	if kind != ws.MessageText {
		return nil, errBinary // RFC 7395 §3.2
	}
	s.big = buffers.Get().(*[]byte)
	limit := s.h.cfg.Limits.ElementBytes
	b := *s.big
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):min(cap(b), limit+1)]) // it waits for as much as it is asked for
		b = b[:len(b)+n]
		*s.big = b
		switch {
		case len(b) > limit:
			// WS-020: what else belongs to the message is never held.
			return nil, errTooBig
		case errors.Is(err, io.EOF) && s.sock.rerr != nil:
			return nil, s.sock.rerr // the library takes the end of the connection between two fragments for that of the message
		case errors.Is(err, io.EOF):
			return b, nil
		case err != nil:
			return nil, err
		}
	}
}

// parse returns the element that a message is (RFC 7395 §3.3.3), or the condition of the stream error that it deserves.
// Both are empty for a message of white space only: old clients send it to keep the connection alive (AMB-1).
func (s *session) parse(msg []byte) (el xmlframe.Element, condition string, err error) {
	if len(msg) == 0 || msg[0] != '<' {
		if isSpace(msg) {
			return el, "", nil
		}
		if !utf8.Valid(msg) {
			return el, "", errNotUTF8
		}
		return el, "bad-format", nil // AMB-1
	}
	el, err = xmlframe.Parse(msg, s.h.cfg.Limits)
	if err == nil {
		return el, "", nil
	}
	if !utf8.Valid(msg) {
		return el, "", errNotUTF8 // RFC 6455 §8.1. The scanner lets nothing through that is not UTF-8.
	}
	var fault *xmlframe.Error
	if errors.As(err, &fault) {
		return el, string(fault.Condition), nil
	}
	return el, "not-well-formed", nil // truncated
}

// looksLikeXML reports whether there is a tag behind what does not belong in front of it (WS-013).
func looksLikeXML(msg []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(msg, "\ufeff \t\r\n"), []byte("<"))
}

func isSpace(b []byte) bool {
	for _, c := range b {
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return false
		}
	}
	return true
}
