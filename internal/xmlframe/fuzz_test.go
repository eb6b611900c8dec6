package xmlframe

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

// FuzzScanner checks that it does not matter how input is cut, that no input makes anything panic, and that encoding/xml
// reads what is accepted the same way.
func FuzzScanner(f *testing.F) {
	for _, c := range accepted[:25] {
		f.Add([]byte(c.xml), false, uint64(1))
		f.Add([]byte(streamHeader+c.xml+"</stream:stream>"), true, uint64(2))
	}
	for _, c := range refused {
		f.Add([]byte(c.xml), false, uint64(3))
	}
	f.Fuzz(func(t *testing.T, input []byte, rooted bool, seed uint64) {
		mode := Standalone
		if rooted {
			mode = Rooted
		}
		limits := Limits{ElementBytes: 4096, Depth: 20, Attributes: 30, NameBytes: 200}
		want, wantErr := scanAll(mode, limits, input)
		if got, err := scanAll(mode, limits, input, cuts(seed, len(input))...); got != want || err != wantErr {
			t.Fatalf("%q in pieces: %v, want %v\n%s\nwant\n%s", input, err, wantErr, got, want)
		}
		if mode == Standalone && wantErr == nil {
			e, err := Parse(input, limits)
			if err != nil {
				return // white space only
			}
			checkReading(t, e)
		}
	})
}

// cuts returns up to 20 ascending offsets.
func cuts(seed uint64, n int) []int {
	rng := rand.New(rand.NewPCG(seed, 0))
	at := make([]int, rng.IntN(20))
	for i := range at {
		at[i] = rng.IntN(n + 1)
	}
	slices.Sort(at)
	return at
}

// checkReading compares how we and encoding/xml read an accepted element.
func checkReading(t *testing.T, e Element) {
	t.Helper()
	theirs, err := stdTree(e.Raw)
	if err != nil {
		// encoding/xml has the names of XML 1.0 fourth edition.
		if bytes.ContainsFunc(e.Raw, func(r rune) bool { return r >= 0x80 }) {
			return
		}
		t.Fatalf("encoding/xml refuses %q: %v", e.Raw, err)
	}
	if got, want := treeOf(e).flat(), theirs.flat(); got != want {
		t.Fatalf("%q is\n%s, by encoding/xml\n%s", e.Raw, got, want)
	}
}

// FuzzMend moves an element from under one root to another and checks that it means the same there, that nothing but its
// start tag was touched, and that moving it once more changes nothing.
func FuzzMend(f *testing.F) {
	roots := []string{"<r>", "<r xmlns='u'>", "<r xmlns='jabber:client' xmlns:p='u' xml:lang='en'>", "<r xmlns:p='v' xmlns:q='u&apos;&lt;'>", streamHeader}
	for i, c := range accepted[:25] {
		f.Add([]byte(roots[i%len(roots)]), []byte(roots[i/len(roots)]), []byte(c.xml))
	}
	f.Add([]byte(roots[2]), []byte(roots[3]), []byte("<p:a><b p:x=''/></p:a>"))
	f.Add([]byte(roots[3]), []byte(roots[0]), []byte("<p:a xmlns:p='w'><b q:x='' xml:lang=''/></p:a>"))
	f.Fuzz(func(t *testing.T, from, to, xml []byte) { checkMend(t, from, to, xml) })
}

// under scans an element under a root.
func under(root, xml []byte) (Element, *Scope, error) {
	s := NewScanner(Rooted, Limits{ElementBytes: 1 << 16, Depth: 20, Attributes: 80})
	tok, n, err := s.Next(root)
	if err != nil || tok.Kind != Header || n != len(root) {
		return Element{}, nil, errors.Join(err, ErrTruncated)
	}
	tok, n, err = s.Next(xml)
	if err == nil && (tok.Kind != Child || n != len(xml)) {
		err = ErrTruncated
	}
	return tok.Element, s.Scope(), err
}

// checkMend moves an element from under one root to another. It reports whether that changed it, provided that
// encoding/xml could tell that it means the same.
func checkMend(t *testing.T, from, to, xml []byte) (changed bool) {
	t.Helper()
	e, _, err := under(from, xml)
	if err != nil {
		return false
	}
	_, scope, err := under(to, []byte("<a/>"))
	if err != nil {
		return false
	}
	mended := e.AppendTo(nil, scope)
	moved, _, err := under(to, mended)
	if err != nil {
		t.Fatalf("%q under %q became %q: %v", xml, to, mended, err)
	}
	compared := checkMeaning(t, from, to, e, moved, scope.Lang)
	at := nameEnd(e.Raw)
	added := len(mended) - len(e.Raw)
	if !bytes.Equal(mended[:at], e.Raw[:at]) || !bytes.Equal(mended[at+added:], e.Raw[at:]) {
		t.Fatalf("%q became %q", e.Raw, mended)
	}
	if again := moved.AppendTo(nil, scope); !bytes.Equal(again, mended) {
		t.Fatalf("%q moved to its own place became %q", mended, again)
	}
	return compared && added > 0
}

// checkMeaning compares an element under its old root and under the new one, as encoding/xml reads them.
func checkMeaning(t *testing.T, from, to []byte, e, moved Element, lang string) bool {
	t.Helper()
	was, err := stdTree(slices.Concat(from, e.Raw, []byte("</"), nameOf(from), []byte(">")))
	is, err2 := stdTree(slices.Concat(to, moved.Raw, []byte("</"), nameOf(to), []byte(">")))
	if err != nil || err2 != nil {
		return false // names that only XML 1.0 fifth edition knows
	}
	old := e.root.declared().Lang
	if old == "" {
		lang = "" // it has no language of its own, and takes what it finds
	}
	if got, want := is.children[0].speak(lang).flat(), was.children[0].speak(old).flat(); got != want {
		t.Fatalf("%q from %q to %q became %q:\n%s\nwas\n%s", e.Raw, from, to, moved.Raw, got, want)
	}
	return true
}
