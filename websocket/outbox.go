package websocket

import (
	"encoding/binary"
	"sync"
	"time"

	"stanzagate/internal/xmlframe"
)

const (
	outboxBytes = 16 << 10 // of a fresh buffer
	keepBytes   = 64 << 10 // a buffer that grew beyond is not kept
)

var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, outboxBytes)
	return &b
}}

// giveBack returns a buffer to the pool.
func giveBack(b *[]byte) {
	if cap(*b) <= keepBytes {
		*b = (*b)[:0]
		buffers.Put(b)
	}
}

// outbox holds frames for the browser until they are written. Lock order: pieces, then mu; wr, then mu. Nothing is written
// to the network under mu or pieces.
type outbox struct {
	bound int // immutable; how much may wait before flush waits too (WS-022)

	pieces   sync.Mutex    // held while the library writes one message in pieces
	wr       sync.Mutex    // held by who writes to the connection
	deadline time.Duration // guarded by wr: the write deadline in force

	mu sync.Mutex
	// guarded by mu
	buf    *[]byte // borrowed; nil when empty
	eager  bool    // whatever the library writes is flushed at once
	sealed bool    // no frames of ours any more: <close/> or a Close frame has been appended (RFC 6455 §5.5.1)
	err    error   // why nothing is taken any more
}

func (o *outbox) bufferLocked() *[]byte {
	if o.buf == nil {
		o.buf = buffers.Get().(*[]byte)
	}
	return o.buf
}

// add appends what the library wrote.
func (o *outbox) add(p []byte) (eager bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return false, o.err
	}
	b := o.bufferLocked()
	*b = append(*b, p...)
	return o.eager, nil
}

// element appends an element as one message, mended to stand alone. It returns the bytes that wait, 0 if the outbox is
// sealed or broken.
func (o *outbox) element(el xmlframe.Element) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sealed || o.err != nil {
		return 0
	}
	b := o.bufferLocked()
	start := len(*b)
	*b = endText(el.AppendTo(beginText(*b), nil), start)
	return len(*b)
}

// text appends messages, each an element that stands alone. It returns as element does.
func (o *outbox) text(messages ...[]byte) int {
	o.pieces.Lock()
	defer o.pieces.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sealed || o.err != nil {
		return 0
	}
	o.textLocked(messages)
	return o.waitingLocked()
}

// library lets coder/websocket append a message, by way of add, with nothing of ours between its pieces. It returns as
// element does.
func (o *outbox) library(write func()) int {
	o.pieces.Lock()
	defer o.pieces.Unlock()
	o.mu.Lock()
	shut := o.sealed || o.err != nil
	o.mu.Unlock()
	if shut {
		return 0
	}
	write()
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.waitingLocked()
}

func (o *outbox) waitingLocked() int {
	if o.buf == nil {
		return 0
	}
	return len(*o.buf)
}

// seal appends the last messages.
func (o *outbox) seal(messages ...[]byte) {
	o.pieces.Lock()
	defer o.pieces.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.sealed && o.err == nil {
		o.textLocked(messages)
	}
	o.sealed = true
}

func (o *outbox) textLocked(messages [][]byte) {
	for _, m := range messages {
		b := o.bufferLocked()
		start := len(*b)
		*b = endText(append(beginText(*b), m...), start)
	}
}

// control appends a control frame.
func (o *outbox) control(op byte, payload []byte) {
	o.pieces.Lock()
	defer o.pieces.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return
	}
	b := o.bufferLocked()
	*b = append(append(*b, op, byte(len(payload))), payload...)
}

// flushAlways makes every later write of the library leave at once: it is about to wait for an answer.
func (o *outbox) flushAlways() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.eager = true
}

// turn reports whether it is the caller's turn to write; then take must follow until it returns nil.
func (o *outbox) turn() bool {
	o.mu.Lock()
	waiting := o.waitingLocked()
	o.mu.Unlock()
	switch {
	case waiting == 0:
		return false
	case o.wr.TryLock():
		return true
	case waiting < o.bound:
		// Who holds wr looks again before it lets go (take).
		return false
	}
	o.wr.Lock()
	return true
}

// take returns what waits. With nil it has ended the turn.
func (o *outbox) take() (*[]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.buf
	o.buf = nil
	if b == nil || o.err != nil {
		o.wr.Unlock() // under mu: what is appended from now on finds wr free
		return nil, o.err
	}
	return b, nil
}

// done takes a written buffer back. With an error it ends the turn and the outbox.
func (o *outbox) done(b *[]byte, err error) {
	giveBack(b)
	if err == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = err
	o.wr.Unlock()
}

// takeLast returns what waits; the caller holds wr.
func (o *outbox) takeLast() *[]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return nil
	}
	b := o.buf
	o.buf = nil
	return b
}

// end refuses everything from now on.
func (o *outbox) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = errSocketClosed
	}
	o.sealed, o.buf = true, nil
}

// Frames of RFC 6455 §5.2 as a server sends them: final, without mask.
const (
	frameText = 0x81
	framePing = 0x89
	framePong = 0x8a
	headBytes = 4 // what beginText leaves for the header: enough up to 65,535 bytes
)

// beginText leaves room for a frame's header. The payload follows, then endText.
func beginText(b []byte) []byte { return append(b, frameText, 0, 0, 0) }

// endText writes the header of the frame that begins at start, now that its length is known.
func endText(b []byte, start int) []byte {
	n := len(b) - start - headBytes
	switch {
	case n < 126:
		copy(b[start+2:], b[start+headBytes:])
		b = b[:len(b)-2]
		b[start+1] = byte(n)
	case n <= 0xffff:
		b[start+1] = 126
		binary.BigEndian.PutUint16(b[start+2:], uint16(n))
	default:
		b = append(b, 0, 0, 0, 0, 0, 0)
		copy(b[start+10:], b[start+headBytes:len(b)-6])
		b[start+1] = 127
		binary.BigEndian.PutUint64(b[start+2:], uint64(n))
	}
	return b
}
