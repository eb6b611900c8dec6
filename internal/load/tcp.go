package load

import (
	"context"
	"net"
	"time"
)

// tcpSession is an XML stream over TCP.
type tcpSession struct {
	conn   net.Conn
	domain string
	in     inbuf
}

func newTCPSession(ctx context.Context, d *dialer, domain string, number int) (*tcpSession, error) {
	c, err := d.dial(ctx, number)
	if err != nil {
		return nil, err
	}
	s := &tcpSession{conn: c, domain: domain, in: inbuf{buf: make([]byte, 512)}}
	if err := s.restart(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *tcpSession) namespace() string { return "" }

func (s *tcpSession) restart() error {
	_, err := s.exchange("<?xml version='1.0'?><stream:stream to='"+s.domain+
		"' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>", "</stream:features>", "</features>")
	return err
}

func (s *tcpSession) exchange(xml string, words ...string) (string, error) {
	_ = s.conn.SetDeadline(time.Now().Add(setupTimeout))
	defer func() { _ = s.conn.SetDeadline(time.Time{}) }()
	s.in.lo, s.in.hi = 0, 0
	if _, err := s.conn.Write([]byte(xml)); err != nil {
		return "", err
	}
	for !containsAny(s.in.bytes(), words) {
		if err := s.in.fill(s.conn, 512); err != nil {
			return "", err
		}
	}
	got := string(s.in.bytes())
	s.in = inbuf{buf: s.in.buf[:min(len(s.in.buf), 4096)]}
	return got, nil
}

func (s *tcpSession) send(messages []byte, _ int) error {
	_, err := s.conn.Write(messages)
	return err
}

func (s *tcpSession) recv(f func(seq uint64, sent int64)) error {
	if err := s.in.fill(s.conn, 4096); err != nil {
		return err
	}
	s.in.lo += scanMessages(s.in.bytes(), f)
	return nil
}

func (s *tcpSession) close() { _ = s.conn.Close() }
