package xmpptest

import (
	"bytes"
	"crypto/tls"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Node is a parsed element.
type Node struct {
	Raw      string // as received
	Name     xml.Name
	Attrs    []xml.Attr
	Text     string
	Children []Node
}

// Attr returns the value of the unprefixed attribute, "" if absent.
func (n Node) Attr(name string) string {
	for _, a := range n.Attrs {
		if a.Name.Space == "" && a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// Child returns the first child with that local name, or an empty Node.
func (n Node) Child(local string) Node {
	for _, c := range n.Children {
		if c.Name.Local == local {
			return c
		}
	}
	return Node{}
}

// Conn is one connection. Reading belongs to one goroutine (the script, the Handler, or the test that took it with
// Next); Send, Cut, Stall, Received may be called from any.
type Conn struct {
	srv *Server

	// owned by the reading goroutine
	dec     *xml.Decoder
	managed *session // after <enable/> or <resume/>
	from    string   // of the client's last header
	sasl2   bool     // it has signed in by SASL2: no restart follows

	mu       sync.Mutex
	arrived  *sync.Cond // with mu: in has grown
	writing  sync.Mutex // serialises writes; never held with mu
	nc       net.Conn
	plain    net.Conn
	in       bytes.Buffer // what came inside TLS, or in the clear
	restart  int          // offset in in where the present decoder started
	pending  []byte       // read, not consumed
	gate     chan struct{}
	hello    *tls.ClientHelloInfo
	jid      string
	authUser string
	proxy    []byte
}

func newConn(s *Server, nc net.Conn) *Conn {
	c := &Conn{srv: s, nc: nc, plain: nc}
	c.arrived = sync.NewCond(&c.mu)
	c.dec = xml.NewDecoder((*source)(c))
	return c
}

// source feeds the decoder byte by byte, so that nothing is read ahead of a restart or a TLS handshake.
type source Conn

func (s *source) Read(p []byte) (int, error) {
	b, err := s.ReadByte()
	if err != nil {
		return 0, err
	}
	p[0] = b
	return 1, nil
}

func (s *source) ReadByte() (byte, error) {
	c := (*Conn)(s)
	for {
		c.mu.Lock()
		gate, nc := c.gate, c.nc
		if len(c.pending) > 0 && gate == nil {
			b := c.pending[0]
			c.pending = c.pending[1:]
			c.in.WriteByte(b)
			c.arrived.Broadcast()
			c.mu.Unlock()
			return b, nil
		}
		c.mu.Unlock()
		if gate != nil {
			<-gate
			continue
		}
		buf := make([]byte, 4096)
		n, err := nc.Read(buf)
		if n == 0 && err != nil {
			return 0, err
		}
		c.mu.Lock()
		c.pending = buf[:n]
		c.mu.Unlock()
	}
}

// fail ends the script that runs c, or the test if the test owns c.
func (c *Conn) fail(format string, args ...any) {
	c.srv.tb.Helper()
	if c.srv.opt.Manual {
		c.srv.tb.Fatalf("xmpptest: "+format, args...)
	}
	c.srv.tb.Errorf("xmpptest: "+format, args...)
	runtime.Goexit()
}

func (c *Conn) user() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.authUser
}

// JID returns the full JID that the connection bound, "" before.
func (c *Conn) JID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.jid
}

// Received returns all bytes read so far: decrypted, the PROXY header left out. It is a copy.
func (c *Conn) Received() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.in.String()
}

// Await waits until what was received contains part, and returns it all.
func (c *Conn) Await(part string) string {
	c.srv.tb.Helper()
	late := false
	t := time.AfterFunc(Patience, func() {
		c.mu.Lock()
		late = true
		c.mu.Unlock()
		c.arrived.Broadcast()
	})
	defer t.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for !bytes.Contains(c.in.Bytes(), []byte(part)) {
		if late {
			c.srv.tb.Fatalf("xmpptest: %q never came, but %q", part, c.in.String())
		}
		c.arrived.Wait()
	}
	return c.in.String()
}

