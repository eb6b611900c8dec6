package websocket

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	ws "github.com/coder/websocket"

	"stanzagate/internal/xmpptest"
)

// Opcodes of RFC 6455 §5.2.
const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
)

const fin = 0x80

// browser is a WebSocket client that writes whatever frames a test wants, legal or not.
type browser struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
	resp *http.Response
}

// handshakeRequest is a valid one; header lines may be replaced ("Name: value"), removed ("Name:") or added.
func handshakeRequest(changes ...string) string {
	lines := []string{
		"Host: gateway.example", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: xmpp",
	}
	start := "GET /xmpp-websocket HTTP/1.1"
	for _, c := range changes {
		name, value, isHeader := strings.Cut(c, ":")
		if !isHeader {
			start = c
			continue
		}
		kept := lines[:0:0]
		for _, l := range lines {
			if n, _, _ := strings.Cut(l, ":"); !strings.EqualFold(n, strings.TrimPrefix(name, "+")) || strings.HasPrefix(name, "+") {
				kept = append(kept, l)
			}
		}
		lines = kept
		if value != "" {
			lines = append(lines, strings.TrimPrefix(c, "+"))
		}
	}
	return start + "\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// request makes a handshake and returns what came of it.
func (r *rig) request(changes ...string) *browser {
	r.t.Helper()
	conn := r.dial()
	r.t.Cleanup(func() { _ = conn.Close() })
	b := &browser{t: r.t, conn: conn}
	b.r = bufio.NewReader(b.conn)
	b.raw([]byte(handshakeRequest(changes...)))
	b.patience()
	resp, err := http.ReadResponse(b.r, nil)
	if err != nil {
		r.t.Fatalf("no response to the handshake: %v", err)
	}
	b.resp = resp
	return b
}

// connect makes a handshake that succeeds.
func (r *rig) connect(changes ...string) *browser {
	r.t.Helper()
	b := r.request(changes...)
	if b.resp.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(b.resp.Body)
		r.t.Fatalf("handshake: %s: %s", b.resp.Status, body)
	}
	return b
}

func (b *browser) patience() { _ = b.conn.SetReadDeadline(time.Now().Add(xmpptest.Patience)) }

// raw writes bytes as they are.
func (b *browser) raw(p []byte) {
	b.t.Helper()
	_ = b.conn.SetWriteDeadline(time.Now().Add(xmpptest.Patience))
	if _, err := b.conn.Write(p); err != nil {
		b.t.Fatalf("write: %v", err)
	}
}

// masked makes a frame. first is the whole first byte.
func masked(first byte, payload string) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n <= 0xffff:
		b = append(b, 0x80|126)
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b = append(b, 0x80|127)
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	b = append(b, key[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^key[i&3])
	}
	return b
}

// say sends each message in a frame of its own, all in one write.
func (b *browser) say(messages ...string) {
	b.t.Helper()
	var p []byte
	for _, m := range messages {
		p = append(p, masked(fin|opText, m)...)
	}
	b.raw(p)
}

// next reads one frame. It must be final and not masked (RFC 6455 §5.1).
func (b *browser) next() (op byte, payload string, err error) {
	b.patience()
	var head [2]byte
	if _, err := io.ReadFull(b.r, head[:]); err != nil {
		return 0, "", err
	}
	if head[0]&0x70 != 0 || head[0]&fin == 0 || head[1]&0x80 != 0 {
		return 0, "", fmt.Errorf("frame header %x", head)
	}
	n := uint64(head[1])
	switch n {
	case 126:
		var l [2]byte
		_, err = io.ReadFull(b.r, l[:])
		n = uint64(binary.BigEndian.Uint16(l[:]))
	case 127:
		var l [8]byte
		_, err = io.ReadFull(b.r, l[:])
		n = binary.BigEndian.Uint64(l[:])
	}
	if err != nil {
		return 0, "", err
	}
	p := make([]byte, n)
	_, err = io.ReadFull(b.r, p)
	return head[0] & 0xf, string(p), err
}

// hear returns the next message. WS-013, WS-015, WS-017: each begins with '<', has no XML declaration, and is a document
// for a namespace-aware parser.
func (b *browser) hear() string {
	b.t.Helper()
	op, p, err := b.next()
	for err == nil && op == opPing {
		b.raw(masked(fin|opPong, p))
		op, p, err = b.next()
	}
	if err != nil {
		b.t.Fatalf("expected a message: %v", err)
	}
	if op != opText {
		b.t.Fatalf("expected a message, got opcode %d, %q", op, p)
	}
	if !strings.HasPrefix(p, "<") || strings.HasPrefix(p, "<?") {
		b.t.Fatalf("message begins with something else: %s", p)
	}
	if err := standsAlone(p); err != nil {
		b.t.Fatalf("%v: %s", err, p)
	}
	return p
}

// standsAlone checks that a message is one element in which every prefix is declared.
func standsAlone(p string) error {
	d := xml.NewDecoder(strings.NewReader(p))
	depth, roots := 0, 0
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			if roots != 1 || depth != 0 {
				return fmt.Errorf("%d roots, depth %d", roots, depth)
			}
			return nil
		}
		if err != nil {
			return err
		}
		switch t := tok.(type) {
		case xml.StartElement:
			if depth == 0 {
				roots++
			}
			depth++
			if !strings.ContainsAny(t.Name.Space, ":/") {
				return fmt.Errorf("undeclared prefix or no namespace: %q", t.Name)
			}
		case xml.EndElement:
			depth--
		}
	}
}

