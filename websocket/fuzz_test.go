package websocket

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stanzagate/internal/origin"
	"stanzagate/internal/xmlframe"
	"stanzagate/internal/xmpptest"
	"stanzagate/upstream"
)

// FuzzFrames throws what browsers might send at a live handler with a server behind it. Whatever it is, the browser hears
// legal frames with elements that stand alone, up to the end of the connection; the server hears one well-formed stream;
// and nothing panics.
//
// mode 0: messages, cut at the zero bytes of data; 1: the same, logged in; 2: bytes for the socket; 3: the same, logged in.
func FuzzFrames(f *testing.F) {
	for _, s := range []string{
		openElement, openElement + "\x00" + closeFromBrowser, closeFromBrowser, "\x00 \x00\n", "<a/><b/>", "<stream:stream>", "{}",
		`<message xmlns="jabber:client"><body>&lt;&#x2603;]]&gt;<![CDATA[<]]></body></message>`,
		`<x:message xmlns:x="jabber:client" xml:lang="de" x:a="1"><x:body/></x:message>`,
		`<message xmlns="jabber:client"><!-- --></message>`, `<?xml version="1.0"?><presence xmlns="jabber:client"/>` + "\n",
		`<starttls xmlns="urn:ietf:params:xml:ns:xmpp-tls"/>`, `<enable xmlns="urn:xmpp:sm:3"/>`, "<presence/>", "\xff",
		`<auth xmlns="urn:ietf:params:xml:ns:xmpp-sasl" mechanism="PLAIN">AGEAYg==</auth>` + "\x00" + openElement,
	} {
		f.Add(uint8(0), []byte(s))
		f.Add(uint8(1), []byte(s))
	}
	for _, p := range [][]byte{
		masked(fin|opText, openElement), masked(fin|opPing, "x"), masked(fin|opClose, "\x03\xe8"), masked(opText, "<a"),
		{fin | opText, 5},
		append(masked(opText, "<presence xmlns='jabber"), masked(fin|opContinuation, ":client'/>")...),
		{0xff, 0xff},
	} {
		f.Add(uint8(2), p)
		f.Add(uint8(3), p)
	}
	rig := newFuzzRig(f)
	f.Fuzz(func(t *testing.T, mode uint8, data []byte) {
		if len(data) > 64<<10 {
			t.Skip("more of the same")
		}
		rig.try(t, mode&1 == 1, mode&2 == 2, data)
	})
}

// fuzzRig is a handler whose server is in memory.
type fuzzRig struct {
	rig
	heard  chan []byte // all that a server connection heard, at its end
	dials  atomic.Int64
	panics atomic.Int64
}

func newFuzzRig(tb testing.TB) *fuzzRig {
	fr := &fuzzRig{rig: rig{t: tb, metrics: &counters{ended: map[string]int{}}}, heard: make(chan []byte)}
	d, err := upstream.NewDialer(upstream.Config{
		Domains: []string{domain + "=xmpp://server.example:5222?tls=none"},
		Dial: func(context.Context, string, string) (net.Conn, error) {
			client, server := memoryPair()
			fr.dials.Add(1)
			go fr.listen(server)
			return client, nil
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	any, _ := origin.Parse([]string{"*"})
	fr.handler, err = New(Config{
		Dialer: d, Origins: any, Metrics: fr.metrics, Ping: -1, Log: slog.New(panicWatch{slog.DiscardHandler, &fr.panics}),
		Limits: xmlframe.Limits{ElementBytes: minElementBytes},
	})
	if err != nil {
		tb.Fatal(err)
	}
	fr.serve(true, nil)
	return fr
}

// listen is the server: it logs in whoever comes, then only listens.
func (fr *fuzzRig) listen(c net.Conn) {
	var heard bytes.Buffer
	in := io.TeeReader(c, &heard)
	_ = echoLogin(in, c)
	for buf := make([]byte, 4096); !bytes.HasSuffix(heard.Bytes(), []byte("</stream:stream>")); {
		if _, err := in.Read(buf); err != nil {
			break
		}
	}
	_, _ = io.WriteString(c, "</stream:stream>")
	_ = c.Close()
	fr.heard <- heard.Bytes()
}

// panicWatch counts what guard reports.
type panicWatch struct {
	slog.Handler
	n *atomic.Int64
}

func (panicWatch) Enabled(context.Context, slog.Level) bool { return true }

func (p panicWatch) Handle(_ context.Context, r slog.Record) error {
	if r.Level >= slog.LevelError {
		p.n.Add(1)
	}
	return nil
}

func (fr *fuzzRig) try(t *testing.T, loggedIn, raw bool, data []byte) {
	r := fr.rig
	r.t = t
	dialled := fr.dials.Load()
	var b *browser
	if loggedIn {
		b = r.login("alice", "web")
	} else {
		b = r.connect()
	}
	send := data
	if !raw {
		send = nil
		for m := range bytes.SplitSeq(data, []byte{0}) {
			send = append(send, masked(fin|opText, string(m))...)
		}
	}
	go func() {
		_, _ = b.conn.Write(send)
		_, _ = b.conn.Write(masked(fin|opClose, "\x03\xe8"))
		out := b.conn.(*memoryConn).out
		out.end(&out.closed)
	}()
	_ = b.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	for {
		op, p, err := b.next()
		if err != nil {
			break
		}
		if op == opText {
			if err := standsAlone(p); err != nil {
				t.Fatalf("heard %q: %v", p, err)
			}
		}
	}
	_ = b.conn.Close()
	eventually(t, "session ended", func() bool { return fr.handler.Sessions() == 0 })
	if fr.panics.Load() != 0 {
		t.Fatal("a panic was contained")
	}
	for range fr.dials.Load() - dialled {
		select {
		case heard := <-fr.heard:
			if err := wellFormedStreams(heard); err != nil {
				t.Fatalf("server heard %q: %v", heard, err)
			}
		case <-time.After(xmpptest.Patience):
			t.Fatal("connection to the server is still open")
		}
	}
}

// wellFormedStreams checks each of the streams that a connection carried, one after the other (RFC 6120 §4.3.3).
func wellFormedStreams(heard []byte) error {
	const declaration = "<?xml version='1.0'?>"
	streams := strings.Split(string(heard), declaration)[1:]
	for i, s := range streams {
		d := xml.NewDecoder(strings.NewReader(s))
		for {
			_, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			var syntax *xml.SyntaxError
			if errors.As(err, &syntax) && syntax.Msg == "unexpected EOF" && i < len(streams)-1 && int(d.InputOffset()) == len(s) {
				break // a restart follows: the stream is not closed
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}