// Proxy returns the raw PROXY header (Options.Proxy).
func (c *Conn) Proxy() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Clone(c.proxy)
}

// Hello returns the TLS ClientHello (SNI, ALPN), nil before TLS.
func (c *Conn) Hello() *tls.ClientHelloInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hello
}

// Send writes raw bytes. A failed write is not an error: the peer may be gone on purpose.
func (c *Conn) Send(raw string) { _ = c.Write(raw) }

// Write is Send with the error.
func (c *Conn) Write(raw string) error {
	c.mu.Lock()
	nc := c.nc
	c.mu.Unlock()
	c.writing.Lock()
	defer c.writing.Unlock()
	_, err := io.WriteString(nc, raw)
	return err
}

// Stall stops reading until Resume: the peer's writes fill the TCP window.
func (c *Conn) Stall() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gate == nil {
		c.gate = make(chan struct{})
	}
}

// Resume ends Stall.
func (c *Conn) Resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gate != nil {
		close(c.gate)
		c.gate = nil
	}
}

// Cut drops TCP without a word.
func (c *Conn) Cut() {
	c.Resume()
	_ = c.plain.Close()
}

// Discard reads and forgets until the peer goes, parsing nothing. Nobody can read from c after it.
func (c *Conn) Discard() {
	c.mu.Lock()
	nc := c.nc
	c.pending = nil
	c.mu.Unlock()
	_, _ = io.Copy(io.Discard, nc)
}

// Park keeps the connection open until the test ends, idle and outside of Go's runtime, so that c costs no memory of the
// process once the script has returned. It is for measurements of the peer.
func (c *Conn) Park() {
	t, ok := c.plain.(*net.TCPConn)
	if !ok {
		c.fail("Park needs TCP")
	}
	raw, err := t.SyscallConn()
	if err != nil {
		c.fail("Park: %v", err)
	}
	if e := raw.Control(func(fd uintptr) {
		var kept int
		if kept, err = syscall.Dup(int(fd)); err == nil {
			c.srv.keep(kept)
		}
	}); e != nil || err != nil {
		c.fail("Park: %v, %v", e, err)
	}
}

// Reset drops TCP with a RST.
func (c *Conn) Reset() {
	if t, ok := c.plain.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	c.Cut()
}

// CloseStream sends </stream:stream>.
func (c *Conn) CloseStream() { c.Send("</stream:stream>") }

// StreamError sends a stream error with that condition and </stream:stream>.
func (c *Conn) StreamError(condition string) {
	c.Send("<stream:error><" + condition + " xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>")
}

// StartTLS answers <proceed/> and does the handshake.
func (c *Conn) StartTLS() error {
	c.Send("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
	return c.Handshake()
}

// Handshake does the TLS handshake at once (direct TLS).
func (c *Conn) Handshake() error {
	cfg := c.srv.tls()
	cfg.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		c.mu.Lock()
		c.hello = h
		c.mu.Unlock()
		return nil, nil
	}
	c.mu.Lock()
	early := c.pending
	c.pending = nil
	c.mu.Unlock()
	t := tls.Server(&earlyConn{Conn: c.plain, early: early}, cfg)
	_ = t.SetDeadline(time.Now().Add(Patience))
	if err := t.Handshake(); err != nil {
		return err
	}
	_ = t.SetDeadline(time.Time{})
	c.mu.Lock()
	c.nc = t
	c.mu.Unlock()
	return nil
}

// earlyConn yields bytes that were read ahead before the connection's own.
type earlyConn struct {
	net.Conn
	early []byte
}

func (e *earlyConn) Read(p []byte) (int, error) {
	if len(e.early) > 0 {
		n := copy(p, e.early)
		e.early = e.early[n:]
		return n, nil
	}
	return e.Conn.Read(p)
}

