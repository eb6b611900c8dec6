package xmlframe

import (
	"fmt"
	"strings"
	"testing"
)

// hostile are elements made to cost much, within the default limits of bytes, depth and attributes.
var hostile = []struct{ name, xml string }{
	{"long namespaces, referred to often", longSpaces()},
	{"all attribute names alike", fillElement("<a" + alikeAttrs() + "/>")},
	{"many prefixes, referred to often", manyInForce()},
	{"one-byte words of two-byte letters", fillElement("<a>" + strings.Repeat("é a", 40) + "</a>")},
	{"references", fillElement("<a>" + strings.Repeat("&lt;", 60) + "</a>")},
	{"white space", fillElement("<a " + strings.Repeat("\n", 60) + "/>" + strings.Repeat("\t", 60))},
}

const hostileBytes = 250000

func fillElement(s string) string {
	return "<b>" + strings.Repeat(s, hostileBytes/len(s)) + "</b>"
}

// longSpaces declares namespaces that differ in their middle, and uses them in pairs.
func longSpaces() string {
	var decls, use strings.Builder
	pad := strings.Repeat("x", hostileBytes/100)
	for i := range 24 {
		fmt.Fprintf(&decls, " xmlns:p%02d='%s%02d%s'", i, pad, i, pad)
		fmt.Fprintf(&use, " p%02d:x=''", i)
	}
	u := "<a" + use.String() + "/>"
	return "<b" + decls.String() + ">" + strings.Repeat(u, (hostileBytes-decls.Len())/len(u)) + "</b>"
}

func alikeAttrs() string {
	var t strings.Builder
	for c := 'a'; c <= 'x'; c++ {
		fmt.Fprintf(&t, " x%c%c=''", c, 'a')
	}
	return t.String()
}

func manyInForce() string {
	var open, shut strings.Builder
	for i := range 60 {
		open.WriteString("<b")
		for k := range 60 {
			fmt.Fprintf(&open, " xmlns:q%02d%02d='u'", i, k)
		}
		open.WriteString(">")
		shut.WriteString("</b>")
	}
	u := "<q0000:c/>"
	return open.String() + strings.Repeat(u, (hostileBytes-open.Len())/len(u)) + shut.String()
}

func TestHostileIsAccepted(t *testing.T) {
	for _, c := range hostile {
		if _, err := Parse([]byte(c.xml), Limits{ElementBytes: 262144, Depth: 64, Attributes: 64}); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// BenchmarkHostile is what a client can make a scan cost. The worst should be within ten times the usual, by bytes.
func BenchmarkHostile(b *testing.B) {
	for _, c := range hostile {
		b.Run(strings.ReplaceAll(c.name, " ", "_"), func(b *testing.B) {
			buf := []byte(c.xml)
			b.SetBytes(int64(len(buf)))
			for b.Loop() {
				if _, err := Parse(buf, Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
