package bosh

import (
	"errors"
	"strings"
	"testing"

	"stanzagate/internal/xmlframe"
	"stanzagate/upstream"
)

const bodyNS = "xmlns='http://jabber.org/protocol/httpbind'"

func testLimits() xmlframe.Limits { return Config{}.withDefaults().Limits }

func decodeString(s string) (*request, error) {
	r := new(request)
	return r, newDecoder(testLimits()).decode([]byte(s), r)
}

func mustDecode(t *testing.T, s string) *request {
	t.Helper()
	r, err := decodeString(s)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return r
}

func conditionOfBody(s string) string {
	_, err := decodeString(s)
	if err == nil {
		return ""
	}
	return conditionOf(err)
}

// Covers: BOSH-021, BOSH-022, BOSH-024, BOSH-026, BOSH-029, BOSH-031.
func TestBodyForm(t *testing.T) {
	laughs := "<!DOCTYPE body [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;&a;'>]>"
	for name, c := range map[string]struct{ body, condition string }{
		"empty element":           {"<body rid='1' " + bodyNS + "/>", ""},
		"with end tag":            {"<body rid='1' " + bodyNS + "></body>", ""},
		"prefixed":                {"<b:body xmlns:b='http://jabber.org/protocol/httpbind' rid='1'><x xmlns='y'/></b:body>", ""},
		"double quotes":           {`<body rid="1" xmlns="http://jabber.org/protocol/httpbind"/>`, ""},
		"XML declaration":         {"<?xml version='1.0'?><body rid='1' " + bodyNS + "/>", ""},
		"UTF-8 declared":          {"<?xml version='1.0' encoding='UTF-8'?><body rid='1' " + bodyNS + "/>", ""},
		"byte order mark":         {"\uFEFF<body rid='1' " + bodyNS + "/>", ""},
		"white space around":      {" \r\n<body rid='1' " + bodyNS + "/>\n ", ""},
		"pretty-printed":          {"<body rid='1' " + bodyNS + ">\n\t<a xmlns='b'/>\n\t<c xmlns='d'/>\n</body>", ""},
		"two roots":               {"<body rid='1' " + bodyNS + "/><body rid='2' " + bodyNS + "/>", badRequest},
		"two roots, with content": {"<body rid='1' " + bodyNS + "></body><a/>", badRequest},
		"text behind":             {"<body rid='1' " + bodyNS + "/>x", badRequest},
		"no namespace":            {"<body rid='1'/>", badRequest},
		"other namespace":         {"<body rid='1' xmlns='jabber:client'/>", badRequest},
		"other root":              {"<html rid='1' " + bodyNS + "/>", badRequest},
		"text inside":             {"<body rid='1' " + bodyNS + ">x<a xmlns='b'/></body>", badRequest},
		"text at the end":         {"<body rid='1' " + bodyNS + "><a xmlns='b'/>x</body>", badRequest},
		"CDATA inside":            {"<body rid='1' " + bodyNS + "><![CDATA[x]]></body>", badRequest},
		"no end":                  {"<body rid='1' " + bodyNS + ">", badRequest},
		"partial element":         {"<body rid='1' " + bodyNS + "><message></body>", badRequest},
		"end of another":          {"<body rid='1' " + bodyNS + "><a></b></body>", badRequest},
		"comment":                 {"<body rid='1' " + bodyNS + "><!-- x --></body>", badRequest},
		"comment in front":        {"<!-- x --><body rid='1' " + bodyNS + "/>", badRequest},
		"comment in a payload":    {"<body rid='1' " + bodyNS + "><a xmlns='b'><!-- x --></a></body>", badRequest},
		"processing instruction":  {"<body rid='1' " + bodyNS + "><?php x?></body>", badRequest},
		"DTD":                     {"<!DOCTYPE body><body rid='1' " + bodyNS + "/>", badRequest},
		"billion laughs":          {laughs + "<body rid='1' " + bodyNS + "><a xmlns='b'>&b;</a></body>", badRequest},
		"external entity":         {"<!DOCTYPE body [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><body rid='1' " + bodyNS + "><a>&x;</a></body>", badRequest},
		"undefined entity":        {"<body rid='1' " + bodyNS + "><a xmlns='b'>&nbsp;</a></body>", badRequest},
		"undeclared prefix":       {"<body rid='1' " + bodyNS + "><foo:bar/></body>", badRequest},
		"duplicate attribute":     {"<body rid='1' rid='2' " + bodyNS + "/>", badRequest},
		"invalid UTF-8":           {"<body rid='1' " + bodyNS + "><a xmlns='b'>\xff</a></body>", badRequest},
		"Latin-1 declared":        {"<?xml version='1.0' encoding='ISO-8859-1'?><body rid='1' " + bodyNS + "/>", badRequest},
		"UTF-16":                  {"\xff\xfe<\x00b\x00o\x00d\x00y\x00/\x00>\x00", badRequest},
		"NUL":                     {"<body rid='1' " + bodyNS + "><a xmlns='b'>\x00</a></body>", badRequest},
		"too deep":                {"<body rid='1' " + bodyNS + ">" + strings.Repeat("<a>", 20000) + strings.Repeat("</a>", 20000) + "</body>", policyViolation},
		"nothing":                 {"", badRequest},
		"white space":             {"  \n", badRequest},
	} {
		if got := conditionOfBody(c.body); got != c.condition {
			t.Errorf("%s: condition %q, want %q", name, got, c.condition)
		}
	}
}

