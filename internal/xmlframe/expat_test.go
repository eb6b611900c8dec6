package xmlframe

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// expat is a process that parses documents with libexpat; see testdata/expat.c.
type expat struct {
	in  io.WriteCloser
	out *bufio.Reader
}

// verdict is what expat made of a document.
type verdict struct {
	ok    bool
	flags string
	tree  *node // if ok
}

func newExpat(t *testing.T) *expat {
	t.Helper()
	missing := t.Skipf
	if os.Getenv("CI") == "true" {
		missing = t.Fatalf
	}
	bin := filepath.Join(t.TempDir(), "expat")
	if out, err := exec.Command("cc", "-std=c99", "-O1", "-o", bin, filepath.Join("testdata", "expat.c"), "-lexpat").CombinedOutput(); err != nil {
		missing("needs a C compiler and libexpat1-dev: %v\n%s", err, out)
	}
	cmd := exec.Command(bin)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("expat: %v", err)
		}
	})
	return &expat{in, bufio.NewReader(out)}
}

func (x *expat) parse(t *testing.T, doc []byte) verdict {
	t.Helper()
	if _, err := x.in.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(doc))), doc...)); err != nil {
		t.Fatal(err)
	}
	var size [4]byte
	if _, err := io.ReadFull(x.out, size[:]); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(x.out, answer); err != nil {
		t.Fatal(err)
	}
	head, events, _ := bytes.Cut(answer, []byte("\n"))
	v := verdict{ok: head[0] == 'A', flags: string(head[1:])}
	if v.ok {
		v.tree = eventTree(events)
	}
	return v
}

// eventTree builds the tree from expat's events.
func eventTree(events []byte) *node {
	top := &node{}
	open := []*node{top}
	name := func(s string) string {
		if space, local, ok := strings.Cut(s, "\x01"); ok {
			return expanded(space, local)
		}
		return expanded("", s)
	}
	attr := ""
	for len(events) > 0 {
		kind := events[0]
		n := 1
		for n < len(events) && (events[n] == 1 || events[n] > 6) {
			n++
		}
		arg := string(events[1:n])
		events = events[n:]
		last := open[len(open)-1]
		switch kind {
		case 2:
			c := &node{name: name(arg)}
			last.children = append(last.children, c)
			open = append(open, c)
		case 3:
			attr = name(arg)
		case 4:
			last.attrs = append(last.attrs, attr+"="+arg)
			slices.Sort(last.attrs)
		case 5:
			last.text += arg
		case 6:
			open = open[:len(open)-1]
		}
	}
	return top.children[0]
}

// fourthEdition reports whether an accepted document has only names that expat knows: its tables are those of XML 1.0
// before the fifth edition.
func fourthEdition(doc []byte) bool {
	known := func(name []byte) bool {
		return !bytes.ContainsFunc(name, func(r rune) bool { return r >= 0x80 && !strings.ContainsRune("éжя名日ё", r) })
	}
	for {
		i := bytes.IndexByte(doc, '<')
		if i < 0 {
			return true
		}
		if doc = doc[i:]; bytes.HasPrefix(doc, cdataStart) {
			_, _, n := cdata(doc)
			doc = doc[n:]
			continue
		}
		tag := doc[:tagEnd(doc)]
		for name := range attributes(tag) {
			if !known(name) {
				return false
			}
		}
		if !known(tag[:nameEnd(tag)]) {
			return false
		}
		doc = doc[len(tag):]
	}
}

// compare runs a document through both parsers, as one element and as a root with children.
func (x *expat) compare(t *testing.T, doc []byte) (accepted bool) {
	t.Helper()
	v := x.parse(t, doc)
	e, err := Parse(doc, Limits{})
	switch {
	case err == nil && !v.ok:
		if fourthEdition(doc) {
			t.Errorf("only we accept %q", doc)
		}
	case err == nil:
		if got, want := treeOf(e).String(), v.tree.String(); got != want {
			t.Errorf("%q is\n%s, by expat\n%s", doc, got, want)
		}
	case v.ok && strings.Trim(v.flags, "t") == "" && !bytes.HasPrefix(doc, byteOrderMark) && !stricter(err):
		t.Errorf("only expat accepts %q: %v", doc, err)
	}

	rootErr := scanRooted(doc)
	switch {
	case rootErr == nil && !v.ok && fourthEdition(doc):
		t.Errorf("only we accept the root %q", doc)
	case rootErr != nil && v.ok && v.flags == "" && !stricter(rootErr) && !(errors.Is(rootErr, faultOutside) && bytes.Contains(doc, []byte("&#"))):
		t.Errorf("only expat accepts the root %q: %v", doc, rootErr)
	}
	return err == nil
}

// stricter reports whether a document was refused for what is our own rule and not XML's.
func stricter(err error) bool {
	var fault *Error
	return errors.As(err, &fault) && (fault.Condition == UnsupportedEncoding || fault.Condition == PolicyViolation)
}

// scanRooted reads a document as a root with first-level elements.
func scanRooted(doc []byte) error {
	s := NewScanner(Rooted, Limits{})
	for {
		tok, n, err := s.Next(doc)
		doc = doc[n:]
		switch {
		case err != nil:
			return err
		case tok.Kind == End:
			_, _, err = s.Next(doc)
			return err
		case tok.Kind == More:
			return ErrTruncated
		}
	}
}

// Covers: UP-033.
func TestExpat(t *testing.T) {
	x := newExpat(t)
	t.Run("corpus", func(t *testing.T) {
		for _, c := range accepted {
			x.compare(t, []byte(c.xml))
		}
		for _, c := range refused {
			x.compare(t, []byte(c.xml))
		}
	})
	t.Run("generated", func(t *testing.T) {
		const seed, documents, mutations = 20240317, 4000, 4
		g := generator{rand.New(rand.NewPCG(seed, 1))}
		broken := 0
		for i := range documents {
			doc := g.document()
			if !x.compare(t, doc) {
				t.Errorf("generated document is refused: %q", doc)
			}
			for range mutations {
				if !x.compare(t, g.mutate(doc)) {
					broken++
				}
			}
			if t.Failed() {
				t.Fatalf("seed %d, document %d", seed, i)
			}
		}
		if broken < documents {
			t.Errorf("%d of %d mutated documents are refused: too few to prove anything", broken, mutations*documents)
		}
	})
}
