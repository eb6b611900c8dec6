// Package readbuf reads ahead from connections without keeping memory for those that are silent, which most are. Both
// sides of the gateway read through it: as much per system call as there is, nothing held while there is nothing.
package readbuf

import (
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	// BlockBytes is what a Buffer borrows while data flows: the size of a TLS record.
	BlockBytes = 16 << 10
	// smallBytes is what it keeps instead of nothing where waiting needs a buffer.
	smallBytes = 512
)

var blocks = sync.Pool{New: func() any { return new([BlockBytes]byte) }}

// Buffer holds what was read and not consumed. The zero value needs Init. It belongs to the goroutine that reads.
type Buffer struct {
	src io.Reader
	raw syscall.RawConn // nil: src cannot be waited for without a buffer
	try func(fd uintptr) bool
	err error // what try came to

	buf    []byte // small, a block, or an allocation; nil for none
	lo, hi int    // buf[lo:hi] is not consumed
	block  *[BlockBytes]byte
	small  []byte // made by Fill; nil where raw is not, and while parked
	full   bool   // the last read left no room: more is likely waiting

	below *Watch // what Park waits for where raw is nil; nil if that cannot be
	alarm Alarm  // of Await

	parking bool // try reads into first
	first   [16]byte
}

// Init makes b read from src, behind what was read from it before. early is copied; it must be shorter than BlockBytes.
func (b *Buffer) Init(src io.Reader, early []byte) {
	*b = Buffer{src: src, raw: rawConn(src)}
	if b.raw != nil {
		b.try = b.tryRead
	} else if c, ok := src.(net.Conn); ok {
		if w := new(Watch); w.Init(c) {
			b.below = w
		}
	}
	if len(early) > 0 {
		b.borrow()
		b.hi = copy(b.buf, early)
	}
}

// Bytes returns what is buffered. It is valid until the next Fill, Read or Drop, and may be changed.
func (b *Buffer) Bytes() []byte { return b.buf[b.lo:b.hi] }

// Len returns how much is buffered.
func (b *Buffer) Len() int { return b.hi - b.lo }

// Consume drops the first n buffered bytes. What Bytes returned stays valid.
func (b *Buffer) Consume(n int) { b.lo += n }

// Parks reports whether Park may be called.
func (b *Buffer) Parks() bool { return (b.raw != nil || b.below != nil) && b.lo == b.hi }

// Park waits until there is something to read. It is for goroutines that want to stay as small as goroutines can be (2 KiB):
// it borrows nothing and calls nothing that needs more. It may read a few bytes. With TLS it must follow a Fill that ran
// into a deadline, because only then is nothing left that the connection has read ahead.
func (b *Buffer) Park() error {
	b.release()
	if b.raw == nil {
		b.small, b.buf = nil, nil
		_, err := b.below.Wait() // the end shows in the next Fill
		return err
	}
	b.parking = true
	err := b.raw.Read(b.try)
	b.parking = false
	if err == nil {
		err = b.err
	}
	return err
}

// Await is Park without a goroutine: it has ring called, once, on a goroutine of its own, when there is something to read,
// when the connection ends, or when Ring is called; it reads nothing. See Alarm for what it does not notice. It reports false
// where it cannot wait, and then b is the caller's still; else b belongs to ring.
func (b *Buffer) Await(ring func()) bool {
	b.release()
	if b.raw != nil {
		return b.alarm.set(b.raw, ring)
	}
	b.small, b.buf = nil, nil
	return b.alarm.set(b.below.raw, ring)
}

// Ring ends Await. Any goroutine may call it.
func (b *Buffer) Ring() { b.alarm.Ring() }

// RingIn ends Await after d.
func (b *Buffer) RingIn(d time.Duration) { b.alarm.RingIn(d) }

// Rest gives back what an empty Buffer holds, for when its owner turns to something that takes long.
func (b *Buffer) Rest() {
	if b.lo == b.hi {
		b.release()
	}
}

// Drop forgets what is buffered.
func (b *Buffer) Drop() {
	b.release()
	b.full = false
}

// Read fills the Buffer if it is empty, and empties it into p.
func (b *Buffer) Read(p []byte) (int, error) {
	if b.lo == b.hi {
		if err := b.Fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.buf[b.lo:b.hi])
	b.lo += n
	return n, nil
}

// Fill waits for more and reads it, once. If a block is full and nothing of it consumed, the Buffer grows: who calls Fill
// bounds that. The error is that of the source; what is buffered stays.
func (b *Buffer) Fill() error {
	b.makeRoom()
	if b.raw != nil {
		if err := b.raw.Read(b.try); err != nil {
			return err
		}
		return b.err
	}
	n, err := b.src.Read(b.buf[b.hi:])
	b.hi += n
	b.full = b.hi == len(b.buf)
	switch {
	case n > 0:
		return nil // a source that says more with an error says it again
	case err == nil:
		return io.ErrNoProgress
	}
	return err
}

// makeRoom prepares for a read behind what is buffered.
func (b *Buffer) makeRoom() {
	if b.raw == nil && b.small == nil {
		b.small = make([]byte, smallBytes)
		if b.buf == nil {
			b.buf = b.small
		}
	}
	switch {
	case b.lo == b.hi && b.raw != nil && b.block != nil:
		b.lo, b.hi = 0, 0 // tryRead gives the block back if there is nothing to read
	case b.lo == b.hi && (b.raw != nil || !b.full):
		b.release() // most likely the read waits
	case b.lo > 0:
		b.hi = copy(b.buf, b.buf[b.lo:b.hi])
		b.lo = 0
	}
	switch {
	case b.buf == nil:
	case b.block == nil && len(b.buf) <= smallBytes && (b.hi == len(b.buf) || b.full || b.raw != nil):
		rest := b.buf[:b.hi]
		b.borrow()
		copy(b.buf, rest)
	case b.hi == len(b.buf):
		bigger := make([]byte, 2*len(b.buf))
		n := copy(bigger, b.buf)
		b.release()
		b.buf, b.hi = bigger, n
	}
}

func (b *Buffer) borrow() {
	b.block = blocks.Get().(*[BlockBytes]byte)
	b.buf = b.block[:]
}

// release goes back to what a silent connection keeps.
func (b *Buffer) release() {
	if b.block != nil {
		blocks.Put(b.block)
		b.block = nil
	}
	b.buf, b.lo, b.hi = b.small, 0, 0
}
