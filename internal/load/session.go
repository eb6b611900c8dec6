package load

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"
)

// Target is where sessions connect and as whom.
type Target struct {
	URL      string // tcp://host:port, ws://host:port/path, http://host:port/path, and tcps (direct TLS), wss, https
	Domain   string
	User     string // "%d" stands for the session's number, modulo Accounts
	Accounts int    // 0: every session has its own
	Password string
	CA       *tls.Config // for the TLS schemes; nil verifies nothing
	AtOnce   int         // logins that go on at any time; 0 means 64
	Wait     int         // BOSH: for how many seconds an empty request is held; 0 means 60
}

// session is one logged-in client. send may be called by any goroutine, one at a time; recv by one goroutine.
type session interface {
	// exchange sends XML and returns what came once it contains one of the words; only before the load starts.
	exchange(xml string, words ...string) (string, error)
	// restart opens the stream again after SASL.
	restart() error
	send(messages []byte, n int) error
	// recv waits for data and calls f for each message in it.
	recv(f func(seq uint64, sent int64)) error
	namespace() string // declaration that every stanza needs
	close()
}

// dialer opens connections to one target.
type dialer struct {
	scheme, addr, path, host string
	tls                      *tls.Config
	wait                     int // BOSH: seconds
}

func newDialer(t Target) (*dialer, error) {
	u, err := url.Parse(t.URL)
	if err != nil {
		return nil, fmt.Errorf("target: %w", err)
	}
	d := &dialer{scheme: u.Scheme, addr: u.Host, path: u.RequestURI(), host: u.Host, wait: t.Wait}
	if d.wait == 0 {
		d.wait = 60
	}
	if u.Port() == "" {
		return nil, fmt.Errorf("target %q names no port", t.URL)
	}
	switch u.Scheme {
	case "tcp", "ws", "http":
	case "tcps", "wss", "https":
		d.tls = t.CA
		if d.tls == nil {
			d.tls = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // a load test of one's own server
		}
	default:
		return nil, fmt.Errorf("target %q: want tcp, ws, http, tcps, wss or https", t.URL)
	}
	return d, nil
}

const setupTimeout = 60 * time.Second

// dial opens one connection. source picks the local loopback address, so that one host can hold more connections to a
// server than it has ports.
func (d *dialer) dial(ctx context.Context, source int) (net.Conn, error) {
	nd := net.Dialer{Timeout: setupTimeout}
	if host, _, _ := net.SplitHostPort(d.addr); host == "127.0.0.1" {
		nd.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+source%200))}
	}
	c, err := nd.DialContext(ctx, "tcp", d.addr)
	if err != nil || d.tls == nil {
		return c, err
	}
	tc := tls.Client(c, d.tls)
	if err := tc.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	return tc, nil
}

var errRefused = errors.New("login refused")

// login opens a session, authenticates with PLAIN and binds.
func (d *dialer) login(ctx context.Context, t Target, number int) (session, string, error) {
	var s session
	var err error
	switch d.scheme {
	case "tcp", "tcps":
		s, err = newTCPSession(ctx, d, t.Domain, number)
	case "ws", "wss":
		s, err = newWSSession(ctx, d, t.Domain, number)
	default:
		s, err = newBOSHSession(ctx, d, t.Domain, number)
	}
	if err != nil {
		return nil, "", fmt.Errorf("session %d: %w", number, err)
	}
	jid, err := authenticate(s, t, number)
	if err != nil {
		s.close()
		return nil, "", fmt.Errorf("session %d: %w", number, err)
	}
	return s, jid, nil
}

func authenticate(s session, t Target, number int) (string, error) {
	account := number
	if t.Accounts > 0 {
		account %= t.Accounts
	}
	user := strings.ReplaceAll(t.User, "%d", fmt.Sprint(account))
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + t.Password))
	got, err := s.exchange("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>"+plain+"</auth>", "<success", "<failure")
	if err != nil {
		return "", fmt.Errorf("authenticate: %w", err)
	}
	if !strings.Contains(got, "<success") {
		_, condition, _ := strings.Cut(got, "<failure")
		return "", fmt.Errorf("%w: <failure%.120s", errRefused, condition)
	}
	if err := s.restart(); err != nil {
		return "", fmt.Errorf("restart: %w", err)
	}
	got, err = s.exchange(fmt.Sprintf("<iq%s type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>load%d</resource></bind></iq>",
		s.namespace(), number), "</jid>", "type='error'", `type="error"`)
	if err != nil {
		return "", fmt.Errorf("bind: %w", err)
	}
	_, rest, _ := strings.Cut(got, "<jid>")
	jid, _, ok := strings.Cut(rest, "</jid>")
	if !ok {
		return "", errors.New("bind refused")
	}
	if _, err := s.exchange(fmt.Sprintf("<presence%s/><iq%s type='get' id='ready'><ping xmlns='urn:xmpp:ping'/></iq>",
		s.namespace(), s.namespace()), "'ready'", `"ready"`); err != nil {
		return "", fmt.Errorf("presence: %w", err)
	}
	return jid, nil
}

// inbuf is a read buffer that keeps the part of a message that has not come whole.
type inbuf struct {
	buf    []byte
	lo, hi int
}

func (b *inbuf) bytes() []byte { return b.buf[b.lo:b.hi] }

// room makes space for at least n more bytes.
func (b *inbuf) room(n int) []byte {
	if b.lo > 0 {
		b.hi = copy(b.buf, b.buf[b.lo:b.hi])
		b.lo = 0
	}
	if len(b.buf)-b.hi < n {
		b.buf = append(b.buf, make([]byte, max(n, len(b.buf)))...)
	}
	return b.buf[b.hi:]
}

func (b *inbuf) fill(c net.Conn, n int) error {
	got, err := c.Read(b.room(n))
	b.hi += got
	if got > 0 {
		return nil
	}
	return err
}

func containsAny(b []byte, words []string) bool {
	for _, w := range words {
		if bytes.Contains(b, []byte(w)) {
			return true
		}
	}
	return false
}
