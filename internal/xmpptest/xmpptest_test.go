package xmpptest

import (
	"bufio"
	"encoding/base64"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type client struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, c net.Conn) *client {
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(Patience))
	return &client{t, c, bufio.NewReader(c)}
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) until(end string) string {
	c.t.Helper()
	var b strings.Builder
	for !strings.HasSuffix(b.String(), end) {
		x, err := c.r.ReadByte()
		if err != nil {
			c.t.Fatalf("%v after %s", err, b.String())
		}
		b.WriteByte(x)
	}
	return b.String()
}

const open = "<?xml version='1.0'?><stream:stream to='example.org' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"

func (c *client) login(user string) {
	c.t.Helper()
	c.send(open)
	c.until("</stream:features>")
	c.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" +
		base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00wrong")) + "</auth>")
	c.until("</failure>")
	c.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" +
		base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00secret")) + "</auth>")
	c.until("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
	c.send(open)
	c.until("</stream:features>")
	c.send("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>x</resource></bind></iq>")
	c.until("</iq>")
}

func TestDefaultScriptRoutesBetweenSessions(t *testing.T) {
	s := Start(t, Options{})
	var cs [2]*client
	for i, u := range []string{"alice", "bob"} {
		nc, err := net.Dial("tcp", s.Addr)
		if err != nil {
			t.Fatal(err)
		}
		cs[i] = dial(t, nc)
		cs[i].login(u)
	}
	s.Session("bob@example.org")
	cs[0].send("<message to='bob@example.org'><body>hi</body></message>")
	if got := cs[1].until("</message>"); !strings.Contains(got, "from='alice@example.org/x'") {
		t.Fatal(got)
	}
	cs[0].send("</stream:stream>")
	cs[0].until("</stream:stream>")
}

func TestManualControl(t *testing.T) {
	s := New(t, Options{Manual: true})
	c := dial(t, s.Pipe())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.send(open + "<a/><b x='1'/></stream:stream>")
	}()
	p := s.Next()
	if h := p.ExpectHeader(); h.Attr("to") != "example.org" {
		t.Fatal(h)
	}
	p.Expect("a")
	if b := p.Expect("b"); b.Raw != "<b x='1'/>" || b.Attr("x") != "1" {
		t.Fatal(b)
	}
	p.ExpectEnd()
	<-done
}