// Covers: BOSH-032, BOSH-050, BOSH-130.
func TestRID(t *testing.T) {
	for rid, want := range map[string]uint64{
		"1": 1, "9007199254740991": 1<<53 - 1, "9007199254740000": 9007199254740000, "007": 7, " 12 ": 12, "&#49;2": 12,
		"": 0, "abc": 0, "-1": 0, "0": 0, "1.5": 0, "+1": 0, "1e3": 0, "0x10": 0, "9007199254740992": 0, "18446744073709551617": 0,
		"99999999999999999999999999": 0, "１": 0,
	} {
		r, err := decodeString("<body rid='" + rid + "' " + bodyNS + "/>")
		if want == 0 {
			if err == nil || conditionOf(err) != badRequest {
				t.Errorf("rid %q: %d, %v", rid, r.rid, err)
			}
		} else if err != nil || r.rid != want {
			t.Errorf("rid %q: %d, %v", rid, r.rid, err)
		}
	}
	if got := conditionOfBody("<body sid='x' " + bodyNS + "/>"); got != badRequest {
		t.Errorf("without rid: %q", got)
	}
}

// Covers: BOSH-041.
func TestVersions(t *testing.T) {
	for s, want := range map[string]version{
		"1.6": {1, 6}, "1.10": {1, 10}, "1.11": {1, 11}, "2.0": {2, 0}, "1": {1, 0}, " 1.6 ": {1, 6}, "001.006": {1, 6},
	} {
		if got, err := parseVersion(s); err != nil || got != want {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "garbage", "1.", ".6", "1.6.1", "-1.6", "1.-6", "1,6", "1.1000000", "1.6a"} {
		if got := conditionOfBody("<body rid='1' ver='" + s + "' " + bodyNS + "/>"); got != badRequest {
			t.Errorf("%q: condition %q", s, got)
		}
	}
	if !(version{1, 6}).less(version{1, 10}) {
		t.Error("1.6 is not less than 1.10")
	}
}

// Covers: BOSH-043, BOSH-044, BOSH-092, BOSH-105.
func TestNumbers(t *testing.T) {
	r := mustDecode(t, "<body rid='1' wait='99999' hold='300' pause='0' ack='12345678901' "+bodyNS+"/>")
	if !r.hasWait || r.wait != 99999 || !r.hasHold || r.hold != 300 || !r.hasPause || r.pause != 0 || !r.hasAck || r.ack != 12345678901 {
		t.Errorf("got %+v", r)
	}
	r = mustDecode(t, "<body rid='1' wait='99999999999999999999' "+bodyNS+"/>")
	if r.wait != 1<<31-1 {
		t.Errorf("a huge number is %d", r.wait)
	}
	if r = mustDecode(t, "<body rid='1' "+bodyNS+"/>"); r.hasWait || r.hasHold || r.hasPause || r.hasAck || r.hasVer || r.hasSID {
		t.Errorf("absent attributes: %+v", r)
	}
	for _, attr := range []string{"wait", "hold", "pause", "ack"} {
		for _, value := range []string{"-1", "x", "", "1.5", " "} {
			if got := conditionOfBody("<body rid='1' " + attr + "='" + value + "' " + bodyNS + "/>"); got != badRequest {
				t.Errorf("%s=%q: condition %q", attr, value, got)
			}
		}
	}
}

// Covers: BOSH-028, BOSH-033.
func TestAttributesOfTheBody(t *testing.T) {
	r := mustDecode(t, "<body rid='7' sid='s&amp;1' key='k' newkey='n' type='terminate' condition='c' stream='st' to='a.example' from='me@a.example' "+
		"route='xmpp:h:1' unknown='x' xml:space='default' xmlns:o='urn:o' o:rid='9' o:sid='y' "+bodyNS+"/>")
	if r.rid != 7 || string(r.sidRaw) != "s&1" || !r.hasSID || r.key != "k" || r.newkey != "n" || !r.terminate || r.condition != "c" ||
		r.stream != "st" || r.to != "a.example" || r.from != "me@a.example" || r.route != "xmpp:h:1" {
		t.Errorf("got %+v", r)
	}
	if r = mustDecode(t, "<body rid='7' sid='' type='other' "+bodyNS+"/>"); !r.hasSID || len(r.sidRaw) > 0 || r.terminate {
		t.Errorf("got %+v", r)
	}
}

// Covers: XBOSH-007, XBOSH-016.
func TestRestartAttribute(t *testing.T) {
	for attrs, want := range map[string]bool{
		"xmlns:xmpp='urn:xmpp:xbosh' xmpp:restart='true'": true, "xmlns:b='urn:xmpp:xbosh' b:restart='1'": true,
		"xmlns:xmpp='urn:xmpp:xbosh' xmpp:restart='false'": false, "xmlns:xmpp='urn:xmpp:xbosh' xmpp:restart='0'": false,
		"xmlns:xmpp='urn:other' xmpp:restart='true'": false, "restart='true'": false,
	} {
		if r := mustDecode(t, "<body rid='1' "+attrs+" "+bodyNS+"/>"); r.restart != want {
			t.Errorf("%s: %v", attrs, r.restart)
		}
	}
	if got := conditionOfBody("<body rid='1' xmlns:x='urn:xmpp:xbosh' x:restart='yes' " + bodyNS + "/>"); got != badRequest {
		t.Errorf("condition %q", got)
	}
	if r := mustDecode(t, "<body rid='1' xmlns:b='urn:xmpp:xbosh' b:version='1.0' "+bodyNS+"/>"); r.xmppVersion != "1.0" {
		t.Errorf("version %q", r.xmppVersion)
	}
}

// Covers: BOSH-040.
func TestLanguage(t *testing.T) {
	for s, want := range map[string]string{
		"en": "en", "de-DE": "de-DE", "zh-Hant-TW": "zh-Hant-TW", "x-klingon": "x-klingon", "": "", "e n": "", "en'": "", "en-": "",
		"toolonglanguage": "", "en\r\nX: y": "", strings.Repeat("aa-", 40) + "aa": "",
	} {
		if got := language(s); got != want {
			t.Errorf("%q: %q", s, got)
		}
	}
	if r := mustDecode(t, "<body rid='1' xml:lang='de' "+bodyNS+"/>"); r.lang != "de" {
		t.Errorf("lang %q", r.lang)
	}
}

// Covers: BOSH-047.
func TestContentIsNotTrusted(t *testing.T) {
	for s, want := range map[string]string{
		"text/xml; charset=utf-8": "text/xml; charset=utf-8", "text/xml": "text/xml", "text/plain": "text/plain",
		"TEXT/XML;charset=\"UTF-8\"": "text/xml; charset=utf-8", "application/xml": "application/xml",
		"text/html": "", "text/html; charset=utf-8": "", "image/svg+xml": "", "text/xml; charset=utf-7": "", "text/xml\r\nX-Evil: 1": "",
		"text/javascript": "", "": "", "text/xml; charset=utf-8; x=y": "", "text/xml; boundary=x": "",
	} {
		if got := contentType(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

// payloads returns what Admit would get, mended for a stream.
func payloads(r *request) string {
	var out []byte
	for _, p := range r.payload {
		out = append(p.frame.AppendTo(out, upstream.ClientScope("")), '\n')
	}
	return string(out)
}

// Covers: BOSH-025, BOSH-027, XBOSH-004.
func TestPayload(t *testing.T) {
	const message = "<message to='a'><body>hi</body></message>\n"
	for name, c := range map[string]struct{ body, want string }{
		"declared on the stanza": {
			"<body rid='1' " + bodyNS + "><message xmlns='jabber:client' to='a'><body>hi</body></message></body>",
			"<message xmlns='jabber:client' to='a'><body>hi</body></message>\n",
		},
		"inherited from the body": {"<body rid='1' " + bodyNS + "><message to='a'><body>hi</body></message></body>", message},
		"inherited, with a foreign child": {
			"<body rid='1' " + bodyNS + "><iq><query xmlns='jabber:iq:roster'/></iq></body>",
			"<iq><query xmlns='jabber:iq:roster'/></iq>\n",
		},
		"in order": {
			"<body rid='1' " + bodyNS + "><message xmlns='jabber:client'/><presence xmlns='jabber:client'/><iq xmlns='jabber:client'/><x xmlns='urn:x'/></body>",
			"<message xmlns='jabber:client'/>\n<presence xmlns='jabber:client'/>\n<iq xmlns='jabber:client'/>\n<x xmlns='urn:x'/>\n",
		},
		"prefix of the body": {
			"<body rid='1' xmlns:x='urn:x' " + bodyNS + "><message xmlns='jabber:client'><x:y x:z='1'/></message></body>",
			"<message xmlns:x='urn:x' xmlns='jabber:client'><x:y x:z='1'/></message>\n",
		},
		"prefixed stanza": {
			"<b:body rid='1' xmlns:b='http://jabber.org/protocol/httpbind' xmlns='jabber:client'><message><body>hi</body></message></b:body>",
			"<message><body>hi</body></message>\n",
		},
		"language of the body": {"<body rid='1' xml:lang='de' " + bodyNS + "><presence/></body>", "<presence xml:lang='de'/>\n"},
	} {
		r := mustDecode(t, c.body)
		if got := payloads(r); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, c.want)
		}
		if !r.payload[0].stanza {
			t.Errorf("%s: not a stanza", name)
		}
	}
	if r := mustDecode(t, "<body rid='1' "+bodyNS+"><auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/><foo/></body>"); r.payload[0].stanza || r.payload[1].stanza {
		t.Error("counts what is no stanza")
	}
}

// A mistake in the attributes does not hide the session.
func TestSessionOfABadBody(t *testing.T) {
	for _, body := range []string{
		"<body rid='x' sid='s1' " + bodyNS + "/>", "<body wait='-1' rid='1' sid='s1' " + bodyNS + "/>", "<body sid='s1' " + bodyNS + "/>",
		"<body rid='1' sid='s1' " + bodyNS + "><message", "<body rid='1' sid='s1' " + bodyNS + "><!-- --></body>",
	} {
		r, err := decodeString(body)
		var b *bodyError
		if !errors.As(err, &b) || string(r.sidRaw) != "s1" {
			t.Errorf("%s: session %q, %v", body, r.sidRaw, err)
		}
	}
}