// expect fails unless the next message contains every part.
func (b *browser) expect(parts ...string) string {
	b.t.Helper()
	p := b.hear()
	for _, part := range parts {
		if !strings.Contains(p, part) {
			b.t.Fatalf("expected %q in %s", part, p)
		}
	}
	return p
}

// expectError expects a stream error, and <close/> behind it.
func (b *browser) expectError(condition string) {
	b.t.Helper()
	want := "<stream:error xmlns:stream=\"http://etherx.jabber.org/streams\"><" + condition +
		" xmlns=\"urn:ietf:params:xml:ns:xmpp-streams\"/></stream:error>"
	if p := b.hear(); p != want {
		b.t.Fatalf("expected %s, got %s", want, p)
	}
	b.expectCloseElement()
}

// expectCloseElement: WS-018, byte for byte.
func (b *browser) expectCloseElement() {
	b.t.Helper()
	if p := b.hear(); p != `<close xmlns="urn:ietf:params:xml:ns:xmpp-framing" />` {
		b.t.Fatalf("expected <close/>, got %s", p)
	}
}

// expectClose expects a Close frame with that code, answers it, and expects the end of the connection.
func (b *browser) expectClose(code ws.StatusCode) {
	b.t.Helper()
	op, p, err := b.next()
	for err == nil && op == opPing {
		op, p, err = b.next()
	}
	if err != nil || op != opClose || len(p) < 2 {
		b.t.Fatalf("expected Close %d, got opcode %d, %q, %v", code, op, p, err)
	}
	if got := binary.BigEndian.Uint16([]byte(p)); got != uint16(code) {
		b.t.Fatalf("expected Close %d, got %d %q", code, got, p[2:])
	}
	_, _ = b.conn.Write(masked(fin|opClose, p[:2]))
	b.expectGone()
}

// closeWith sends a Close frame and expects it back.
func (b *browser) closeWith(code ws.StatusCode) {
	b.t.Helper()
	b.raw(masked(fin|opClose, string(binary.BigEndian.AppendUint16(nil, uint16(code)))))
	op, p, err := b.next()
	if err != nil || op != opClose || len(p) < 2 || binary.BigEndian.Uint16([]byte(p)) != uint16(code) {
		b.t.Fatalf("expected Close %d, got opcode %d, %q, %v", code, op, p, err)
	}
	b.expectGone()
}

// expectGone expects the end of the TCP connection.
func (b *browser) expectGone() {
	b.t.Helper()
	op, p, err := b.next()
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		b.t.Fatalf("expected the end, got opcode %d, %q, %v", op, p, err)
	}
}

// expectSilence expects that nothing is said for a while.
func (b *browser) expectSilence(d time.Duration) {
	b.t.Helper()
	_ = b.conn.SetReadDeadline(time.Now().Add(d))
	if p, err := b.r.Peek(1); err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
		rest, _ := b.r.Peek(b.r.Buffered())
		b.t.Fatalf("expected silence, got %q, %v", append(p, rest[min(1, len(rest)):]...), err)
	}
}

const openElement = `<open xmlns="urn:ietf:params:xml:ns:xmpp-framing" to="example.org" version="1.0"/>`

// open opens the stream and returns <open/> and the features.
func (b *browser) open() (open, features string) {
	b.t.Helper()
	b.say(openElement)
	return b.expect("<open "), b.expect("<stream:features")
}

// authenticate logs in by PLAIN and opens the new stream.
func (b *browser) authenticate(user string) {
	b.t.Helper()
	b.auth(user, "secret")
	b.expect("<success")
	b.say(openElement)
	b.expect("<open ")
	b.expect("<stream:features", "<bind")
}

func (b *browser) auth(user, password string) {
	b.t.Helper()
	b.say(`<auth xmlns="urn:ietf:params:xml:ns:xmpp-sasl" mechanism="PLAIN">` +
		base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password)) + `</auth>`)
}

func (b *browser) bind(resource string) {
	b.t.Helper()
	b.say(`<iq xmlns="jabber:client" type="set" id="bind"><bind xmlns="urn:ietf:params:xml:ns:xmpp-bind"><resource>` +
		resource + `</resource></bind></iq>`)
	b.expect("<jid>")
}

// login makes a session of user/resource.
func (r *rig) login(user, resource string, changes ...string) *browser {
	r.t.Helper()
	b := r.connect(changes...)
	b.open()
	b.authenticate(user)
	b.bind(resource)
	return b
}

// meet opens a stream to a Manual server, which has read its header and not answered yet.
func (r *rig) meet() (*browser, *xmpptest.Conn) {
	r.t.Helper()
	b := r.connect()
	b.say(openElement)
	c := r.xmpp.Next()
	c.ExpectHeader()
	return b, c
}

// succeed logs in at a Manual server, up to <success/>; the server sends what follows in the same write.
func (r *rig) succeed(behind string) (*browser, *xmpptest.Conn) {
	r.t.Helper()
	b, c := r.meet()
	c.SendHeader("")
	c.SendFeatures(c.Mechanisms())
	b.expect("<open ")
	b.expect("<stream:features")
	b.auth("alice", "secret")
	c.Expect("auth")
	c.Send("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>" + behind)
	b.expect("<success")
	return b, c
}

// enable negotiates resumption (xmpptest.Options.Resumable).
func (b *browser) enable() {
	b.t.Helper()
	b.say(`<enable xmlns="urn:xmpp:sm:3" resume="true"/>`)
	b.expect("<enabled", "resume=")
}
