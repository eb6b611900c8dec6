package xmlframe

import (
	"errors"
	"strings"
	"testing"
	"unsafe"
)

// feed gives s the input byte by byte, like a slow peer, and returns how many bytes it had been given when it had enough.
func feed(s *Scanner, input string) (given, held int, err error) {
	from := 0
	for to := 1; to <= len(input); to++ {
		_, n, err := s.Next([]byte(input[from:to]))
		from += n
		held = max(held, to-from)
		if err != nil {
			return to, held, err
		}
	}
	return len(input), held, nil
}

func wantCondition(t *testing.T, err error, want Condition) {
	t.Helper()
	var fault *Error
	if !errors.As(err, &fault) || fault.Condition != want {
		t.Fatalf("%v, want %s", err, want)
	}
}

// Covers: UP-038.
func TestLimits(t *testing.T) {
	const (
		many  = 100
		bytes = 60
	)
	limits := Limits{ElementBytes: bytes, Depth: 3, Attributes: 4, NameBytes: 8}
	long := strings.Repeat("x", many)
	for _, c := range []struct {
		name, in string // what follows the stream header
		at       int    // how much of it is enough to refuse it; 0: it is accepted
	}{
		{"element of the allowed size", "<a>" + strings.Repeat("x", bytes-7) + "</a>", 0},
		{"element one byte bigger", "<a>" + strings.Repeat("x", bytes-6) + "</a>", bytes},
		{"text", "<a>" + long, bytes},
		{"attribute value", "<a b='" + long, bytes},
		{"section", "<a><![CDATA[" + long, bytes},
		{"space in a tag", "<a" + strings.Repeat(" ", many), bytes},
		{"space in an end tag", "<a></a" + strings.Repeat(" ", many), bytes},
		{"reference", "<a>&#" + strings.Repeat("0", many), bytes},
		{"root's end tag", "</stream:stream" + strings.Repeat(" ", many), bytes},
		{"depth allowed", "<a><b><c/></b></a>", 0},
		{"depth", "<a><b><c><d", len("<a><b><c><d")},
		{"attributes allowed", "<a b='' c='' d='' e=''/>", 0},
		{"attributes", "<a b='' c='' d='' e='' f", len("<a b='' c='' d='' e='' f")},
		{"declarations", "<a xmlns='u' b='' c='' d='' e", len("<a xmlns='u' b='' c='' d='' e")},
		{"name allowed", "<abcdefgh abcdefgh=''/>", 0},
		{"element name", "<" + long, len("<123456789")},
		{"attribute name", "<a " + long, len("<a 123456789")},
		{"qualified name", "<a p:" + long, len("<a p:3456789")},
		{"name beyond ASCII", "<ééééé", len("<ééééé")},
		{"elements without end", strings.Repeat("<a>"+strings.Repeat("x", bytes-7)+"</a>\n", many), 0},
		{"space between elements", strings.Repeat(" \n", many) + "<a/>", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := NewScanner(Rooted, Limits{})
			header(t, s, "<stream:stream xmlns:stream='u'>")
			s.limits = limits
			given, held, err := feed(s, c.in)
			switch {
			case c.at == 0 && err != nil:
				t.Fatal(err)
			case c.at > 0:
				wantCondition(t, err, PolicyViolation)
				if given != c.at {
					t.Errorf("refused after %d bytes, want %d", given, c.at)
				}
			}
			if held > bytes {
				t.Errorf("made the caller hold %d bytes", held)
			}
		})
		if strings.HasPrefix(c.in, "<a") || strings.HasPrefix(c.in, "<x") {
			t.Run(c.name+", standing alone", func(t *testing.T) {
				if strings.Count(c.in, "<a>") > 1 {
					return // elements, not one
				}
				given, _, err := feed(NewScanner(Standalone, limits), c.in)
				if c.at == 0 && err != nil || c.at > 0 && given != c.at {
					t.Errorf("after %d bytes: %v", given, err)
				}
			})
		}
	}
}

// Covers: UP-038.
func TestLimitOnHeader(t *testing.T) {
	given, _, err := feed(NewScanner(Rooted, Limits{ElementBytes: 50}), "<stream:stream a='"+strings.Repeat("x", 100))
	wantCondition(t, err, PolicyViolation)
	if given != 50 {
		t.Errorf("refused after %d bytes", given)
	}
	given, _, err = feed(NewScanner(Rooted, Limits{}), "<?xml version='1.0'"+strings.Repeat(" ", 1000))
	wantCondition(t, err, PolicyViolation)
	if given != maxDecl {
		t.Errorf("declaration refused after %d bytes", given)
	}
}