// errStreamEnd is the client's </stream:stream>.
var errStreamEnd = errors.New("stream closed by the client")

// ReadHeader reads the client's next stream header. The decoder starts anew: nothing of an earlier stream is in scope.
func (c *Conn) ReadHeader() (Node, error) {
	c.mu.Lock()
	c.restart = c.in.Len()
	c.mu.Unlock()
	c.dec = xml.NewDecoder((*source)(c))
	for {
		from := c.dec.InputOffset()
		tok, err := c.dec.Token()
		if err != nil {
			return Node{}, err
		}
		if se, ok := tok.(xml.StartElement); ok {
			h := Node{Raw: c.raw(from), Name: se.Name, Attrs: se.Copy().Attr}
			c.from = h.Attr("from")
			return h, nil
		}
	}
}

// Read reads the next first-level element; io.EOF after the client's </stream:stream>.
func (c *Conn) Read() (Node, error) {
	for {
		from := c.dec.InputOffset()
		tok, err := c.dec.Token()
		if err != nil {
			return Node{}, err
		}
		switch t := tok.(type) {
		case xml.StartElement:
			n, err := c.children(t)
			if err != nil {
				return Node{}, err
			}
			n.Raw = c.raw(from)
			return n, nil
		case xml.EndElement:
			return Node{}, fmt.Errorf("%w: %w", io.EOF, errStreamEnd)
		}
	}
}

func (c *Conn) children(se xml.StartElement) (Node, error) {
	n := Node{Name: se.Name, Attrs: se.Copy().Attr}
	for {
		from := c.dec.InputOffset()
		tok, err := c.dec.Token()
		if err != nil {
			return n, err
		}
		switch t := tok.(type) {
		case xml.StartElement:
			kid, err := c.children(t)
			if err != nil {
				return n, err
			}
			kid.Raw = c.raw(from)
			n.Children = append(n.Children, kid)
		case xml.CharData:
			n.Text += string(t)
		case xml.EndElement:
			return n, nil
		}
	}
}

func (c *Conn) raw(from int64) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.in.Bytes()[c.restart+int(from) : c.restart+int(c.dec.InputOffset())])
}

// ExpectHeader is ReadHeader that fails the test on an error.
func (c *Conn) ExpectHeader() Node {
	c.srv.tb.Helper()
	c.deadline()
	n, err := c.ReadHeader()
	if err != nil {
		c.fail("expected a stream header: %v", err)
	}
	return n
}

// Greet expects the client's header and answers it with ours and features, whose children are given as raw XML.
func (c *Conn) Greet(features string) Node {
	c.srv.tb.Helper()
	h := c.ExpectHeader()
	c.SendHeader("")
	c.SendFeatures(features)
	return h
}

// Expect reads the next element and fails the test if its local name is another.
func (c *Conn) Expect(local string) Node {
	c.srv.tb.Helper()
	c.deadline()
	n, err := c.Read()
	if err != nil {
		c.fail("expected <%s/>: %v", local, err)
	}
	if n.Name.Local != local {
		c.fail("expected <%s/>, got %s", local, n.Raw)
	}
	return n
}

// ExpectEnd expects </stream:stream>.
func (c *Conn) ExpectEnd() {
	c.srv.tb.Helper()
	c.deadline()
	if n, err := c.Read(); !errors.Is(err, errStreamEnd) {
		c.fail("expected </stream:stream>, got %q, %v", n.Raw, err)
	}
}

// ExpectCut expects the connection to end without </stream:stream>.
func (c *Conn) ExpectCut() {
	c.srv.tb.Helper()
	c.deadline()
	if n, err := c.Read(); err == nil || errors.Is(err, errStreamEnd) || errors.Is(err, os.ErrDeadlineExceeded) {
		c.fail("expected a cut, got %q, %v", n.Raw, err)
	}
}

func (c *Conn) deadline() { _ = c.plain.SetReadDeadline(time.Now().Add(Patience)) }
