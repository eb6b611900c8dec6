package bosh

import (
	"encoding/xml"
	"strings"
	"testing"
	"time"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmlframe"
)

// encode writes a response and reads it again with another parser.
func encode(t *testing.T, r *response) (string, node) {
	t.Helper()
	raw := string(appendBody(nil, r))
	var n node
	if err := xml.Unmarshal([]byte(raw), &n); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	if n.XMLName != (xml.Name{Space: ns.BOSH, Local: "body"}) {
		t.Errorf("root is %v", n.XMLName)
	}
	return raw, n
}

// Covers: BOSH-021, BOSH-031, BOSH-074.
func TestEmptyBody(t *testing.T) {
	if raw, _ := encode(t, &response{}); raw != "<body xmlns='http://jabber.org/protocol/httpbind'/>" {
		t.Error(raw)
	}
}

// Covers: BOSH-055, BOSH-059, BOSH-060, BOSH-061, BOSH-062, BOSH-063, BOSH-064, BOSH-066, XBOSH-009, XBOSH-010, XBOSH-011.
func TestCreationBody(t *testing.T) {
	raw, n := encode(t, &response{
		created: &creation{
			sid: "s<1", wait: time.Minute, inactivity: 2 * time.Minute, polling: 5 * time.Second, maxpause: 100 * time.Hour,
			requests: 2, hold: 1, hasVer: true, ver: version{1, 11},
		},
		hasAck: true, ack: 1000, from: "a&b.example", authID: "id'1", xmppVersion: "1.0", stream: "st1", prefix: true,
		payload: []element{{raw: []byte("<stream:features/>"), prefix: true}},
	})
	for name, want := range map[string]string{
		"sid": "s<1", "wait": "60", "inactivity": "120", "polling": "5", "maxpause": "65535", "requests": "2", "hold": "1", "ver": "1.11",
		"ack": "1000", "from": "a&b.example", "authid": "id'1", "stream": "st1", "accept": "deflate,gzip",
	} {
		if got := n.attr(name); got != want {
			t.Errorf("%s=%q, want %q", name, got, want)
		}
	}
	if n.attrNS(ns.XBOSH, "version") != "1.0" || n.attrNS(ns.XBOSH, "restartlogic") != "true" {
		t.Errorf("xmpp attributes: %s", raw)
	}
	for _, literal := range []string{" xmlns:xmpp='urn:xmpp:xbosh'", " xmpp:version='1.0'", " xmpp:restartlogic='true'", " xmlns:stream='http://etherx.jabber.org/streams'"} {
		if !strings.Contains(raw, literal) {
			t.Errorf("no %s in %s", literal, raw)
		}
	}
	raw, n = encode(t, &response{created: &creation{sid: "x", requests: 2, hold: 1}})
	for _, name := range []string{"ver", "maxpause", "stream", "ack", "authid", "from", "charsets"} {
		if strings.Contains(raw, " "+name+"=") || n.attr(name) != "" {
			t.Errorf("%s in %s", name, raw)
		}
	}
}

// Covers: BOSH-090, BOSH-091.
func TestReport(t *testing.T) {
	_, n := encode(t, &response{hasAck: true, ack: 9, report: 8, since: 852*time.Millisecond + 700*time.Microsecond})
	if n.attr("ack") != "9" || n.attr("report") != "8" || n.attr("time") != "852" {
		t.Errorf("got %+v", n.Attrs)
	}
	if _, n = encode(t, &response{report: 8, since: time.Hour}); n.attr("time") != "65535" {
		t.Errorf("time %q", n.attr("time"))
	}
}

// Covers: BOSH-166, XBOSH-018.
func TestTerminalBodies(t *testing.T) {
	if raw, _ := encode(t, &response{terminate: true}); raw != "<body xmlns='http://jabber.org/protocol/httpbind' type='terminate'/>" {
		t.Error(raw)
	}
	if raw, _ := encode(t, &response{failed: true}); raw != "<body xmlns='http://jabber.org/protocol/httpbind' type='error'/>" {
		t.Error(raw)
	}
	_, n := encode(t, &response{terminate: true, condition: "see-other-uri", uri: "https://b.example/?a&b"})
	if u, _ := n.child("uri"); u.XMLName.Space != ns.BOSH || u.Text != "https://b.example/?a&b" {
		t.Errorf("got %+v", n)
	}
	raw, n := encode(t, &response{
		terminate: true, condition: "remote-stream-error", prefix: true,
		payload: []element{{raw: []byte("<message xmlns='jabber:client'/>")}, {raw: appendStreamError(nil, "conflict"), prefix: true}},
	})
	if len(n.Nodes) != 2 || n.Nodes[1].XMLName != (xml.Name{Space: ns.Stream, Local: "error"}) ||
		n.Nodes[1].Nodes[0].XMLName != (xml.Name{Space: ns.Streams, Local: "conflict"}) {
		t.Errorf("got %s", raw)
	}
}

