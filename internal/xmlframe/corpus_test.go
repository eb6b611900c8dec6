package xmlframe

import "strings"

const (
	streamHeader = `<?xml version='1.0'?><stream:stream id='x' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' xml:lang='en' version='1.0'>`

	// chatStanza is the stanza whose cost decides what a gateway can carry: 428 bytes, five elements.
	chatStanza = `<message xmlns='jabber:client' type='chat' from='romeo@montague.example/orchard-7f3a' to='juliet@capulet.example/balcony' ` +
		`id='b1d2f3a4-5c6e-4f70-8a9b-0c1d2e3f4a5b'><body>Art thou not Romeo, and a Montague? &amp; so on, and on, and ever on, on.</body>` +
		`<active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/>` +
		`<origin-id xmlns='urn:xmpp:sid:0' id='b1d2f3a4-5c6e-4f70-8a9b-0c1d2e3f4a5b'/></message>`

	presenceStanza = `<presence xmlns='jabber:client' from='juliet@capulet.example/balcony' to='romeo@montague.example'><show>away</show>` +
		`<status>be right back</status><priority>1</priority><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' ` +
		`node='http://code.example/client' ver='QgayPKawpkPSDYmwT/WM94uAlu0='/></presence>`
)

// accepted are well-formed elements that XMPP allows; each stands alone.
var accepted = []struct{ name, xml string }{
	{"chat", chatStanza},
	{"presence", presenceStanza},
	{"empty", `<a/>`},
	{"empty with space", "<a \t\r\n/>"},
	{"end tag with space", "<a></a \n>"},
	{"nested same name", `<a><a><a/></a><a></a></a>`},
	{"both quotes", `<a b="it's" c='say "x"'/>`},
	{"space around equals", "<a b\n=\r\t'c' />"},
	{"greater in value", `<a b='x>y' c=">"/>`},
	{"brackets in value", `<a b=']]>'/>`},
	{"greater in text", `<a>x > y ]> ]] ></a>`},
	{"five entities", `<a b='&lt;&gt;&amp;&apos;&quot;'>&lt;&gt;&amp;&apos;&quot;</a>`},
	{"references", `<a b='&#9;&#xA;&#x1F600;'>&#0000000000000000000000065;&#x10FFFF;&#xfffd;</a>`},
	{"cdata", `<a><![CDATA[<b>&foo;</c> ]] > ]>]]></a>`},
	{"empty cdata", `<a><![CDATA[]]></a>`},
	{"brackets in cdata", `<a><![CDATA[]]]]><![CDATA[>]]></a>`},
	{"cdata then brackets", `<a><![CDATA[x]]>]]</a>`},
	{"controls", "<a b='\t\r\n'>\t\r\n\r</a>"},
	{"delete and C1", "<a>\x7f\u0080\u009f</a>"},
	{"two bytes", "<a>Žluťoučký кůň</a>"},
	{"three bytes", "<a b='日本語'>日本語\uFEFF\uFFFD</a>"},
	{"four bytes", "<a>😀\U0010FFFF</a>"},
	{"neighbours of surrogates", "<a b='&#xD7FF;&#xE000;'>\uD7FF\uE000&#xD7FF;&#xE000;</a>"},
	{"noncharacters that XML allows", "<a>\uFDD0\U0001FFFE</a>"},
	{"non-ASCII names", `<élan ключ='1' 名前="2"><_.-·/></élan>`},
	{"fifth edition names", "<\u0220 \U00010000='x'/>"},
	{"prefixes", `<p:a xmlns:p='urn:p' p:x='1' x='1'><p:b/></p:a>`},
	{"prefix used before its declaration", `<p:a p:x='1' xmlns:p='urn:p'/>`},
	{"prefix hidden and back", `<a xmlns:p='urn:1'><b xmlns:p='urn:2'><p:c/></b><p:c/></a>`},
	{"no default namespace", `<a xmlns='urn:a'><b xmlns=''><c/></b></a>`},
	{"xml prefix", `<a xml:lang='en' xml:space='preserve'/>`},
	{"xml prefix declared", `<a xmlns:xml='http://www.w3.org/XML/1998/namespace' xml:lang='en'/>`},
	{"escaped namespace name", `<a xmlns='urn:&#97;&amp;b' xmlns:p="urn:'&quot;"><p:b/></a>`},
	{"same namespace, other local name", `<a xmlns:p='urn:p' xmlns:q='urn:p' p:x='' q:y=''/>`},
	{"same local name, other namespace", `<a xmlns:p='urn:p' xmlns:q='urn:q' p:x='' q:x='' x=''/>`},
	{"default namespace is none of attributes", `<a xmlns='urn:p' xmlns:p='urn:p' p:x='' x=''/>`},
	{"many attributes", "<a" + lengthening(100) + "/>"},
	{"many prefixes", manyPrefixes(40)},
	{"deep", strings.Repeat("<a>", 300) + strings.Repeat("</a>", 300)},
	{"long text", "<a>" + strings.Repeat("wherefore art thou ", 500) + "</a>"},
}

