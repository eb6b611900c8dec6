package xmlframe

import (
	"strings"
	"testing"
)

var benchLimits = Limits{ElementBytes: 262144, Depth: 64, Attributes: 64, NameBytes: 1024}

var benchElements = []struct{ name, xml string }{
	{"message", chatStanza},
	{"presence", presenceStanza},
	{"16KiB", "<message xmlns='jabber:client'><body>" + strings.Repeat("wherefore art thou Romeo? ", 16*1024/26) + "</body></message>"},
	{"Cyrillic16KiB", "<message xmlns='jabber:client'><body>" + strings.Repeat("зачем же ты Ромео? ", 16*1024/34) + "</body></message>"},
	{"attributes", "<a" + lengthening(40) + "/>"},
	{"prefixes", manyPrefixes(12)},
}

// BenchmarkScan is the cost of one element on a stream.
func BenchmarkScan(b *testing.B) {
	for _, c := range benchElements {
		b.Run(c.name, func(b *testing.B) {
			s := NewScanner(Rooted, benchLimits)
			if _, _, err := s.Next([]byte(streamHeader)); err != nil {
				b.Fatal(err)
			}
			buf := []byte(c.xml)
			b.SetBytes(int64(len(buf)))
			b.ReportAllocs()
			for b.Loop() {
				if tok, _, err := s.Next(buf); err != nil || tok.Kind != Child {
					b.Fatal(tok.Kind, err)
				}
			}
		})
	}
}

// BenchmarkParse is the cost of one WebSocket message.
func BenchmarkParse(b *testing.B) {
	buf := []byte(chatStanza)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(buf, benchLimits); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAppendTo is the cost of moving a message from a stream to a place with the same declarations, and to one
// without, as a WebSocket message.
func BenchmarkAppendTo(b *testing.B) {
	s := NewScanner(Rooted, benchLimits)
	buf := []byte(streamHeader + strings.Replace(chatStanza, " xmlns='jabber:client'", "", 1))
	_, n, err := s.Next(buf)
	if err != nil {
		b.Fatal(err)
	}
	tok, _, err := s.Next(buf[n:])
	if err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, 0, 1024)
	for _, c := range []struct {
		name string
		to   *Scope
	}{{"same", s.Scope()}, {"alone", nil}} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(tok.Element.Raw)))
			b.ReportAllocs()
			for b.Loop() {
				dst = tok.Element.AppendTo(dst[:0], c.to)
			}
		})
	}
}

// BenchmarkBody is the cost of one BOSH request with one message.
func BenchmarkBody(b *testing.B) {
	buf := []byte("<body rid='573741820' sid='SomeSID' xmlns='http://jabber.org/protocol/httpbind' xmlns:xmpp='urn:xmpp:xbosh'>" + chatStanza + "</body>")
	s := NewScanner(Rooted, benchLimits)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		s.Reset()
		for rest := buf; len(rest) > 0; {
			_, n, err := s.Next(rest)
			if err != nil {
				b.Fatal(err)
			}
			rest = rest[n:]
		}
	}
}
