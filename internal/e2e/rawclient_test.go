//go:build e2e

package e2e

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"
)

// rawClient is one XEP-0198 session straight on a server, without a gateway. It keeps what it sent until that is acknowledged
// and resumes on a new connection, as the gateway does.
type rawClient struct {
	t    *testing.T
	s    *server
	user string
	id   string // for resumption

	mu      sync.Mutex
	jid     string
	conn    *rawConn
	sent    []string // not acknowledged yet; the first one is number acked+1
	acked   uint32
	handled uint32    // stanzas received
	inbox   numbering // what was sent to it
	peer    *rawClient
	readers sync.WaitGroup
}

// rawConn is one connection of it.
type rawConn struct {
	net.Conn
	dec   *xml.Decoder
	write sync.Mutex
}

func (c *rawConn) say(s string) error {
	c.write.Lock()
	defer c.write.Unlock()
	_, err := io.WriteString(c.Conn, s)
	return err
}

// next reads a first-level element, the stream header not among them.
func (c *rawConn) next() (*node, error) {
	for {
		tok, err := c.dec.Token()
		if err != nil {
			return nil, err
		}
		start, ok := tok.(xml.StartElement)
		if !ok || start.Name.Local == "stream" {
			continue
		}
		n := new(node)
		return n, c.dec.DecodeElement(n, &start)
	}
}

func (c *rawConn) open(domain string) (*node, error) {
	c.dec = xml.NewDecoder(c.Conn)
	err := c.say(fmt.Sprintf(`<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='%s' to='%s' version='1.0'>`, nsStreams, domain))
	if err != nil {
		return nil, err
	}
	return c.next()
}

// signIn connects and authenticates over STARTTLS.
func (r *rawClient) signIn() (*rawConn, error) {
	tcp, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", r.s.port), stepTimeout)
	if err != nil {
		return nil, err
	}
	c := &rawConn{Conn: tcp}
	steps := func() error {
		if _, err := c.open(r.s.domain); err != nil {
			return err
		}
		if err := c.say(`<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>`); err != nil {
			return err
		}
		if _, err := c.next(); err != nil {
			return err
		}
		c.Conn = tls.Client(tcp, &tls.Config{InsecureSkipVerify: true})
		if _, err := c.open(r.s.domain); err != nil {
			return err
		}
		plain := base64.StdEncoding.EncodeToString([]byte("\x00" + r.user + "\x00" + password))
		if err := c.say(`<auth xmlns='` + nsSASL + `' mechanism='PLAIN'>` + plain + `</auth>`); err != nil {
			return err
		}
		if n, err := c.next(); err != nil || !n.is(nsSASL, "success") {
			return fmt.Errorf("sign-in answered %v: %w", n, err)
		}
		_, err := c.open(r.s.domain)
		return err
	}
	if err := steps(); err != nil {
		tcp.Close()
		return nil, err
	}
	return c, nil
}

// rawLogin makes a session.
func rawLogin(t *testing.T, s *server) *rawClient {
	t.Helper()
	r := &rawClient{t: t, s: s, user: s.account(t)}
	c, err := r.signIn()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.mu.Lock()
		r.conn.Close()
		r.mu.Unlock()
		r.readers.Wait()
	})
	r.conn = c
	if err := c.say(`<iq type='set' id='b'><bind xmlns='` + nsBind + `'/></iq><enable xmlns='` + nsSM + `' resume='true'/>`); err != nil {
		t.Fatal(err)
	}
	for r.jid == "" || r.id == "" {
		n, err := c.next()
		if err != nil {
			t.Fatal(err)
		}
		if jid := n.kid("bind", "jid"); jid != nil {
			r.jid = jid.Text
		}
		if n.is(nsSM, "enabled") {
			r.id = n.attr("id")
		}
	}
	r.readers.Go(func() { r.read(c) })
	return r
}

func (r *rawClient) read(c *rawConn) {
	for {
		n, err := c.next()
		if err != nil {
			return // replaced, or the end of the test
		}
		r.mu.Lock()
		if r.conn == c {
			r.takeLocked(c, n)
		}
		r.mu.Unlock()
	}
}

func (r *rawClient) takeLocked(c *rawConn, n *node) {
	switch {
	case n.is(nsSM, "r"):
		h := r.handled
		r.readers.Go(func() { _ = c.say(fmt.Sprintf(`<a xmlns='%s' h='%d'/>`, nsSM, h)) })
	case n.is(nsSM, "a"):
		r.ackedLocked(n)
	case n.XMLName.Space == nsClient:
		r.handled++
		if body := n.kid("body"); body != nil {
			number, err := strconv.ParseInt(body.Text, 10, 64)
			if n.attr("type") == "error" {
				err = errors.Join(err, r.peer.inbox.comesBack(number))
			} else if err == nil {
				_, err = r.inbox.arrives(number)
			}
			if err != nil {
				r.t.Errorf("got %v: %v", n, err)
			}
		}
	}
}

func (r *rawClient) ackedLocked(n *node) {
	h, err := strconv.ParseUint(n.attr("h"), 10, 32)
	if err != nil || uint32(h) < r.acked || int(uint32(h)-r.acked) > len(r.sent) {
		r.t.Errorf("%v with %d sent after %d", n, len(r.sent), r.acked)
		return
	}
	r.sent = r.sent[uint32(h)-r.acked:]
	r.acked = uint32(h)
}

// unackedMax bounds what the server has not acknowledged, as whoever waits for acknowledgements does.
const unackedMax = 100

// send sends a stanza, now or with the next resumption. False: too many wait for an acknowledgement.
func (r *rawClient) send(stanza string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.sent) >= unackedMax {
		return false
	}
	r.sent = append(r.sent, stanza)
	if len(r.sent)%10 == 0 {
		stanza += `<r xmlns='` + nsSM + `'/>`
	}
	_ = r.conn.say(stanza)
	return true
}

// resume moves the session to a new connection. The old one is closed first, and the server has a moment to read what it still
// holds, as after the death of a replica.
func (r *rawClient) resume(pause time.Duration) error {
	r.mu.Lock()
	r.conn.Close()
	r.mu.Unlock()
	r.readers.Wait()
	c, err := r.signIn()
	if err != nil {
		return err
	}
	time.Sleep(pause)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := c.say(fmt.Sprintf(`<resume xmlns='%s' previd='%s' h='%d'/>`, nsSM, escape(r.id), r.handled)); err != nil {
		return err
	}
	n, err := c.next()
	if err != nil || !n.is(nsSM, "resumed") {
		return fmt.Errorf("resume answered %v: %w", n, err)
	}
	r.ackedLocked(n)
	r.conn = c
	for _, s := range r.sent {
		_ = c.say(s)
	}
	_ = c.say(`<r xmlns='` + nsSM + `'/>`)
	r.readers.Go(func() { r.read(c) })
	return nil
}
