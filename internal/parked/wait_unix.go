//go:build unix

package parked

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"syscall"
)

// rawConn returns how to wait for a connection without reading from it, nil if that is unknown.
func rawConn(c net.Conn) syscall.RawConn {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	t, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// look is called by the poller until it returns true. It leaves what it sees where it is.
func (p *Response) look(fd uintptr) bool {
	for {
		n, _, err := syscall.Recvfrom(int(fd), p.peek[:], syscall.MSG_PEEK)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			return false
		case err != nil:
			p.fault = os.NewSyscallError("recvfrom", err)
		default:
			p.seen = n
		}
		return true
	}
}
