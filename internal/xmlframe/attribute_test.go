package xmlframe

import (
	"testing"
)

func header(t *testing.T, s *Scanner, in string) Element {
	t.Helper()
	s.Reset()
	tok, _, err := s.Next([]byte(in))
	if err != nil || tok.Kind != Header {
		t.Fatalf("%s: %v, %v", in, tok.Kind, err)
	}
	return tok.Element
}

// Covers: XBOSH-007.
func TestAttributes(t *testing.T) {
	s := NewScanner(Rooted, Limits{})
	el := header(t, s, "<body xmlns='urn:b' xmlns:x='urn:&#x78;' a = '1&amp;2' x:b=\"3\" xml:lang='de'>")
	want := []struct{ space, local, value string }{
		{"", "a", "1&2"}, {"urn:x", "b", "3"}, {"http://www.w3.org/XML/1998/namespace", "lang", "de"},
	}
	i := 0
	for a := range el.Attributes() {
		if i == len(want) {
			t.Fatalf("one attribute too many: %s", a.Local)
		}
		w := want[i]
		if !a.Is(w.space, w.local) || a.Is("urn:other", w.local) || a.Value() != w.value || string(a.Bytes()) != w.value {
			t.Errorf("attribute %d is %s %q, want %v", i, a.Local, a.Value(), w)
		}
		i++
	}
	if i != len(want) {
		t.Errorf("%d attributes, want %d", i, len(want))
	}
}

func TestAttributesAllocateNothing(t *testing.T) {
	el := header(t, NewScanner(Rooted, Limits{}), "<body xmlns='urn:b' rid='12' sid='abc' xml:lang='en'>")
	n := testing.AllocsPerRun(100, func() {
		for a := range el.Attributes() {
			if a.Is("", "rid") && string(a.Bytes()) != "12" {
				t.Error("wrong value")
			}
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Roots that look alike, but declare something else, must not share what they declare.
func TestRootAfterReset(t *testing.T) {
	s := NewScanner(Rooted, Limits{})
	for _, c := range []struct {
		in, space, lang, prefix string
	}{
		{"<b xmlns='urn:a'>", "urn:a", "", ""},
		{"<b rid='1' xmlns=\"urn:a\">", "urn:a", "", ""},
		{"<b>", "", "", ""},
		{"<b xmlns='urn:a' xml:lang='en'>", "urn:a", "en", ""},
		{"<b xmlns='urn:a'>", "urn:a", "", ""},
		{"<b xmlns='urn:a' xmlns:p='urn:1'>", "urn:a", "", "urn:1"},
		{"<b xmlns='urn:a' xmlns:p='urn:2'>", "urn:a", "", "urn:2"},
		{"<b xmlns='urn:a' xmlns:p='urn:2' xmlns:q='urn:3'>", "urn:a", "", "urn:2"},
		{"<b xmlns='urn:a' xmlns:q='urn:3'>", "urn:a", "", ""},
		{"<b xmlns='urn:x&amp;amp;y'>", "urn:x&amp;y", "", ""},
		{"<b xmlns='urn:x&amp;y'>", "urn:x&y", "", ""},
		{"<b xmlns='urn:x\ty'>", "urn:x y", "", ""},
		{"<b xmlns='urn:x&#9;y'>", "urn:x\ty", "", ""},
		{"<b xmlns='urn:x\ty'>", "urn:x y", "", ""},
	} {
		header(t, s, c.in)
		got := s.Scope()
		prefix := ""
		for _, p := range got.Prefixes {
			if p.Name == "p" {
				prefix = p.Space
			}
		}
		if got.Default != c.space || got.Lang != c.lang || prefix != c.prefix {
			t.Errorf("%s declares %+v", c.in, got)
		}
	}
}

func TestSameRootAllocatesNothing(t *testing.T) {
	s := NewScanner(Rooted, Limits{})
	in := []byte("<body rid='1' sid='a' xmlns='http://jabber.org/protocol/httpbind'/>")
	n := testing.AllocsPerRun(100, func() {
		s.Reset()
		if _, _, err := s.Next(in); err != nil {
			t.Fatal(err)
		}
	})
	if n > poolMisses {
		t.Errorf("%v allocations for a root like the one before", n)
	}
}
