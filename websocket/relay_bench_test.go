package websocket

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	ws "github.com/coder/websocket"

	"stanzagate/internal/origin"
	"stanzagate/upstream"
)

// stanza is an ordinary chat message of 400 bytes or so.
var stanza = `<message xmlns="jabber:client" to="juliet@example.org/balcony" id="3f1c8a52-7d0e-4b41-a3d2-2f6f0f6c9a11" type="chat"><body>` +
	strings.Repeat("But, soft! ", 12) + `</body><active xmlns="http://jabber.org/protocol/chatstates"/>` +
	`<request xmlns="urn:xmpp:receipts"/></message>`

// echoServer is an XMPP server that costs nearly nothing: it logs in whoever comes, and then returns every byte.
func echoServer(tb testing.TB) (addr string) {
	tb.Helper()
	return tcpServe(tb, func(c net.Conn) {
		if echoLogin(c, c) == nil {
			_, _ = io.Copy(c, c)
		}
	})
}

func echoLogin(in io.Reader, out io.Writer) error {
	const header = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='1' from='example.org' version='1.0'>"
	buf := make([]byte, 4096)
	for _, step := range []struct{ wait, say string }{
		{"<stream:stream", header + "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms></stream:features>"},
		{"<auth", "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"},
		{"<stream:stream", header + "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>"},
		{"<iq", "<iq type='result' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>a@example.org/b</jid></bind></iq>"},
	} {
		n, err := in.Read(buf)
		if err != nil || !bytes.Contains(buf[:n], []byte(step.wait)) {
			return fmt.Errorf("expected %s: %q %w", step.wait, buf[:n], err)
		}
		if _, err := io.WriteString(out, step.say); err != nil {
			return err
		}
	}
	return nil
}

// echoRig is a Handler in front of an echoServer.
func echoRig(tb testing.TB, cfg Config) *rig {
	tb.Helper()
	d, err := upstream.NewDialer(upstream.Config{Domains: []string{domain + "=xmpp://" + echoServer(tb) + "?tls=none"}})
	if err != nil {
		tb.Fatal(err)
	}
	r := &rig{t: tb, metrics: &counters{ended: map[string]int{}}}
	cfg.Dialer = d
	cfg.Origins, _ = origin.Parse([]string{"*"})
	if r.handler, err = New(cfg); err != nil {
		tb.Fatal(err)
	}
	r.serve(false, nil)
	return r
}

// BenchmarkRelay sends stanzas from browsers to a server that returns them, with a few in flight for each browser. An
// operation is one stanza, both ways. BenchmarkRelayLibrary is the same with the least that coder/websocket allows: no
// XML is looked at, no namespace mended. CPU is that of the process, so clients and server count in both.
func BenchmarkRelay(b *testing.B) {
	for _, load := range loads {
		b.Run(load.name(), func(b *testing.B) {
			r := echoRig(b, Config{})
			load.run(b, func() *bufio.ReadWriter {
				c := r.login("alice", "web")
				_ = c.conn.SetDeadline(time.Time{})
				return bufio.NewReadWriter(c.r, bufio.NewWriter(c.conn))
			})
		})
	}
}

func BenchmarkRelayLibrary(b *testing.B) {
	for _, load := range loads {
		b.Run(load.name(), func(b *testing.B) {
			server := libraryRelay(b)
			load.run(b, func() *bufio.ReadWriter {
				conn, err := net.Dial("tcp", server)
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { _ = conn.Close() })
				c := &browser{t: b, conn: conn, r: bufio.NewReader(conn)}
				c.raw([]byte(handshakeRequest()))
				if _, err := http.ReadResponse(c.r, nil); err != nil {
					b.Fatal(err)
				}
				_ = conn.SetDeadline(time.Time{})
				return bufio.NewReadWriter(c.r, bufio.NewWriter(conn))
			})
		})
	}
}

// BenchmarkRelayTCP is the same without anything but a copy in between.
func BenchmarkRelayTCP(b *testing.B) {
	for _, load := range loads {
		b.Run(load.name(), func(b *testing.B) {
			relay := tcpRelay(b)
			load.run(b, func() *bufio.ReadWriter {
				conn, err := net.Dial("tcp", relay)
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { _ = conn.Close() })
				return bufio.NewReadWriter(bufio.NewReader(conn), bufio.NewWriter(conn))
			})
		})
	}
}

type load struct{ sessions, inFlight int }

var loads = []load{{1, 1}, {100, 1}, {100, 8}, {100, 64}}