// firstChild returns the first element of a stream that begins with its header.
func firstChild(t *testing.T, stream string) xmlframe.Element {
	t.Helper()
	s := xmlframe.NewScanner(xmlframe.Rooted, testLimits())
	in := []byte(stream)
	_, n, err := s.Next(in)
	if err != nil {
		t.Fatal(err)
	}
	tok, _, err := s.Next(in[n:])
	if err != nil || tok.Kind != xmlframe.Child {
		t.Fatalf("%s: %v %v", stream, tok.Kind, err)
	}
	return tok.Element
}

// Covers: XBOSH-002.
func TestStreamPrefix(t *testing.T) {
	header := "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' xmlns:s='http://etherx.jabber.org/streams'>"
	for name, c := range map[string]struct{ in, want string }{
		"usual":           {"<stream:features><a xmlns='b'/></stream:features>", "<stream:features><a xmlns='b'/></stream:features>"},
		"other prefix":    {"<s:features x='1'><a xmlns='b'>></a></s:features>", "<stream:features xmlns:s='http://etherx.jabber.org/streams' x='1'><a xmlns='b'>></a></stream:features>"},
		"no prefix":       {"<features xmlns='http://etherx.jabber.org/streams'><a/></features >", "<stream:features xmlns='http://etherx.jabber.org/streams'><a/></stream:features>"},
		"empty":           {"<features xmlns='http://etherx.jabber.org/streams'/>", "<stream:features xmlns='http://etherx.jabber.org/streams'/>"},
		"nested":          {"<s:features><s:features/></s:features>", "<stream:features xmlns:s='http://etherx.jabber.org/streams'><s:features/></stream:features>"},
		"prefix is taken": {"<features xmlns='http://etherx.jabber.org/streams' xmlns:stream='x'/>", "<features xmlns='http://etherx.jabber.org/streams' xmlns:stream='x'/>"},
	} {
		b := batch{raw: []byte("before")}
		b.add(firstChild(t, header+c.in), streamScope(""), true)
		if got := string(b.raw); got != "before"+c.want {
			t.Errorf("%s: %s\nwant %s", name, got, c.want)
		}
	}
}

// Elements from the server read in <body/> what they read in the stream.
//
// Covers: BOSH-023, XBOSH-003, XBOSH-022, XBOSH-023.
func TestElementsInBody(t *testing.T) {
	header := "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback' xml:lang='de'>"
	for name, c := range map[string]struct{ lang, in, want string }{
		"namespace and language":     {"", "<message><body>x</body></message>", "<message xmlns='jabber:client' xml:lang='de'><body>x</body></message>"},
		"the browser's own language": {"de", "<message><body>x</body></message>", "<message xmlns='jabber:client'><body>x</body></message>"},
		"another language":           {"fr", "<message><body>x</body></message>", "<message xmlns='jabber:client' xml:lang='de'><body>x</body></message>"},
		"own declarations":           {"", "<message xmlns='jabber:client' xml:lang='en'/>", "<message xmlns='jabber:client' xml:lang='en'/>"},
		"prefix of the header":       {"de", "<message><db:x/></message>", "<message xmlns='jabber:client' xmlns:db='jabber:server:dialback'><db:x/></message>"},
		"prefix stream in a stanza":  {"de", "<message><stream:x/></message>", "<message xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'><stream:x/></message>"},
		"other namespace":            {"de", "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"},
	} {
		var b batch
		b.add(firstChild(t, header+c.in), bodyScope(c.lang), false)
		if got := string(b.raw); got != c.want {
			t.Errorf("%s: %s\nwant %s", name, got, c.want)
		}
	}
}
