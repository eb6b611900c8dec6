package xmlframe

import (
	"strings"
	"testing"
)

func BenchmarkScan(b *testing.B) {
	for _, c := range []struct{ name, xml string }{
		{"message", chatStanza},
		{"presence", presenceStanza},
		{"16KiB", "<message xmlns='jabber:client'><body>" + strings.Repeat("wherefore art thou Romeo? ", 16*1024/26) + "</body></message>"},
		{"Cyrillic16KiB", "<message xmlns='jabber:client'><body>" + strings.Repeat("зачем же ты Ромео? ", 16*1024/34) + "</body></message>"},
		{"attributes", "<a" + manyAttrs(40) + "/>"},
		{"prefixes", manyPrefixes(12)},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := NewScanner(Rooted, Limits{ElementBytes: 262144, Depth: 64, Attributes: 64, NameBytes: 1024})
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
