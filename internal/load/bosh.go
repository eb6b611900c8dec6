package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

const nsHTTPBind = "http://jabber.org/protocol/httpbind"

// boshSession is XEP-0124 with hold 1 over two kept-alive connections, as browsers do: one request is held by the other
// side, a second carries what cannot wait. The other side answers in the order of the rids, so one goroutine reads them in
// turn.
type boshSession struct {
	d      [2]*dialer // of each connection
	number int
	sid    string
	domain string
	ctx    context.Context

	mu      sync.Mutex
	first   int // connection that is used unless it is busy
	conns   [2]*httpConn
	rid     uint64
	flight  []int // connection of each unanswered request, oldest first; at most 2
	pending []byte
	count   int // messages in pending
	head    []byte
	over    error
}

// httpConn is one connection with at most one exchange on it.
type httpConn struct {
	conn net.Conn
	in   inbuf
	busy bool
}

func newBOSHSession(ctx context.Context, d *dialer, domain string, number int) (*boshSession, error) {
	s := &boshSession{d: [2]*dialer{d, d}, number: number, domain: domain, ctx: ctx, rid: 1 + rand.Uint64N(1<<40)}
	if err := s.post(fmt.Sprintf(" to='%s' wait='%d' hold='1' ver='1.6' xml:lang='en' xmpp:version='1.0' xmlns:xmpp='urn:xmpp:xbosh'", domain, d.wait), nil); err != nil {
		s.close()
		return nil, err
	}
	body, err := s.answer()
	if err != nil {
		s.close()
		return nil, err
	}
	text := string(body)
	if s.sid = attribute(text, "sid"); s.sid == "" {
		s.close()
		return nil, errors.New("creation refused")
	}
	if !strings.Contains(text, "features>") {
		if _, err := s.exchange("", "features>"); err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

// attribute returns the value of an attribute of the first tag, whichever quotes it has.
func attribute(body, name string) string {
	tag, _, _ := strings.Cut(body, ">")
	_, rest, ok := strings.Cut(tag, " "+name+"=")
	if !ok || rest == "" {
		return ""
	}
	value, _, _ := strings.Cut(rest[1:], rest[:1])
	return value
}

func (s *boshSession) namespace() string { return " xmlns='jabber:client'" }

func (s *boshSession) restart() error {
	if err := s.post(" to='"+s.domain+"' xml:lang='en' xmpp:restart='true' xmlns:xmpp='urn:xmpp:xbosh'", nil); err != nil {
		return err
	}
	_, err := s.collect("features>")
	return err
}

func (s *boshSession) exchange(xml string, words ...string) (string, error) {
	if err := s.post("", []byte(xml)); err != nil {
		return "", err
	}
	return s.collect(words...)
}

// collect polls until what came contains one of the words.
func (s *boshSession) collect(words ...string) (string, error) {
	var got []byte
	for {
		body, err := s.answer()
		if err != nil {
			return "", err
		}
		got = append(got, body...)
		if containsAny(got, words) {
			return string(got), nil
		}
		if err := s.post("", nil); err != nil {
			return "", err
		}
	}
}

// send queues messages and posts them if a request is free. In the steady state the reader posts the rest.
func (s *boshSession) send(messages []byte, n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = append(s.pending, messages...)
	s.count += n
	if len(s.flight) < 2 {
		return s.flushLocked("")
	}
	return s.over
}

func (s *boshSession) recv(f func(seq uint64, sent int64)) error {
	s.mu.Lock()
	if len(s.flight) == 0 { // an empty request for the other side to hold, or what waits
		if err := s.flushLocked(""); err != nil {
			s.mu.Unlock()
			return err
		}
	}
	s.mu.Unlock()
	body, err := s.answer()
	if err != nil {
		return err
	}
	scanMessages(body, f)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count > 0 && len(s.flight) < 2 {
		return s.flushLocked("")
	}
	return nil
}

func (s *boshSession) post(attrs string, payload []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = append(s.pending, payload...)
	return s.flushLocked(attrs)
}

// flushLocked sends one request with all that is pending.
func (s *boshSession) flushLocked(attrs string) error {
	if s.over != nil {
		return s.over
	}
	i := s.first
	if s.conns[i] != nil && s.conns[i].busy {
		i = 1 - i
	}
	d := s.d[i]
	if s.conns[i] == nil {
		c, err := d.dial(s.ctx, s.number)
		if err != nil {
			return err
		}
		s.conns[i] = &httpConn{conn: c, in: inbuf{buf: make([]byte, 512)}}
	}
	c := s.conns[i]
	b := append(s.head[:0], "<body xmlns='"+nsHTTPBind+"' rid='"...)
	b = strconv.AppendUint(b, s.rid, 10)
	if s.sid != "" {
		b = append(b, "' sid='"...)
		b = append(b, s.sid...)
	}
	b = append(append(b, '\''), attrs...)
	b = append(b, '>')
	length := len(b) + len(s.pending) + len("</body>")
	req := make([]byte, 0, length+200)
	req = append(req, "POST "...)
	req = append(req, d.path...)
	req = append(req, " HTTP/1.1\r\nHost: "...)
	req = append(req, d.host...)
	req = append(req, "\r\nContent-Type: text/xml; charset=utf-8\r\nContent-Length: "...)
	req = strconv.AppendInt(req, int64(length), 10)
	req = append(req, "\r\n\r\n"...)
	req = append(req, b...)
	req = append(req, s.pending...)
	req = append(req, "</body>"...)
	s.head, s.pending, s.count = b, s.pending[:0], 0
	s.rid++
	s.flight = append(s.flight, i)
	c.busy = true
	_, err := c.conn.Write(req)
	return err
}

// answer reads the response to the oldest request and returns its body, valid until the next call.
func (s *boshSession) answer() ([]byte, error) {
	s.mu.Lock()
	c := s.conns[s.flight[0]]
	s.mu.Unlock()
	_ = c.conn.SetReadDeadline(time.Now().Add(2 * setupTimeout))
	body, err := c.response()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flight = append(s.flight[:0], s.flight[1:]...)
	c.busy = false
	if err == nil && bytes.Contains(firstTag(body), []byte("terminate")) {
		err = fmt.Errorf("terminated: %s", attribute(string(firstTag(body)), "condition"))
	}
	if err != nil {
		s.over = err
	}
	return body, err
}

func firstTag(body []byte) []byte {
	if i := bytes.IndexByte(body, '>'); i >= 0 {
		return body[:i]
	}
	return body
}

var (
	headEnd       = []byte("\r\n\r\n")
	contentLength = []byte("\r\ncontent-length:")
)

// response reads one response with a Content-Length.
func (c *httpConn) response() ([]byte, error) {
	c.in.lo, c.in.hi = 0, 0
	head := -1
	for head < 0 {
		if err := c.in.fill(c.conn, 1024); err != nil {
			return nil, err
		}
		head = bytes.Index(c.in.bytes(), headEnd)
	}
	h := c.in.bytes()[:head+2]
	if !bytes.HasPrefix(h, []byte("HTTP/1.1 200")) {
		return nil, fmt.Errorf("answered %q", h[:min(len(h), 40)])
	}
	n := -1
	for rest := h; len(rest) > len(contentLength); {
		i := bytes.Index(rest, []byte("\r\n"))
		if i < 0 {
			break
		}
		rest = rest[i:]
		if len(rest) > len(contentLength) && bytes.EqualFold(rest[:len(contentLength)], contentLength) {
			value, _, _ := bytes.Cut(rest[len(contentLength):], []byte("\r\n"))
			v, err := strconv.Atoi(string(bytes.TrimSpace(value)))
			if err != nil {
				return nil, err
			}
			n = v
			break
		}
		rest = rest[2:]
	}
	if n < 0 {
		return nil, errors.New("response without Content-Length")
	}
	for c.in.hi-c.in.lo < head+4+n {
		if err := c.in.fill(c.conn, max(1024, head+4+n-(c.in.hi-c.in.lo))); err != nil {
			return nil, err
		}
	}
	return c.in.bytes()[head+4 : head+4+n], nil
}

// close ends the session as well: otherwise it would live on at the other side for as long as its inactivity time.
func (s *boshSession) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over == nil {
		if s.sid != "" && len(s.flight) < 2 {
			s.pending, s.count = s.pending[:0], 0
			_ = s.flushLocked(" type='terminate'") // whoever does not hear it waits a little longer
		}
		s.over = net.ErrClosed
	}
	for _, c := range s.conns {
		if c != nil {
			_ = c.conn.Close()
		}
	}
}
