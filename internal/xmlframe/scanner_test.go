package xmlframe

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// scanAll runs input through a Scanner in pieces that end at the given offsets and returns what it found, as text. Each
// call gets its own buffer, so a token that keeps to an old one is noticed.
func scanAll(mode Mode, limits Limits, input []byte, cuts ...int) (string, error) {
	s := NewScanner(mode, limits)
	var out bytes.Buffer
	from := 0
	for _, to := range append(cuts, len(input)) {
		for {
			buf := bytes.Clone(input[from:to])
			tok, n, err := s.Next(buf)
			from += n
			if err != nil {
				return out.String(), err
			}
			if tok.Kind == More {
				break
			}
			fmt.Fprintf(&out, "%d %s {%s}%s %d\n", tok.Kind, tok.Element.Raw, tok.Element.Space, tok.Element.Local, tok.Element.uses)
			if from == to && tok.Kind != Header {
				break
			}
		}
	}
	if from < len(input) {
		return out.String(), ErrTruncated
	}
	return out.String(), nil
}

// Covers: BOSH-022, BOSH-026, WS-019, UP-032, UP-033, UP-034.
func TestRefused(t *testing.T) {
	for _, c := range refused {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse([]byte(c.xml), Limits{})
			var fault *Error
			if !errors.As(err, &fault) || fault.Condition != c.condition {
				t.Fatalf("Parse(%q): %v, want %s", c.xml, err, c.condition)
			}
		})
	}
}

func TestAccepted(t *testing.T) {
	for _, c := range accepted {
		t.Run(c.name, func(t *testing.T) {
			for _, xml := range []string{c.xml, " \r\n" + c.xml + "\t ", `<?xml version="1.0" encoding='utf-8' standalone="no" ?>` + c.xml} {
				e, err := Parse([]byte(xml), Limits{})
				if err != nil {
					t.Fatalf("Parse(%q): %v", xml, err)
				}
				if string(e.Raw) != c.xml {
					t.Errorf("Raw is %q, want %q", e.Raw, c.xml)
				}
			}
		})
	}
}

func TestTruncated(t *testing.T) {
	for _, c := range accepted {
		for n := range min(len(c.xml), 600) {
			if _, err := Parse([]byte(c.xml)[:n], Limits{}); !errors.Is(err, ErrTruncated) {
				t.Fatalf("Parse(%q): %v, want ErrTruncated", c.xml[:n], err)
			}
		}
	}
}

func TestSplitAtEveryByte(t *testing.T) {
	check := func(t *testing.T, mode Mode, input string) {
		t.Helper()
		want, wantErr := scanAll(mode, Limits{}, []byte(input))
		every := make([]int, 0, len(input))
		for i := range len(input) {
			every = append(every, i)
			if len(input) > 700 {
				continue
			}
			if got, err := scanAll(mode, Limits{}, []byte(input), i); got != want || err != wantErr {
				t.Fatalf("%q cut at %d: %v, want %v\n%s\nwant\n%s", input, i, err, wantErr, got, want)
			}
		}
		if got, err := scanAll(mode, Limits{}, []byte(input), every...); got != want || err != wantErr {
			t.Fatalf("%q byte by byte: %v, want %v\n%s\nwant\n%s", input, err, wantErr, got, want)
		}
	}
	stream := streamHeader
	for _, c := range accepted {
		check(t, Standalone, c.xml)
		stream += c.xml + "\n"
	}
	check(t, Rooted, stream+"</stream:stream>")
	check(t, Rooted, "\uFEFF<?xml version='1.0'?>\n<body/> ")
	for _, c := range refused {
		check(t, Standalone, c.xml)
		check(t, Rooted, streamHeader+c.xml)
		check(t, Rooted, c.xml)
	}
}