func (l load) name() string { return fmt.Sprintf("sessions=%d/inflight=%d", l.sessions, l.inFlight) }

// run drives b.N stanzas through the connections that dial makes.
func (l load) run(b *testing.B, dial func() *bufio.ReadWriter) {
	conns := make([]*bufio.ReadWriter, l.sessions)
	for i := range conns {
		conns[i] = dial()
	}
	request := masked(fin|opText, stanza)
	b.SetBytes(int64(len(stanza)))
	b.ReportAllocs()
	b.ResetTimer()
	cpu := processTime()
	var wg sync.WaitGroup
	for i, c := range conns {
		n := b.N / l.sessions
		if i < b.N%l.sessions {
			n++
		}
		wg.Go(func() {
			if err := pump(c, request, n, l.inFlight); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64((processTime()-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.StopTimer()
}

// pump keeps inFlight requests on their way until n have come back. What is answered by one read is sent by one write.
func pump(c *bufio.ReadWriter, request []byte, n, inFlight int) error {
	sent, heard := 0, 0
	for heard < n {
		for sent < n && sent-heard < inFlight {
			if _, err := c.Write(request); err != nil {
				return err
			}
			sent++
		}
		if err := c.Flush(); err != nil {
			return err
		}
		for {
			if err := skipFrame(c.Reader); err != nil {
				return err
			}
			heard++
			if c.Reader.Buffered() < len(stanza) || heard == sent {
				break
			}
		}
	}
	return nil
}

func skipFrame(r *bufio.Reader) error {
	head, err := r.Peek(4)
	if err != nil {
		return err
	}
	n := 2 + int(head[1]&0x7f)
	if head[1]&0x7f == 126 {
		n = 4 + int(binary.BigEndian.Uint16(head[2:]))
	}
	if head[1]&0x80 != 0 { // our own frame, from the TCP relay
		n += 4
	}
	_, err = r.Discard(n)
	return err
}

func processTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// tcpEcho returns every byte.
func tcpEcho(b *testing.B) string { return tcpServe(b, func(c net.Conn) { _, _ = io.Copy(c, c) }) }

func tcpRelay(b *testing.B) string {
	echo := tcpEcho(b)
	return tcpServe(b, func(c net.Conn) {
		up, err := net.Dial("tcp", echo)
		if err != nil {
			b.Error(err)
			return
		}
		done := make(chan struct{})
		go func() { defer close(done); _, _ = io.Copy(c, up) }()
		_, _ = io.Copy(up, c)
		_ = up.Close()
		<-done
	})
}

// tcpServe serves each connection until the test ends.
func tcpServe(b testing.TB, serve func(net.Conn)) string {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer func() { _ = c.Close() }(); serve(c) })
		}
	})
	b.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

// libraryRelay moves messages between coder/websocket and a TCP server that returns them, cut at the end of a stanza.
func libraryRelay(b *testing.B) string {
	echo := tcpEcho(b)
	var wg sync.WaitGroup
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := ws.Accept(w, r, &ws.AcceptOptions{Subprotocols: []string{"xmpp"}, InsecureSkipVerify: true})
		if err != nil {
			b.Error(err)
			return
		}
		up, err := net.Dial("tcp", echo)
		if err != nil {
			b.Error(err)
			return
		}
		wg.Go(func() { libraryUp(conn, up) })
		wg.Go(func() { libraryDown(conn, up) })
	})}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	wg.Go(func() { _ = srv.Serve(ln) })
	b.Cleanup(func() { _ = srv.Close(); wg.Wait() })
	return ln.Addr().String()
}

func libraryUp(conn *ws.Conn, up net.Conn) {
	defer func() { _ = up.Close() }()
	buf := make([]byte, 4096)
	for {
		_, r, err := conn.Reader(context.Background())
		if err != nil {
			return
		}
		n := 0
		for {
			k, err := r.Read(buf[n:])
			n += k
			if err != nil {
				break
			}
		}
		if _, err := up.Write(buf[:n]); err != nil {
			return
		}
	}
}

func libraryDown(conn *ws.Conn, up net.Conn) {
	defer func() { _ = conn.CloseNow() }()
	r := bufio.NewReaderSize(up, 16<<10)
	for {
		b, err := r.Peek(len(stanza))
		if err != nil {
			return
		}
		if err := conn.Write(context.Background(), ws.MessageText, b); err != nil {
			return
		}
		_, _ = r.Discard(len(stanza))
	}
}
