package readbuf

import (
	"crypto/tls"
	"io"
	"net"
	"syscall"
)

// Watch waits for a connection without reading from it. It belongs to one goroutine, but for its Alarm.
type Watch struct {
	Alarm

	raw  syscall.RawConn
	try  func(fd uintptr) bool // look
	seen int                   // what look found: bytes, 0 for the end
	err  error                 // why it could not look
	peek [1]byte
}

// Init reports whether c can be watched: a TCP connection, or one with TLS on it.
func (w *Watch) Init(c net.Conn) bool {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if _, ok := c.(*net.TCPConn); !ok {
		return false
	}
	w.raw, w.try = rawConn(c.(io.Reader)), w.look
	return w.raw != nil
}

// Wait waits until there is something to read, and reports false for the end. With TLS it sees what arrives, not what the
// connection holds already, and what arrives need not be data. It needs no more stack than a goroutine begins with.
func (w *Watch) Wait() (more bool, err error) {
	w.err = nil
	if err := w.raw.Read(w.try); err != nil {
		return false, err
	}
	return w.seen > 0, w.err
}

// Await is Wait without a goroutine: it has ring called, once, on a goroutine of its own, when Wait would find something, or
// when Ring is called. It reports false where that cannot be.
func (w *Watch) Await(ring func()) bool { return w.set(w.raw, ring) }
