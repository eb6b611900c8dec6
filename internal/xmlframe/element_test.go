package xmlframe

import (
	"slices"
	"testing"
)

func parse(t *testing.T, xml string) Element {
	t.Helper()
	e, err := Parse([]byte(xml), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Covers: XBOSH-007.
func TestAttr(t *testing.T) {
	e := child(t, `<body xmlns:b='urn:xmpp:xbosh'>`, "<a x=' 1\t2\r\n3&#10;&lt;' b:restart=\"true\" y='' xmlns='u' xmlns:c='urn:c' xml:lang = 'en' c:x='>'/>")
	for _, c := range []struct {
		space, local, want string
		ok                 bool
	}{
		{"", "x", " 1 2 3\n<", true},
		{"urn:xmpp:xbosh", "restart", "true", true},
		{"", "y", "", true},
		{"urn:c", "x", ">", true},
		{xmlSpace, "lang", "en", true},
		{"", "restart", "", false},
		{"u", "x", "", false},
		{"", "lang", "", false},
		{"", "xmlns", "", false},
		{xmlnsSpace, "c", "", false},
		{"", "z", "", false},
	} {
		if got, ok := e.Attr(c.space, c.local); got != c.want || ok != c.ok {
			t.Errorf("Attr(%q, %q) = %q, %t", c.space, c.local, got, ok)
		}
	}
}

func TestText(t *testing.T) {
	e := parse(t, "<a>1&amp;\r\n<b>no<![CDATA[</b>]]></b>2\r<![CDATA[&lt;\r\n]]><c d='>no'/>&#x33;<!"+"[CDATA[]]></a>")
	if got, want := e.Text(), "1&\n2\n&lt;\n3"; got != want {
		t.Errorf("Text() = %q, want %q", got, want)
	}
	if got := parse(t, "<a/>").Text(); got != "" {
		t.Errorf("Text() of an empty element = %q", got)
	}
}

func TestChildren(t *testing.T) {
	e := child(t, `<r xmlns='u' xmlns:p='urn:p' xml:lang='en'>`,
		`<a xmlns:q='urn:q'>text<b/><p:c><d/></p:c><![CDATA[<x/>]]><q:e xmlns='v'><f/></q:e><g xmlns='w'>></g></a>`)
	var got []string
	for c := range e.Children() {
		got = append(got, "{"+string(c.Space)+"}"+string(c.AppendTo(nil, nil)))
	}
	want := []string{
		`{u}<b xmlns='u' xml:lang='en'/>`,
		`{urn:p}<p:c xmlns='u' xmlns:p='urn:p' xml:lang='en'><d/></p:c>`,
		`{urn:q}<q:e xmlns:q='urn:q' xml:lang='en' xmlns='v'><f/></q:e>`,
		`{w}<g xml:lang='en' xmlns='w'>></g>`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("children are\n%q, want\n%q", got, want)
	}
	for range e.Children() {
		break
	}
}

func TestAppendEscaped(t *testing.T) {
	for s, want := range map[string]string{
		"plain":                    "plain",
		"<&>'\"":                   "&lt;&amp;&gt;&#39;&#34;",
		"]]>":                      "]]&gt;",
		"\t\r\n":                   "&#9;&#13;&#10;",
		"é日😀\uFEFF":                "é日😀\uFEFF",
		"\x00\x1f\uFFFE\uFFFF\xff": "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD",
	} {
		got := string(AppendEscaped(nil, s))
		if got != want {
			t.Errorf("AppendEscaped(%q) = %q, want %q", s, got, want)
		}
		parse(t, "<a b='"+got+"' c=\""+got+"\">"+got+"</a>")
	}
}
