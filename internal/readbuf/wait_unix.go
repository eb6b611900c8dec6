//go:build unix

package readbuf

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// rawConn returns how to wait for src without a buffer: try to read, and if there is nothing give the buffer back and let
// the runtime's poller wait. Sources of other types may hold bytes of their own (TLS), so nil is returned for them.
func rawConn(src io.Reader) syscall.RawConn {
	var raw syscall.RawConn
	var err error
	switch c := src.(type) {
	case *net.TCPConn:
		raw, err = c.SyscallConn()
	case *net.UnixConn:
		raw, err = c.SyscallConn()
	}
	if err != nil {
		return nil
	}
	return raw
}

// tryRead is called by the poller until it returns true.
func (b *Buffer) tryRead(fd uintptr) bool {
	switch {
	case b.parking:
		b.buf = b.first[:]
	case b.buf == nil:
		b.borrow()
	}
	for {
		n, err := syscall.Read(int(fd), b.buf[b.hi:])
		switch {
		case n > 0:
			b.hi += n
			b.err = nil
		case err == nil:
			b.err = io.EOF
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			if b.hi == 0 {
				b.release()
			}
			return false
		default:
			b.err = os.NewSyscallError("read", err)
		}
		return true
	}
}

// look is called by the poller until it returns true. It leaves what it sees where it is.
func (w *Watch) look(fd uintptr) bool {
	for {
		n, _, err := syscall.Recvfrom(int(fd), w.peek[:], syscall.MSG_PEEK)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			return false
		case err != nil:
			w.err = os.NewSyscallError("recvfrom", err)
		default:
			w.seen = n
		}
		return true
	}
}
