package xmlframe

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
)

// generator makes documents that are well-formed and allowed, and breaks them.
type generator struct{ *rand.Rand }

func pick[T any](g generator, from ...T) T { return from[g.IntN(len(from))] }

func (g generator) name() string {
	n := pick(g, "a", "b", "c", "body", "x1", "_", "A.b-c", "é", "ж1", "名", "xmlish", "message")
	return n
}

func (g generator) space() string {
	return pick(g, "u", "v", "jabber:client", "urn:x&amp;y", "&#117;", "u ", "http://example.org/#f", "u\tv", "é")
}

func (g generator) text(in context) string {
	t := pick(g, "", "", " ", "\n  ", "text", "fish &amp; chips", "&lt;&gt;&quot;&apos;", "&#x41;&#10;&#xD;", "é日😀", "]] >", "\r\n", "\t", "a]b",
		"wherefore art thou Romeo", strings.Repeat("long ", 20), "ё")
	switch {
	case in == inQuotes:
		return t + pick(g, "", ">", "]]>")
	case g.IntN(6) == 0:
		return t + "<![CDATA[" + pick(g, "", "]", "]]", "<&>", "x]]&gt;", "é\r\n", "]>") + "]]>"
	}
	return t
}

func (g generator) document() []byte {
	var b bytes.Buffer
	b.WriteString(pick(g, "", "", "", "\n", "<?xml version='1.0'?>", "<?xml version=\"1.0\" encoding='UTF-8' standalone='yes' ?>\n"))
	budget := 1 + g.IntN(25)
	g.element(&b, nil, 0, &budget)
	b.WriteString(pick(g, "", "", "\n", " \t\r\n"))
	return b.Bytes()
}

// root returns a root's start tag and the prefixes that it declares, some of those that elements declare too.
func (g generator) root() (tag []byte, prefixes []string) {
	var b bytes.Buffer
	b.WriteString("<root")
	if g.IntN(2) == 0 {
		b.WriteString(" xmlns=" + g.quote(g.space()))
	}
	for _, p := range []string{"p", "q", "é", "stream", "z"} {
		if g.IntN(2) == 0 {
			prefixes = append(prefixes, p)
			fmt.Fprintf(&b, " xmlns:%s=%s", p, g.quote(g.space()+p))
		}
	}
	if g.IntN(2) == 0 {
		b.WriteString(" xml:lang=" + g.quote(pick(g, "en", "de", "")))
	}
	b.WriteString(">")
	return b.Bytes(), prefixes
}

// element writes an element that may use the given prefixes.
func (g generator) element(b *bytes.Buffer, prefixes []string, depth int, budget *int) {
	*budget--
	var decls []string
	used := map[string]bool{}
	if g.IntN(4) == 0 {
		decls = append(decls, "xmlns="+g.quote(pick(g, g.space(), g.space(), "")))
	}
	for g.IntN(4) == 0 {
		p := pick(g, "p", "q", "r", "é", "stream")
		if !used[p] {
			used[p] = true
			prefixes = append(prefixes[:len(prefixes):len(prefixes)], p)
			decls = append(decls, fmt.Sprintf("xmlns:%s=%s", p, g.quote(g.space()+p))) // no two prefixes for the same
		}
	}
	qualified := func() string {
		if len(prefixes) > 0 && g.IntN(3) == 0 {
			return pick(g, prefixes...) + ":" + g.name()
		}
		return g.name()
	}
	name := qualified()
	used = map[string]bool{}
	for g.IntN(2) == 0 {
		a := qualified()
		if g.IntN(12) == 0 {
			a = pick(g, "xml:lang", "xml:space", "xml:id")
		}
		if !used[a] {
			used[a] = true
			decls = append(decls, a+pick(g, "=", "=", " =", "= ", "\n=\t")+g.quote(g.text(inQuotes)))
		}
	}
	g.Shuffle(len(decls), func(i, j int) { decls[i], decls[j] = decls[j], decls[i] })
	b.WriteString("<" + name)
	for _, d := range decls {
		b.WriteString(pick(g, " ", " ", " ", "  ", "\n", "\r\n\t") + d)
	}
	b.WriteString(pick(g, "", "", " ", "\n"))
	if g.IntN(4) == 0 {
		b.WriteString("/>")
		return
	}
	b.WriteString(">" + g.text(inContent))
	for *budget > 0 && depth < 12 && g.IntN(4) > 0 {
		g.element(b, prefixes, depth+1, budget)
		b.WriteString(g.text(inContent))
	}
	b.WriteString("</" + name + pick(g, "", "", " ", "\n") + ">")
}

func (g generator) quote(s string) string {
	q := pick(g, "'", "\"")
	return q + strings.ReplaceAll(s, q, "&#34;") + q
}

// mutate breaks a document, usually.
func (g generator) mutate(doc []byte) []byte {
	b := bytes.Clone(doc)
	for range 1 + g.IntN(2) {
		i := g.IntN(len(b) + 1)
		switch g.IntN(6) {
		case 0: // delete
			j := min(len(b), i+1+g.IntN(3))
			b = append(b[:i], b[j:]...)
		case 1: // change a byte
			if i < len(b) {
				b[i] = byte(pick(g, g.IntN(256), int('<'), int('>'), int('&'), int('\''), int('"'), int(':'), int('='), int('/'), int(' ')))
			}
		case 2: // repeat a piece
			j := min(len(b), i+1+g.IntN(12))
			b = bytes.Join([][]byte{b[:j], b[i:]}, nil)
		case 3: // cut
			b = b[:i]
		default: // insert
			token := pick(g, "<", ">", "&", "]]>", "<!---->", "<?x?>", "<!DOCTYPE a>", "<![CDATA[", "&#0;", "&#xD800;", "&foo;", "&amp;", "\x00", "\x0b",
				"\uFFFE", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff", "é", "<a/>", "</a>", " xmlns:p='u'", " xmlns='v'", " p:a=''", " a=''", "xml:", "xmlns:",
				" xmlns:xml='u'", " xmlns:xmlns='u'", "p:", ":", " ", "=", "'", "\"", "/", "<?xml version='1.0'?>", "\ufeff")
			b = bytes.Join([][]byte{b[:i], []byte(token), b[i:]}, nil)
		}
		if len(b) == 0 {
			return b
		}
	}
	return b
}
