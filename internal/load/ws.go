package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// wsSession is RFC 7395 over a WebSocket. Its frames are masked with a key of zeros, which costs nothing and is legal.
type wsSession struct {
	conn   net.Conn
	domain string
	in     inbuf // raw frames
	out    []byte
}

func newWSSession(ctx context.Context, d *dialer, domain string, number int) (*wsSession, error) {
	c, err := d.dial(ctx, number)
	if err != nil {
		return nil, err
	}
	s := &wsSession{conn: c, domain: domain, in: inbuf{buf: make([]byte, 512)}}
	err = s.upgrade(d)
	if err == nil {
		err = s.restart()
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *wsSession) upgrade(d *dialer) error {
	_ = s.conn.SetDeadline(time.Now().Add(setupTimeout))
	defer func() { _ = s.conn.SetDeadline(time.Time{}) }()
	if _, err := fmt.Fprintf(s.conn, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: xmpp\r\n\r\n", d.path, d.host); err != nil {
		return err
	}
	for {
		head, _, whole := strings.Cut(string(s.in.bytes()), "\r\n\r\n")
		if whole {
			if !strings.HasPrefix(head, "HTTP/1.1 101") {
				return errors.New("upgrade refused: " + head[:min(len(head), 60)])
			}
			s.in.lo += len(head) + 4
			return nil
		}
		if err := s.in.fill(s.conn, 512); err != nil {
			return err
		}
	}
}

func (s *wsSession) namespace() string { return " xmlns='jabber:client'" }

func (s *wsSession) restart() error {
	_, err := s.exchange("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='"+s.domain+"' version='1.0'/>", "</stream:features>", "</features>")
	return err
}

func (s *wsSession) exchange(xml string, words ...string) (string, error) {
	_ = s.conn.SetDeadline(time.Now().Add(setupTimeout))
	defer func() { _ = s.conn.SetDeadline(time.Time{}) }()
	s.out = s.out[:0]
	for _, el := range splitStanzas(xml) {
		s.frame(el)
	}
	if _, err := s.conn.Write(s.out); err != nil {
		return "", err
	}
	s.out = nil
	var got []byte
	for !containsAny(got, words) {
		if err := s.in.fill(s.conn, 512); err != nil {
			return "", err
		}
		if err := s.frames(func(p []byte) { got = append(got, p...) }); err != nil {
			return "", err
		}
	}
	return string(got), nil
}

// splitStanzas cuts "<presence …/><iq …" in two; anything else stays whole.
func splitStanzas(xml string) []string {
	if i := strings.Index(xml, "/><iq"); i >= 0 && strings.HasPrefix(xml, "<presence") {
		return []string{xml[:i+2], xml[i+2:]}
	}
	return []string{xml}
}

func (s *wsSession) frame(payload string) {
	switch n := len(payload); {
	case n < 126:
		s.out = append(s.out, 0x81, 0x80|byte(n))
	default:
		s.out = append(s.out, 0x81, 0x80|126)
		s.out = binary.BigEndian.AppendUint16(s.out, uint16(n))
	}
	s.out = append(s.out, 0, 0, 0, 0)
	s.out = append(s.out, payload...)
}

// frames calls f with the payload of each complete frame that was read. Pings are not answered: the load is the sign of
// life, and idle sessions answer them in recv.
func (s *wsSession) frames(f func([]byte)) error {
	for {
		b := s.in.bytes()
		if len(b) < 2 {
			return nil
		}
		n, head := int(b[1]&0x7f), 2
		switch n {
		case 126:
			if len(b) < 4 {
				return nil
			}
			n, head = int(binary.BigEndian.Uint16(b[2:])), 4
		case 127:
			if len(b) < 10 {
				return nil
			}
			n, head = int(binary.BigEndian.Uint64(b[2:])), 10
		}
		if len(b) < head+n {
			return nil
		}
		switch b[0] & 0x0f {
		case 0, 1:
			f(b[head : head+n])
		case 8:
			return errors.New("closed by the other side")
		case 9:
			pong := append([]byte{0x8a, 0x80 | byte(n), 0, 0, 0, 0}, b[head:head+n]...)
			if _, err := s.conn.Write(pong); err != nil {
				return err
			}
		}
		s.in.lo += head + n
	}
}

func (s *wsSession) send(messages []byte, n int) error {
	s.out = s.out[:0]
	size := len(messages) / n // all of one sender's messages have the same length
	for ; len(messages) > 0; messages = messages[size:] {
		s.out = append(s.out, 0x81, 0x80|126)
		s.out = binary.BigEndian.AppendUint16(s.out, uint16(size))
		s.out = append(s.out, 0, 0, 0, 0)
		s.out = append(s.out, messages[:size]...)
	}
	_, err := s.conn.Write(s.out)
	return err
}

func (s *wsSession) recv(f func(seq uint64, sent int64)) error {
	if err := s.in.fill(s.conn, 4096); err != nil {
		return err
	}
	return s.frames(func(p []byte) { scanMessages(p, f) })
}

func (s *wsSession) close() { _ = s.conn.Close() }
