package xmlframe

import (
	"errors"
	"testing"
)

// kinds scans input and lists what was found, one letter each: header, child, end; then the error, if any.
func kinds(t *testing.T, mode Mode, input string) (found string, err error) {
	t.Helper()
	s := NewScanner(mode, Limits{})
	b := []byte(input)
	for range len(input) + 2 {
		tok, n, err := s.Next(b)
		if err != nil {
			if _, n, again := s.Next(b); n != 0 || again != err {
				t.Errorf("after an error: %d, %v", n, again)
			}
			return found, err
		}
		b = b[n:]
		if tok.Kind == More {
			if len(b) > 0 {
				return found, ErrTruncated
			}
			return found, nil
		}
		found += string(" hce"[tok.Kind])
	}
	t.Fatalf("%q does not end", input)
	return "", nil
}

// Covers: BOSH-024, WS-012.
func TestRoots(t *testing.T) {
	for _, c := range []struct {
		name  string
		mode  Mode
		in    string
		found string
		err   error
	}{
		{"stream", Rooted, streamHeader + "<a/> \n<b></b></stream:stream>\n ", "hcce", nil},
		{"header only", Rooted, streamHeader, "h", nil},
		{"white space only", Rooted, " \t\r\n", "", nil},
		{"empty body", Rooted, "<body/>", "he", nil},
		{"empty body with end tag", Rooted, "<body></body\n>", "he", nil},
		{"prefixed body", Rooted, "<b:body xmlns:b='http://jabber.org/protocol/httpbind'><b:a/></b:body>", "hce", nil},
		{"body with everything", Rooted, "<body>\n  <message/>\n  <presence/> <iq xmlns='jabber:client'/><x xmlns='u'/>\n</body>\n", "hcccce", nil},
		{"declaration", Rooted, "<?xml version='1.0' encoding='UTF-8'?>\n<r>", "h", nil},
		{"declaration, other version", Rooted, "<?xml version='1.1'?><r>", "h", nil},
		{"byte order mark", Rooted, "\uFEFF<r/>", "he", nil},
		{"byte order mark and declaration", Rooted, "\uFEFF<?xml version='1.0'?><r/>", "he", nil},
		{"white space before the root", Rooted, "\n<r/>", "he", nil},
		{"text before the root", Rooted, "x<r/>", "", faultOutside},
		{"two byte order marks", Rooted, "\uFEFF\uFEFF<r/>", "", faultOutside},
		{"byte order mark behind white space", Rooted, " \uFEFF<r/>", "", faultOutside},
		{"text in the root", Rooted, "<body>x<message/></body>", "h", faultOutside},
		{"text behind an element", Rooted, "<body><message/>x</body>", "hc", faultOutside},
		{"space beyond ASCII in the root", Rooted, "<body>\u00a0</body>", "h", faultOutside},
		{"reference in the root", Rooted, "<body>&#32;</body>", "h", faultOutside},
		{"section in the root", Rooted, "<body><![CDATA[ ]]></body>", "h", faultOutside},
		{"comment in the root", Rooted, "<body><!-- --></body>", "h", faultComment},
		{"instruction in the root", Rooted, "<body><?x?></body>", "h", faultInstruction},
		{"DTD in the root", Rooted, "<body><!DOCTYPE x></body>", "h", faultDTD},
		{"declaration in the root", Rooted, "<body><?xml version='1.0'?></body>", "h", faultDecl},
		{"comment behind the root", Rooted, "<body/><!-- -->", "he", faultEnd},
		{"second root", Rooted, "<body/><body/>", "he", faultEnd},
		{"text behind the root", Rooted, "<body></body>x", "he", faultEnd},
		{"other end tag", Rooted, "<body></bodi>", "h", faultBalance},
		{"shorter end tag", Rooted, "<body></bod>", "h", faultBalance},
		{"longer end tag", Rooted, "<body></bodyy>", "h", faultBalance},
		{"end tag by another prefix", Rooted, "<a:r xmlns:a='u' xmlns:b='u'></b:r>", "h", faultBalance},
		{"end tag first", Rooted, "</body>", "", faultMarkup},
		{"element not finished at the root's end", Rooted, "<body><a></body>", "h", faultBalance},
		{"one element", Standalone, "<a/>", "c", nil},
		{"element with declaration", Standalone, "<?xml version='1.0'?><a/>", "c", nil},
		{"element in white space", Standalone, " <a/> ", "c", nil},
		{"byte order mark", Standalone, "\uFEFF<a/>", "", faultOutside},
		{"two elements", Standalone, "<a/><b/>", "c", faultEnd},
		{"element and text", Standalone, "<a/>x", "c", faultEnd},
		{"half an element", Standalone, "<a><b/>", "", ErrTruncated},
		{"open stream", Standalone, streamHeader, "", ErrTruncated},
	} {
		t.Run(c.name, func(t *testing.T) {
			found, err := kinds(t, c.mode, c.in)
			if found != c.found || !errors.Is(err, c.err) {
				t.Errorf("%q: found %q, %v; want %q, %v", c.in, found, err, c.found, c.err)
			}
		})
	}
}

