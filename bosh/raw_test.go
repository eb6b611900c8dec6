package bosh

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// rawConn is an HTTP connection of which a test controls every byte.
type rawConn struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func (r *rig) dial() *rawConn {
	r.t.Helper()
	c, err := net.Dial("tcp", r.web.Listener.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return &rawConn{r.t, c, bufio.NewReader(c)}
}

func (c *rawConn) write(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, s); err != nil {
		c.t.Fatal(err)
	}
}

// post writes a POST with HTTP version 1.minor and further header lines.
func (c *rawConn) post(minor int, body string, lines ...string) {
	c.t.Helper()
	head := fmt.Sprintf("POST /http-bind HTTP/1.%d\r\nHost: gw.example\r\nContent-Length: %d\r\n", minor, len(body))
	for _, l := range lines {
		head += l + "\r\n"
	}
	c.write(head + "\r\n" + body)
}

// response reads one response and its body.
func (c *rawConn) response() (*http.Response, string) {
	c.t.Helper()
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return res, string(body)
}

// expectClosed expects the end of the connection without another byte.
func (c *rawConn) expectClosed() {
	c.t.Helper()
	if b, err := c.r.ReadByte(); err == nil {
		c.t.Fatalf("got %q, want the end of the connection", b)
	} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
		c.t.Fatal("the connection stays open")
	}
}

// reset closes with a RST.
func (c *rawConn) reset() {
	_ = c.Conn.(*net.TCPConn).SetLinger(0)
	_ = c.Conn.Close()
}

// http10 speaks HTTP/1.0, with or without keep-alive.
type http10 struct {
	rig       *rig
	keepAlive bool
	conn      *rawConn
	dialled   int
}

func (h *http10) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	var lines []string
	if h.keepAlive {
		lines = append(lines, "Connection: keep-alive")
	}
	if h.conn == nil || !h.keepAlive {
		h.conn = h.rig.dial()
		h.dialled++
	}
	h.conn.post(0, string(body), lines...)
	return http.ReadResponse(h.conn.r, req)
}
