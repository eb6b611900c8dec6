package upstream

import (
	"errors"
	"strings"
	"testing"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmpptest"
)

// Byte for byte.
//
// Covers: UP-023.
func TestOurHeader(t *testing.T) {
	const ends = " xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
	for want, got := range map[string][]byte{
		"<?xml version='1.0'?><stream:stream to='example.org' version='1.0'" + ends:                              appendHeader(nil, "example.org", "", ""),
		"<?xml version='1.0'?><stream:stream to='a.org' from='o&#39;x@a.org' version='1.0' xml:lang='de'" + ends: appendHeader(nil, "a.org", "o'x@a.org", "de"),
	} {
		if string(got) != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
}

// The browser's JID is named once the stream is encrypted, bare, and only if it is one of the domain.
//
// Covers: UP-024.
func TestFromIsSentOverTLSOnly(t *testing.T) {
	for _, c := range []struct {
		from      string
		encrypted bool
		want      string
	}{
		{"juliet@example.org", true, "juliet@example.org"},
		{"juliet@example.org/balcony", true, "juliet@example.org"},
		{"juliet@example.org", false, ""},
		{"juliet@example.com", true, ""},
		{"example.org", true, ""},
		{"a b@example.org", true, ""},
		{"", true, ""},
	} {
		if got := headerFrom(Opening{Domain: "example.org", From: c.from}, c.encrypted); got != c.want {
			t.Errorf("%q, encrypted %v: %q", c.from, c.encrypted, got)
		}
	}
	ca := xmpptest.NewCA(t)
	srv := xmpptest.Start(t, xmpptest.Options{TLS: ca.Good("example.org")})
	dialTo(t, srv.Setting(ca.File()), Opening{From: "juliet@example.org"})
	clear, secured, _ := strings.Cut(srv.Next().Received(), "<starttls")
	lacks(t, clear, "from=")
	contains(t, secured, "from='juliet@example.org'")
}

// answering starts a server that answers the header with raw bytes.
func answering(t *testing.T, raw string) string {
	return xmpptest.Start(t, xmpptest.Options{Handler: func(c *xmpptest.Conn) {
		c.ExpectHeader()
		c.Send(raw)
		_, _ = c.Read()
		_, _ = c.Read()
	}}).Setting("")
}

const (
	root     = "<stream:stream xmlns='jabber:client' xmlns:stream='" + ns.Stream + "'"
	offer    = "<stream:features><mechanisms xmlns='" + ns.SASL + "'><mechanism>PLAIN</mechanism></mechanisms></stream:features>"
	declared = "<?xml version='1.0'?>"
)

// Old servers leave attributes out; other prefixes and quotes mean the same.
//
// Covers: UP-025, UP-036.
func TestServerHeaders(t *testing.T) {
	for _, c := range []struct {
		name, raw string
		want      Header
	}{
		{"all", declared + root + " id='a&amp;b' from='example.org' to='x@example.org' version='1.0' xml:lang='de'>" + offer, Header{"a&b", "example.org", "de", "1.0"}},
		{"least", root + " version='1.0'>" + offer, Header{Version: "1.0"}},
		{"newer", root + " version='1.10'>" + offer, Header{Version: "1.10"}},
		{"other prefix", "<s:stream xmlns:s='" + ns.Stream + "' version='1.0'><s:features/>", Header{Version: "1.0"}},
		{"no prefix", "<stream xmlns='" + ns.Stream + "' version='1.0'><features/>", Header{Version: "1.0"}},
		{"another from in the clear", root + " from='x.test' version='1.0'>" + offer, Header{From: "x.test", Version: "1.0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := dialTo(t, answering(t, c.raw), Opening{})
			if s.Header() != c.want {
				t.Errorf("%+v", s.Header())
			}
			if ev := s.next(); !ev.Element.Is(ns.Stream, "features") {
				t.Errorf("%s", ev.Element.Raw)
			}
		})
	}
}

// The server is told what is wrong before the connection is given up.
//
// Covers: UP-025, UP-026, UP-027, UP-034, UP-043.
func TestServerHeadersThatEndTheAttempt(t *testing.T) {
	for _, c := range []struct{ name, raw, condition string }{
		{"no version", root + ">", "unsupported-version"},
		{"version 0.9", root + " version='0.9'>", "unsupported-version"},
		{"version not a number", root + " version='x'>", "unsupported-version"},
		{"not a stream", "<html xmlns='http://www.w3.org/1999/xhtml'>", "invalid-namespace"},
		{"other namespace", "<stream xmlns='urn:x' version='1.0'>", "invalid-namespace"},
		{"no features", root + " version='1.0'><message/>", "bad-format"},
		{"unknown required feature alone", root + " version='1.0'><stream:features><x xmlns='urn:x'><required/></x></stream:features>", "unsupported-feature"},
		{"not XML", "HTTP/1.1 400 Bad Request\r\n", "not-well-formed"},
		{"DTD", "<!DOCTYPE x>" + root, "restricted-xml"},
		{"encoding", "<?xml version='1.0' encoding='UTF-16'?>" + root, "unsupported-encoding"},
		{"UTF-16", "\xff\xfe<\x00", "not-well-formed|unsupported-encoding"},
	} {
		t.Run(c.name, func(t *testing.T) {
			told := make(chan string, 1)
			srv := xmpptest.Start(t, xmpptest.Options{Handler: func(x *xmpptest.Conn) {
				x.ExpectHeader()
				x.Send(c.raw)
				told <- x.Expect("error").Raw
				x.ExpectEnd()
			}})
			d := newDialer(t, Config{Domains: []string{srv.Setting("")}})
			_, err := d.Open(within(t), Opening{Domain: "example.org"})
			if !errors.Is(err, ErrUnreachable) || opOf(err) != OpNegotiate {
				t.Error(err)
			}
			raw := <-told
			srv.Wait()
			for _, condition := range strings.Split(c.condition, "|") {
				if strings.Contains(raw, "<"+condition+" xmlns='"+ns.Streams+"'/>") {
					return
				}
			}
			t.Errorf("told %s, want %s", raw, c.condition)
		})
	}
}

// Once encrypted, a server that calls itself by another name is not the domain's.
//
// Covers: UP-025.
func TestForeignFromOverTLS(t *testing.T) {
	ca := xmpptest.NewCA(t)
	told := make(chan string, 1)
	srv := xmpptest.Start(t, xmpptest.Options{TLS: ca.Good("example.org"), Direct: true, Handler: func(c *xmpptest.Conn) {
		if c.Handshake() != nil {
			return
		}
		c.ExpectHeader()
		c.Send(root + " from='example.com' version='1.0'>" + offer)
		told <- c.Expect("error").Raw
	}})
	d := newDialer(t, Config{Domains: []string{srv.Setting(ca.File())}})
	if _, err := d.Open(within(t), Opening{Domain: "example.org"}); opOf(err) != OpNegotiate {
		t.Error(err)
	}
	contains(t, <-told, "<invalid-from")
}

// A stream error instead of the features is told as such; the server gets a closing tag.
//
// Covers: UP-042.
func TestStreamErrorAtOnce(t *testing.T) {
	srv := xmpptest.Start(t, xmpptest.Options{Handler: func(c *xmpptest.Conn) {
		c.ExpectHeader()
		c.SendHeader("")
		c.Send("<stream:error><host-unknown xmlns='" + ns.Streams + "'/></stream:error>")
		c.ExpectEnd()
	}})
	m := &counters{}
	d := newDialer(t, Config{Domains: []string{srv.Setting("")}, Metrics: m})
	_, err := d.Open(within(t), Opening{Domain: "example.org"})
	if got := streamCondition(t, err); got != "host-unknown" || m.failed != OpNegotiate {
		t.Error(got, m.failed)
	}
	srv.Wait()
}
