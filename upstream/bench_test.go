package upstream

import (
	"strings"
	"testing"

	"stanzagate/internal/xmpptest"
)

// stanza400 is a chat message of 400 bytes.
var stanza400 = func() string {
	const head, tail = "<message to='romeo@example.org/orchard' type='chat' id='4711'><body>", "</body></message>"
	return head + strings.Repeat("x", 400-len(head)-len(tail)) + tail
}()

// benchStream logs in to a server that sends stanzas without end, or swallows everything.
func benchStream(b *testing.B, o xmpptest.Options, floods bool) *conn {
	ca := xmpptest.NewCA(b)
	if o.Direct {
		o.TLS = ca.Good("example.org")
	}
	o.Handler = func(c *xmpptest.Conn) {
		if c.Login() != nil {
			return
		}
		batch := strings.Repeat(stanza400, 100)
		for floods && c.Write(batch) == nil {
			continue
		}
		c.Discard()
	}
	srv := xmpptest.Start(b, o)
	c := dialTo(b, srv.Setting(ca.File()), Opening{})
	c.login("juliet")
	b.SetBytes(int64(len(stanza400)))
	b.ReportAllocs()
	b.ResetTimer()
	return c
}

func benchModes(b *testing.B, run func(*testing.B, xmpptest.Options)) {
	b.Run("tcp", func(b *testing.B) { run(b, xmpptest.Options{}) })
	b.Run("tls", func(b *testing.B) { run(b, xmpptest.Options{Direct: true}) })
}

// BenchmarkRecv receives stanzas that arrive as fast as they can, mending each for a browser.
func BenchmarkRecv(b *testing.B) {
	benchModes(b, func(b *testing.B, o xmpptest.Options) {
		c := benchStream(b, o, true)
		var dst []byte
		for b.Loop() {
			ev, err := c.Recv()
			if err != nil {
				b.Fatal(err)
			}
			dst = ev.Element.AppendTo(dst[:0], nil)
		}
		_ = c.Cut()
	})
}

// BenchmarkSend admits and sends stanzas one by one.
func BenchmarkSend(b *testing.B) {
	benchModes(b, func(b *testing.B, o xmpptest.Options) {
		c := benchStream(b, o, false)
		el := parse(b, strings.Replace(stanza400, "<message", "<message xmlns='jabber:client'", 1))
		var dst []byte
		for b.Loop() {
			a, err := c.Admit(dst[:0], el)
			if err != nil {
				b.Fatal(err)
			}
			if dst = a.Bytes; c.Send(dst) != nil {
				b.Fatal("lost")
			}
		}
		_ = c.Cut()
	})
}