func TestScope(t *testing.T) {
	s := NewScanner(Rooted, Limits{})
	if s.Scope() != nil {
		t.Error("Scope before the Header")
	}
	head := []byte("<r:s xmlns='u&amp;' xmlns:r=\"urn:\tr\" xmlns:xml='http://www.w3.org/XML/1998/namespace' xml:lang='de'>")
	tok, n, err := s.Next(append(head, "<a xmlns:r='x'>"...))
	if err != nil || tok.Kind != Header || n != len(head) || string(tok.Element.Raw) != string(head) {
		t.Fatal(tok.Kind, n, err)
	}
	if !tok.Element.Is("urn: r", "s") {
		t.Errorf("root is {%s}%s", tok.Element.Space, tok.Element.Local)
	}
	scope := s.Scope()
	check := func() {
		t.Helper()
		if scope.Default != "u&" || scope.Lang != "de" || len(scope.Prefixes) != 1 || scope.Prefixes[0] != (Prefix{"r", "urn: r"}) {
			t.Errorf("Scope is %+v", scope)
		}
	}
	check()
	s.Reset()
	if s.Scope() != nil {
		t.Error("Scope after Reset")
	}
	for _, lang := range []string{"en", "de", "en"} {
		header(t, s, "<r xmlns='other' xml:lang='"+lang+"'>")
		if got := s.Scope(); got.Default != "other" || got.Lang != lang || len(got.Prefixes) != 0 {
			t.Errorf("Scope of a root in %s is %+v", lang, got)
		}
	}
	check()
}

// Covers: XBOSH-007.
func TestElementNames(t *testing.T) {
	const root = "<r xmlns='jabber:client' xmlns:c='jabber:client' xmlns:o='u'>"
	for xml, want := range map[string]struct {
		name   string
		stanza bool
	}{
		"<message/>":                         {"{jabber:client}message", true},
		"<presence a=''/>":                   {"{jabber:client}presence", true},
		"<c:iq></c:iq>":                      {"{jabber:client}iq", true},
		"<iq xmlns='jabber&#58;client'/>":    {"{jabber:client}iq", true},
		"<x:iq xmlns:x='jabber:client'/>":    {"{jabber:client}iq", true},
		"<o:message/>":                       {"{u}message", false},
		"<message xmlns=''/>":                {"{}message", false},
		"<message xmlns='jabber:server'/>":   {"{jabber:server}message", false},
		"<other/>":                           {"{jabber:client}other", false},
		"<xml:message/>":                     {"{" + xmlSpace + "}message", false},
		"<message xmlns:x='u' xmlns='v\n'/>": {"{v }message", false},
	} {
		e := child(t, root, xml)
		if got := expanded(string(e.Space), string(e.Local)); got != want.name || e.IsStanza() != want.stanza {
			t.Errorf("%s is %s, stanza %t", xml, got, e.IsStanza())
		}
	}
}

// What Next returned must not change while the Scanner, and others that share its memory, go on.
func TestElementOutlivesItsScanner(t *testing.T) {
	s := NewScanner(Rooted, Limits{})
	buf := []byte("<r xmlns:p='urn:&amp;p'><a xmlns='urn:&amp;a'><b/></a><p:c/>")
	var got []Element
	for at := 0; at < len(buf); {
		tok, n, err := s.Next(buf[at:])
		if err != nil {
			t.Fatal(err)
		}
		at += n
		got = append(got, tok.Element)
	}
	s.Reset()
	for range 10 {
		parse(t, "<z xmlns='urn:&amp;z&#122;'><y xmlns:y='urn:&amp;y'/></z>")
	}
	if a, c := got[1], got[2]; !a.Is("urn:&a", "a") || string(a.AppendTo(nil, nil)) != "<a xmlns='urn:&amp;a'><b/></a>" || !c.Is("urn:&p", "c") {
		t.Errorf("elements became %s %s, %s %s", a.Space, a.Raw, c.Space, c.Raw)
	}
}

// Elements that nothing made, or whose bytes were exchanged, must not make anything panic.
func TestOddElements(t *testing.T) {
	odd := parse(t, "<a b='c'><d/></a>")
	for _, e := range []Element{{}, {Raw: []byte("<")}, {Raw: []byte("<a")}, {Raw: []byte("<a b='"), tag: 6}, {Raw: []byte("nonsense"), tag: 99}} {
		for _, raw := range [][]byte{e.Raw, []byte("<a b"), []byte("<a><![CDATA["), []byte("<a><b><c d='"), []byte("<a></")} {
			odd.Raw = raw
			for _, e := range []Element{e, odd} {
				e.Attr("", "b")
				_ = e.Text()
				for c := range e.Children() {
					_ = c.Raw
				}
				_ = e.Rebase("u").AppendTo(nil, &Scope{Default: "v"})
			}
		}
	}
}