func lengthening(n int) string {
	var t strings.Builder
	for i := range n {
		t.WriteString(" a" + strings.Repeat("b", i) + "='x'")
	}
	return t.String()
}

// manyPrefixes nests declarations, some hiding others, and uses all of them.
func manyPrefixes(n int) string {
	var open, shut strings.Builder
	for i := range n {
		p := "p" + strings.Repeat("x", i%30)
		open.WriteString("<" + p + ":a xmlns:" + p + "='urn:" + p + "' " + p + ":y=''>")
		shut.WriteString("</p" + strings.Repeat("x", (n-1-i)%30) + ":a>")
	}
	return open.String() + shut.String()
}

// refused are elements with a fault; each would stand alone.
var refused = []struct {
	name, xml string
	condition Condition
}{
	{"comment", `<a><!-- c --></a>`, RestrictedXML},
	{"comment before the element", `<!-- c --><a/>`, RestrictedXML},
	{"instruction", `<a><?php x?></a>`, RestrictedXML},
	{"instruction before the element", `<?x?><a/>`, RestrictedXML},
	{"instruction like the declaration", `<?xml-stylesheet href='x'?><a/>`, RestrictedXML},
	{"DTD", `<!DOCTYPE a><a/>`, RestrictedXML},
	{"DTD inside", `<a><!DOCTYPE a></a>`, RestrictedXML},
	{"billion laughs", `<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><l>&b;</l>`, RestrictedXML},
	{"external entity", `<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>`, RestrictedXML},
	{"entity", `<a>&nbsp;</a>`, RestrictedXML},
	{"entity in value", `<a b='&foo;'/>`, RestrictedXML},
	{"entity with other case", `<a>&LT;</a>`, RestrictedXML},
	{"non-ASCII entity", `<a>&é;</a>`, RestrictedXML},
	{"second element", `<a/><b/>`, NotWellFormed},
	{"text behind", `<a/>x`, NotWellFormed},
	{"text before", `x<a/>`, NotWellFormed},
	{"cdata before", `<![CDATA[x]]><a/>`, NotWellFormed},
	{"end tag only", `</a>`, NotWellFormed},
	{"wrong end tag", `<a></b>`, NotWellFormed},
	{"shorter end tag", `<ab></a>`, NotWellFormed},
	{"longer end tag", `<a></ab>`, NotWellFormed},
	{"end tag with attribute", `<a></a b=''>`, NotWellFormed},
	{"space before end name", `<a></ a>`, NotWellFormed},
	{"crossing", `<a><b></a></b>`, NotWellFormed},
	{"space before name", `< a/>`, NotWellFormed},
	{"no name", `<>`, NotWellFormed},
	{"digit name", `<1/>`, NotWellFormed},
	{"dash name", `<-a/>`, NotWellFormed},
	{"bad name character", `<a!/>`, NotWellFormed},
	{"non-ASCII symbol in name", `<a×/>`, NotWellFormed},
	{"combining first", "<\u0301/>", NotWellFormed},
	{"two slashes", `<a//>`, NotWellFormed},
	{"slash space", `<a/ >`, NotWellFormed},
	{"attribute without value", `<a b/>`, NotWellFormed},
	{"attribute without quotes", `<a b=c/>`, NotWellFormed},
	{"attributes not separated", `<a b='1'c='2'/>`, NotWellFormed},
	{"less in value", `<a b='<'/>`, NotWellFormed},
	{"duplicate attribute", `<a b='' b=''/>`, NotWellFormed},
	{"duplicate attribute, apart", `<a b='' c='' d='' b=''/>`, NotWellFormed},
	{"duplicate by namespace", `<a xmlns:p='u' xmlns:q='u' p:x='' q:x=''/>`, NotWellFormed},
	{"duplicate by escaped namespace", `<a xmlns:p='u' xmlns:q='&#x75;' p:x='' q:x=''/>`, NotWellFormed},
	{"duplicate by outer namespace", `<b xmlns:p='u'><a xmlns:q='u' p:x='' q:x=''/></b>`, NotWellFormed},
	{"duplicate declaration", `<a xmlns:p='u' xmlns:p='u'/>`, NotWellFormed},
	{"duplicate default", `<a xmlns='u' xmlns='v'/>`, NotWellFormed},
	{"duplicate of many", `<a` + lengthening(100) + ` abbb=''/>`, NotWellFormed},
	{"duplicate by namespace of many", `<a xmlns:p='u' xmlns:q='u' p:x=''` + lengthening(100) + ` q:x=''/>`, NotWellFormed},
	{"section end in text", `<a>]]></a>`, NotWellFormed},
	{"section end in text behind brackets", `<a>]]]></a>`, NotWellFormed},
	{"section end behind a section", `<a><![CDATA[x]]>]]></a>`, NotWellFormed},
	{"bad markup", `<a><!x></a>`, NotWellFormed},
	{"bad section start", `<a><![CDAT[x]]></a>`, NotWellFormed},
	{"bad comment start", `<a><!-x--></a>`, NotWellFormed},
	{"bad instruction target", `<a><?1?></a>`, NotWellFormed},
	{"declaration inside", `<a><?xml version='1.0'?></a>`, NotWellFormed},
	{"declaration behind space", ` <?xml version='1.0'?><a/>`, NotWellFormed},
	{"two declarations", `<?xml version='1.0'?><?xml version='1.0'?><a/>`, NotWellFormed},
	{"reference without name", `<a>&;</a>`, NotWellFormed},
	{"bare ampersand", `<a>fish & chips</a>`, NotWellFormed},
	{"reference without end", `<a>&amp </a>`, NotWellFormed},
	{"empty character reference", `<a>&#;</a>`, NotWellFormed},
	{"empty hex reference", `<a>&#x;</a>`, NotWellFormed},
	{"upper case hex mark", `<a>&#X41;</a>`, NotWellFormed},
	{"hex digit in decimal", `<a>&#1a;</a>`, NotWellFormed},
	{"bad hex digits", `<a>&#x4-1;</a>`, NotWellFormed},
	{"hex digit beyond f", `<a>&#x4g;</a>`, NotWellFormed},
	{"hex digit beyond F", `<a>&#x4G;</a>`, NotWellFormed},
	{"digit below 0", `<a>&#6/5;</a>`, NotWellFormed},
	{"digit beyond 9", `<a>&#6:5;</a>`, NotWellFormed},
	{"reference to zero", `<a>&#0;</a>`, NotWellFormed},
	{"reference to control", `<a>&#8;</a>`, NotWellFormed},
	{"reference to surrogate", `<a>&#xD800;</a>`, NotWellFormed},
	{"reference to FFFE", `<a b='&#xFFFE;'/>`, NotWellFormed},
	{"reference beyond Unicode", `<a>&#x110000;</a>`, NotWellFormed},
	{"reference that overflows", `<a>&#x100000041;&#99999999999999999999999999;</a>`, NotWellFormed},
	{"control", "<a>\x01</a>", NotWellFormed},
	{"NUL", "<a>\x00</a>", NotWellFormed},
	{"control in value", "<a b='\x1f'/>", NotWellFormed},
	{"control in section", "<a><![CDATA[\x0b]]></a>", NotWellFormed},
	{"FFFE", "<a>\uFFFE</a>", NotWellFormed},
	{"FFFF in value", "<a b='\uFFFF'/>", NotWellFormed},
	{"surrogate", "<a>\xed\xa0\x80</a>", NotWellFormed},
	{"overlong", "<a>\xc0\xaf</a>", NotWellFormed},
	{"overlong NUL", "<a>\xc0\x80</a>", NotWellFormed},
	{"beyond Unicode", "<a>\xf4\x90\x80\x80</a>", NotWellFormed},
	{"cut sequence", "<a>\xc3</a>", NotWellFormed},
	{"stray continuation", "<a>\x80</a>", NotWellFormed},
	{"Latin-1", "<a b='\xe4'/>", NotWellFormed},
	{"bad UTF-8 in name", "<a\xff/>", NotWellFormed},
	{"two colons", `<a:b:c xmlns:a='u'/>`, NotWellFormed},
	{"leading colon", `<:a/>`, NotWellFormed},
	{"trailing colon", `<a: xmlns:a='u'/>`, NotWellFormed},
	{"digit behind colon", `<a:1 xmlns:a='u'/>`, NotWellFormed},
	{"attribute with leading colon", `<a :b=''/>`, NotWellFormed},
	{"attribute with trailing colon", `<a b:=''/>`, NotWellFormed},
	{"undeclared prefix", `<p:a/>`, NotWellFormed},
	{"undeclared prefix of an attribute", `<a p:b=''/>`, NotWellFormed},
	{"prefix out of scope", `<a><b xmlns:p='u'/><p:c/></a>`, NotWellFormed},
	{"prefix out of scope, many", "<a>" + manyPrefixes(40) + "<pxxx:a/></a>", NotWellFormed},
	{"prefix without namespace", `<a xmlns:p=''/>`, NotWellFormed},
	{"element with prefix xmlns", `<xmlns:a/>`, NotWellFormed},
	{"xmlns declared", `<a xmlns:xmlns='http://www.w3.org/2000/xmlns/'/>`, BadNamespacePrefix},
	{"xml declared as another", `<a xmlns:xml='u'/>`, BadNamespacePrefix},
	{"xml namespace under another prefix", `<a xmlns:p='http://www.w3.org/XML/1998/namespace'/>`, BadNamespacePrefix},
	{"xml namespace as default", `<a xmlns='http://www.w3.org/XML/1998/namespace'/>`, BadNamespacePrefix},
	{"xmlns namespace as default", `<a><b xmlns='http://www.w3.org/2000/xmlns&#47;'/></a>`, BadNamespacePrefix},
	{"other encoding", `<?xml version='1.0' encoding='ISO-8859-1'?><a/>`, UnsupportedEncoding},
	{"UTF-16, little endian", "\xff\xfe<\x00a\x00/\x00>\x00", UnsupportedEncoding},
	{"UTF-16, big endian", "\xfe\xff\x00<\x00a\x00/\x00>", UnsupportedEncoding},
	{"UTF-16 without mark", "<\x00a\x00/\x00>\x00", UnsupportedEncoding},
	{"UTF-32", "\x00\x00\x00<\x00\x00\x00a", UnsupportedEncoding},
	{"declaration without version", `<?xml encoding='UTF-8'?><a/>`, NotWellFormed},
	{"declaration with version 2", `<?xml version='2.0'?><a/>`, NotWellFormed},
	{"declaration in wrong order", `<?xml encoding='UTF-8' version='1.0'?><a/>`, NotWellFormed},
	{"declaration with more", `<?xml version='1.0' x='y'?><a/>`, NotWellFormed},
	{"declaration with bad standalone", `<?xml version='1.0' standalone='maybe'?><a/>`, NotWellFormed},
	{"declaration without space", `<?xml version='1.0'encoding='UTF-8'?><a/>`, NotWellFormed},
	{"declaration with bad encoding name", `<?xml version='1.0' encoding='-'?><a/>`, NotWellFormed},
	{"declaration too long", `<?xml version='1.0'` + strings.Repeat(" ", maxDecl) + `?><a/>`, PolicyViolation},
}
