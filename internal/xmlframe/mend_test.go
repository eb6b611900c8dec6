package xmlframe

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// child returns the first element of a root.
func child(t *testing.T, root, xml string) Element {
	t.Helper()
	s := NewScanner(Rooted, Limits{})
	buf := []byte(root + xml)
	_, n, err := s.Next(buf)
	if err != nil {
		t.Fatal(err)
	}
	tok, _, err := s.Next(buf[n:])
	if err != nil || tok.Kind != Child {
		t.Fatal(tok.Kind, err)
	}
	return tok.Element
}

// Covers: UP-035, UP-036, UP-037, BOSH-027, XBOSH-003, XBOSH-022, XBOSH-023.
func TestAppendTo(t *testing.T) {
	const root = `<r xmlns='jabber:client' xmlns:s='urn:s' xmlns:t="urn:'&lt;t" xml:lang='de'>`
	same := &Scope{Default: "jabber:client", Lang: "de", Prefixes: []Prefix{{"s", "urn:s"}, {"t", "urn:'<t"}}}
	for _, c := range []struct {
		name, root, xml string
		to              *Scope
		want            string
	}{
		{"same scope", root, `<s:a t:b=''><c/></s:a>`, same, `<s:a t:b=''><c/></s:a>`},
		{"nothing inherited", root, `<a xmlns='u' xml:lang='en'><b/></a>`, nil, `<a xmlns='u' xml:lang='en'><b/></a>`},
		{"default", root, `<a xml:lang=''/>`, nil, `<a xmlns='jabber:client' xml:lang=''/>`},
		{"default used inside only", root, `<s:a xmlns:s='x' xml:lang=''><b/></s:a>`, nil, `<s:a xmlns='jabber:client' xmlns:s='x' xml:lang=''><b/></s:a>`},
		{"default not used", root, `<s:a xml:lang=''/>`, nil, `<s:a xmlns:s='urn:s' xml:lang=''/>`},
		{"no default", `<r>`, `<a/>`, same, `<a xmlns=''/>`},
		{"no default used inside only", `<r>`, `<a xmlns='u'><b xmlns=''><c/></b></a>`, same, `<a xmlns='u'><b xmlns=''><c/></b></a>`},
		{"language", root, `<a xmlns='u'/>`, nil, `<a xml:lang='de' xmlns='u'/>`},
		{"other language", root, `<a xmlns='u'/>`, &Scope{Lang: "en"}, `<a xml:lang='de' xmlns='u'/>`},
		{"no language", `<r>`, `<a xmlns='u'/>`, &Scope{Lang: "en"}, `<a xmlns='u'/>`},
		{"prefix in use", root, `<a xmlns='u' xml:lang=''><b t:x=''/></a>`, nil, `<a xmlns:t='urn:&#39;&lt;t' xmlns='u' xml:lang=''><b t:x=''/></a>`},
		{"prefix bound to another", root, `<s:a xml:lang=''/>`, &Scope{Prefixes: []Prefix{{"s", "x"}}}, `<s:a xmlns:s='urn:s' xml:lang=''/>`},
		{"prefix declared inside", root, `<a xmlns='u' xml:lang=''><s:b xmlns:s='x'/></a>`, nil, `<a xmlns='u' xml:lang=''><s:b xmlns:s='x'/></a>`},
		{"prefix declared inside, then in use", root, `<a xmlns='u' xml:lang=''><s:b xmlns:s='x'/><s:c/></a>`, nil, `<a xmlns:s='urn:s' xmlns='u' xml:lang=''><s:b xmlns:s='x'/><s:c/></a>`},
		{"all", root, `<s:a t:x='&#13;'><b/></s:a>`, nil, `<s:a xmlns='jabber:client' xmlns:s='urn:s' xmlns:t='urn:&#39;&lt;t' xml:lang='de' t:x='&#13;'><b/></s:a>`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := string(child(t, c.root, c.xml).AppendTo([]byte("-"), c.to)); got != "-"+c.want {
				t.Errorf("got  %s\nwant -%s", got, c.want)
			}
		})
	}
}

// Covers: XBOSH-004.
func TestRebase(t *testing.T) {
	const body = `<body xmlns='http://jabber.org/protocol/httpbind' xmlns:p='urn:p'>`
	client := &Scope{Default: "jabber:client"}
	e := child(t, body, `<message><body>hi</body><p:x/></message>`)
	if !e.Is("http://jabber.org/protocol/httpbind", "message") {
		t.Fatalf("space is %s", e.Space)
	}
	r := e.Rebase("jabber:client")
	if !r.IsStanza() || !e.Is("http://jabber.org/protocol/httpbind", "message") {
		t.Fatalf("space is %s, was %s", r.Space, e.Space)
	}
	if got, want := string(r.AppendTo(nil, client)), `<message xmlns:p='urn:p'><body>hi</body><p:x/></message>`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for c := range r.Children() {
		if c.Is("http://jabber.org/protocol/httpbind", "body") {
			t.Error("child was not rebased")
		}
	}
	if own := child(t, body, `<a xmlns='u'/>`).Rebase("jabber:client"); string(own.Space) != "u" {
		t.Errorf("own namespace became %s", own.Space)
	}
	if got := string(child(t, body, `<p:a><b/></p:a>`).Rebase("jabber:client").Space); got != "urn:p" {
		t.Errorf("prefixed element moved to %s", got)
	}
}

// Covers: UP-035, BOSH-027.
func TestMendGenerated(t *testing.T) {
	const seed = 7395
	g := generator{rand.New(rand.NewPCG(seed, 6120))}
	mended := 0
	for i := range 10000 {
		from, prefixes := g.root()
		to, _ := g.root()
		var xml bytes.Buffer
		budget := 1 + g.IntN(8)
		g.element(&xml, prefixes, 0, &budget)
		if checkMend(t, from, to, xml.Bytes()) {
			mended++
		}
		if t.Failed() {
			t.Fatalf("seed %d, element %d", seed, i)
		}
	}
	if mended < 5000 {
		t.Errorf("%d elements had to be mended: too few to prove anything", mended)
	}
}
