package bosh

import (
	"strings"
	"testing"
	"testing/synctest"

	"stanzagate/internal/xmpptest"
)

// second opens another stream in a session of bound and returns its name and the server's end.
func (b *browser) second(attrs string) (string, *xmpptest.Conn, reply) {
	b.t.Helper()
	held := b.hold(attrs, "")
	c := b.xmpp.Next()
	c.Greet(c.Mechanisms())
	out := b.get(held)
	return out.attr("stream"), c, out
}

// Covers: BOSH-064, BOSH-152.
func TestStreamsNotOffered(t *testing.T) {
	r := newRig(t, xmpptest.Options{}, Config{Streams: 1, Wait: 1e9})
	b, out := r.open(defaultAttrs)
	if strings.Contains(out.raw, " stream=") {
		t.Errorf("got %s", out.raw)
	}
	connections := r.xmpp.Accepted()
	if out := b.say("to='example.org'", ""); len(out.Nodes) > 0 || out.attr("type") != "" || strings.Contains(out.raw, " stream=") {
		t.Errorf("got %s", out.raw)
	}
	if r.xmpp.Accepted() != connections {
		t.Error("another stream was opened")
	}
}

// Covers: BOSH-154, BOSH-155, BOSH-156, BOSH-158, BOSH-159, BOSH-160, BOSH-161.
func TestSecondStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, first := bound(t, defaultAttrs)
		name, c, out := b.second("to='other.example' xmlns:xmpp='urn:xmpp:xbosh' xmpp:version='1.0'")
		if _, ok := out.child("features"); !ok || name == "" || out.attrNS("urn:xmpp:xbosh", "version") != "1.0" || !strings.Contains(c.Received(), "to='other.example'") {
			t.Fatalf("got %s, the server %s", out.raw, c.Received())
		}
		for _, attr := range []string{"sid", "requests", "polling", "hold", "inactivity", "maxpause", "accept", "charsets", "ver", "wait"} {
			if out.attr(attr) != "" {
				t.Errorf("%s in %s", attr, out.raw)
			}
		}
		login := b.hold("stream='"+name+"'", plain("alice", "secret"))
		c.Expect("auth")
		c.Send("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
		if out := b.get(login); out.attr("stream") != name || len(out.Nodes) != 1 {
			t.Errorf("got %s", out.raw)
		}
		// Both servers speak at once: two bodies.
		c.Send("<failure xmlns='urn:x'/>")
		first.Send("<message><body>one</body></message>")
		synctest.Wait()
		one, two := b.say("", ""), b.say("", "")
		if one.attr("stream") == two.attr("stream") || one.attr("stream") == "" || two.attr("stream") == "" || len(one.Nodes) != 1 || len(two.Nodes) != 1 {
			t.Errorf("got %s and %s", one.raw, two.raw)
		}
		// One is closed, the session goes on with the other.
		end := b.hold("type='terminate' stream='"+name+"'", "")
		c.ExpectEnd()
		c.CloseStream()
		synctest.Wait()
		first.Send("<message><body>still here</body></message>")
		out = b.get(end)
		for range 3 {
			if strings.Contains(out.raw, "still here") {
				break
			}
			out = b.say("", "")
		}
		if !strings.Contains(out.raw, "still here") {
			t.Errorf("got %s", out.raw)
		}
		if out := b.say("stream='nothing'", "<message xmlns='jabber:client'/>"); out.attr("condition") != "item-not-found" {
			t.Errorf("unknown stream: %s", out.raw)
		}
	})
}

// Covers: BOSH-157.
func TestBroadcast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, first := bound(t, "ver='1.11' wait='60' hold='1'")
		name, c, _ := b.second("to='example.org'")
		login := b.hold("stream='"+name+"'", plain("alice", "secret"))
		c.Expect("auth")
		c.Send("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
		b.get(login)
		restarted := b.hold(restartAttrs[len("to='example.org' "):]+" stream='"+name+"'", "")
		c.Greet("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>")
		b.get(restarted)
		bind := b.hold("stream='"+name+"'", "<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
		c.Expect("iq")
		c.Send("<iq type='result' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>alice@example.org/y</jid></bind></iq>")
		b.get(bind)
		b.hold("", "<presence xmlns='jabber:client'><show>away</show></presence>")
		for i, server := range []*xmpptest.Conn{first, c} {
			if p := server.Expect("presence"); p.Child("show").Text != "away" {
				t.Errorf("server %d got %s", i, p.Raw)
			}
		}
		end := b.hold("type='terminate'", "")
		for _, server := range []*xmpptest.Conn{first, c} {
			server.ExpectEnd()
			server.CloseStream()
		}
		b.get(end)
	})
}