// A depth limit does not count the root: an element in it has depth 1, as one that stands alone.
func TestDepthWithoutRoot(t *testing.T) {
	for _, mode := range []Mode{Rooted, Standalone} {
		s := NewScanner(mode, Limits{Depth: 1})
		if mode == Rooted {
			header(t, s, "<r>")
		}
		if tok, _, err := s.Next([]byte("<a/>")); err != nil || tok.Kind != Child {
			t.Errorf("mode %d: %v, %v", mode, tok.Kind, err)
		}
	}
}

// Every byte of an element that comes byte by byte is looked at once: twice the bytes take about twice the steps. Steps
// are counted, not timed: the machine is asked how far it had come.
func TestBytewiseIsLinear(t *testing.T) {
	for _, c := range []struct{ name, start, rest string }{
		{"text", "<a>", "x"},
		{"space", "<a", " "},
		{"value", "<a b='", "x"},
		{"section", "<a><![CDATA[", "]"},
		{"name", "<", "a"},
		{"reference", "<a>&#x", "0"},
		{"entity", "<a>&", "a"},
		{"attributes", "<a", " b=''"},
		{"elements", "<a>", "<b></b>"},
		{"beyond ASCII", "<a>", "é日😀"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := []byte(c.start + strings.Repeat(c.rest, 2000))
			s := NewScanner(Standalone, Limits{})
			for n := 1; n <= len(in); n++ {
				if _, _, err := s.Next(in[:n]); err != nil {
					t.Fatal(err)
				}
				if s.token != nil && n-s.token.pos > 8 { // an unfinished character, or the start of a section
					t.Fatalf("%d bytes are given, %d examined", n, s.token.pos)
				}
			}
		})
	}
}

// What is pinned is what a session costs while nothing happens on it.
func TestIdleMemory(t *testing.T) {
	s := NewScanner(Rooted, Limits{})
	in := streamHeader + chatStanza + "\n"
	for len(in) > 0 {
		_, n, err := s.Next([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		in = in[n:]
	}
	if s.token != nil {
		t.Error("an idle Scanner keeps a machine")
	}
	if size := unsafe.Sizeof(*s); size > 200 {
		t.Errorf("a Scanner takes %d bytes", size)
	}
}

func TestHostileMachineIsNotKept(t *testing.T) {
	s := NewScanner(Standalone, Limits{})
	for _, in := range []string{
		strings.Repeat("<a>", 10000),
		"<a" + lengthening(200),
		strings.Repeat("<a xmlns:p='u'>", 200),
		"<a xmlns='" + strings.Repeat("&#65;", 10000) + "'>",
	} {
		s.Reset()
		if _, _, err := s.Next([]byte(in)); err != nil {
			t.Fatal(err)
		}
		if m := s.token; !m.outgrown() {
			t.Errorf("%.20s: %d frames, %d attributes, %d bindings go back to the pool", in, cap(m.open), cap(m.attrs), cap(m.bindings.list))
		}
	}
}

func TestScanAllocatesNothing(t *testing.T) {
	s := NewScanner(Rooted, Limits{ElementBytes: 1 << 18, Depth: 64, Attributes: 64, NameBytes: 1024})
	header(t, s, streamHeader)
	for _, xml := range []string{chatStanza, presenceStanza, "<a xmlns:p='u'>" + strings.Repeat("<p:b p:c=''>é&amp;<![CDATA[x]]></p:b>", 20) + "</a>"} {
		buf := []byte(xml)
		whole := testing.AllocsPerRun(200, func() {
			if tok, _, err := s.Next(buf); err != nil || tok.Kind != Child {
				t.Fatal(tok.Kind, err)
			}
		})
		inPieces := testing.AllocsPerRun(200, func() {
			for _, n := range []int{10, len(buf) / 2, len(buf) - 1, len(buf)} {
				if _, _, err := s.Next(buf[:n]); err != nil {
					t.Fatal(err)
				}
			}
		})
		alone := testing.AllocsPerRun(200, func() {
			if _, err := Parse(buf, Limits{}); err != nil {
				t.Fatal(err)
			}
		})
		refused := testing.AllocsPerRun(200, func() {
			if _, err := Parse(buf[:len(buf)-2], Limits{}); !errors.Is(err, ErrTruncated) {
				t.Fatal(err)
			}
		})
		if max(whole, inPieces, alone, refused) > poolMisses {
			t.Errorf("%.20s: allocations: whole %v, in pieces %v, alone %v, truncated %v", xml, whole, inPieces, alone, refused)
		}
	}
}

func TestAppendToAllocatesNothing(t *testing.T) {
	dst := make([]byte, 0, 4096)
	e := child(t, streamHeader, "<message><stream:x/></message>")
	for _, to := range []*Scope{nil, {Default: "jabber:client"}} {
		if n := testing.AllocsPerRun(200, func() { dst = e.AppendTo(dst[:0], to) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}
