package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmlframe"
	"stanzagate/internal/xmpptest"
)

// Our closing tag, then what the server still sends is delivered until its closing tag; TLS says goodbye.
//
// Covers: UP-040.
func TestCloseDeliversWhatStillComes(t *testing.T) {
	ca := xmpptest.NewCA(t)
	goodbye := make(chan error, 1)
	srv := xmpptest.Start(t, xmpptest.Options{TLS: ca.Good("example.org"), Handler: func(c *xmpptest.Conn) {
		if c.Login() != nil {
			return
		}
		c.ExpectEnd()
		c.Send("<message id='1'/><message id='2'/></stream:stream>")
		_, err := c.Read()
		goodbye <- err
	}})
	c := dialTo(t, srv.Setting(ca.File()), Opening{})
	c.login("juliet")
	closed := make(chan error, 1)
	go func() { closed <- c.Close(within(t)) }()
	for _, id := range []string{"1", "2"} {
		if got, _ := c.expect("message").Attr("", "id"); got != id {
			t.Errorf("message %q, want %q", got, id)
		}
	}
	c.closed()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	// Without close_notify crypto/tls reports io.ErrUnexpectedEOF.
	if err := <-goodbye; errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("TLS was cut without close_notify")
	}
	if err := c.Send([]byte("<message/>")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Send after Close: %v", err)
	}
	if n := strings.Count(srv.Next().Received(), closingTag); n != 1 {
		t.Errorf("%d closing tags", n)
	}
}

// A server that does not answer is given up.
//
// Covers: UP-040.
func TestCloseGivesUp(t *testing.T) {
	srv := xmpptest.Start(t, xmpptest.Options{Handler: func(c *xmpptest.Conn) {
		if c.Login() == nil {
			c.ExpectEnd()
			c.ExpectCut()
		}
	}})
	c := dialTo(t, srv.Setting(""), Opening{})
	c.login("juliet")
	wait := c.background()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if err := wait(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// The default patience is 5 s.
//
// Covers: UP-040.
func TestClosePatience(t *testing.T) {
	if closeTimeout != 5*time.Second {
		t.Error(closeTimeout)
	}
}

// The server's closing tag is answered, nothing is sent any more, and Recv says io.EOF.
//
// Covers: UP-041.
func TestServerCloses(t *testing.T) {
	done := make(chan struct{})
	srv := xmpptest.Start(t, xmpptest.Options{Handler: func(c *xmpptest.Conn) {
		defer close(done)
		if c.Login() == nil {
			c.CloseStream()
			c.ExpectEnd()
		}
	}})
	c := dialTo(t, srv.Setting(""), Opening{})
	c.login("juliet")
	c.closed()
	<-done
	if err := c.Send([]byte("<message/>")); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if _, err := c.Recv(); err != io.EOF {
		t.Errorf("Recv again: %v", err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// Every condition of RFC 6120 §4.9.3, and unknown ones, with a full copy; the server gets a closing tag.
//
// Covers: UP-042.
func TestStreamErrors(t *testing.T) {
	cases := map[string]string{"no-such-condition": undefinedCondition}
	for name := range conditions {
		if name != seeOtherHost {
			cases[name] = name
		}
	}
	if len(cases) != 25 {
		t.Fatalf("%d conditions", len(cases))
	}
	for name, want := range cases {
		rest := "<text xml:lang='de'>Grund &amp; &lt;</text><app:x/>"
		srv := xmpptest.Start(t, xmpptest.Options{Handler: func(c *xmpptest.Conn) {
			c.ExpectHeader()
			c.SendHeader("xmlns:app='urn:app'")
			c.SendFeatures(c.Mechanisms())
			c.Send("<stream:error><" + name + " xmlns='" + ns.Streams + "'/>" + rest + "</stream:error></stream:stream>")
			c.ExpectEnd()
		}})
		c := dialTo(t, srv.Setting(""), Opening{})
		c.expect("features")
		_, err := c.Recv()
		if got := streamCondition(t, err); got != want {
			t.Errorf("%s: %s", name, got)
		}
		var se *StreamError
		errors.As(err, &se)
		raw := "<r xmlns:stream='" + ns.Stream + "'>" + string(se.Raw) + "</r>"
		el, err := xmlframe.Parse([]byte(raw), xmlframe.Limits{})
		if err != nil {
			t.Fatalf("%v: %s", err, raw)
		}
		contains(t, string(el.Raw), rest, "<"+name+" ", "urn:app")
		if _, err := c.Recv(); err != io.EOF {
			t.Errorf("then %v", err)
		}
		srv.Wait()
	}
}

// A dead connection is never taken for a closed stream, and says net.ErrClosed.
func TestLostConnection(t *testing.T) {
	for name, cut := range map[string]func(*xmpptest.Conn){"FIN": (*xmpptest.Conn).Cut, "RST": (*xmpptest.Conn).Reset} {
		for _, half := range []string{"", "<message><bo", " "} {
			srv := xmpptest.Start(t, xmpptest.Options{Handler: func(c *xmpptest.Conn) {
				if c.Login() == nil {
					c.Send(half)
					cut(c)
				}
			}})
			c := dialTo(t, srv.Setting(""), Opening{})
			c.login("juliet")
			err := c.end()
			if !errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
				t.Errorf("%s after %q: %v", name, half, err)
			}
			var e *Error
			if !errors.As(err, &e) || e.Op != OpRead || e.Addr != srv.Addr {
				t.Errorf("%s: %+v", name, e)
			}
		}
	}
}

// Cut says nothing, so that a resumable session survives, and ends Recv.
func TestCut(t *testing.T) {
	done := make(chan struct{})
	srv := xmpptest.Start(t, xmpptest.Options{Handler: func(c *xmpptest.Conn) {
		defer close(done)
		if c.Login() == nil {
			c.ExpectCut()
		}
	}})
	c := dialTo(t, srv.Setting(""), Opening{})
	c.login("juliet")
	wait := c.background()
	_ = c.Cut()
	if err := wait(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	<-done
	lacks(t, srv.Next().Received(), closingTag)
}

// A Send that is stuck because the server does not read hinders neither Cut nor Recv.
func TestStuckSendIsInterrupted(t *testing.T) {
	ca := xmpptest.NewCA(t)
	for _, cfg := range []xmpptest.Options{{}, {TLS: ca.Good("example.org")}} {
		stalled := make(chan struct{})
		cfg.Handler = func(c *xmpptest.Conn) {
			if c.Login() == nil {
				c.Stall()
				c.Send("<message id='1'/>")
				close(stalled)
				_, _ = c.Read()
			}
		}
		srv := xmpptest.Start(t, cfg)
		setting := srv.Setting("")
		if cfg.TLS != nil {
			setting = srv.Setting(ca.File())
		}
		c := dialTo(t, setting, Opening{})
		c.login("juliet")
		<-stalled
		sent := make(chan error, 1)
		go func() {
			big := []byte("<message><body>" + strings.Repeat("x", 1<<20) + "</body></message>")
			for {
				if err := c.Send(big); err != nil {
					sent <- err
					return
				}
			}
		}()
		c.expect("message")
		wait := c.background()
		_ = c.Cut()
		if err := <-sent; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if err := wait(); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}
}

// Elements, spaces and the closing tag never mix, whoever writes them.
//
// Covers: UP-115.
func TestConcurrentUse(t *testing.T) {
	got := make(chan int, 1)
	srv := xmpptest.Start(t, xmpptest.Options{Handler: func(c *xmpptest.Conn) {
		if c.Login() != nil {
			return
		}
		n := 0
		for {
			node, err := c.Read() // encoding/xml would choke on a space inside a tag or an element inside another
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Error(err)
				break
			}
			if node.Text != "hello" {
				t.Errorf("%q", node.Raw)
			}
			n++
		}
		got <- n
		c.CloseStream()
	}})
	c := dialTo(t, srv.Setting(""), Opening{})
	c.login("juliet")
	wait := c.background()
	var wg sync.WaitGroup
	const senders, each = 8, 200
	for range senders {
		wg.Go(func() {
			for range each {
				if err := c.Send([]byte("<message>hello</message>")); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range each {
				if err := c.KeepAlive(); err != nil {
					t.Error(err)
				}
				_, _, _, _ = c.JID(), c.Header(), c.Scope(), c.TLS()
			}
		})
	}
	wg.Wait()
	for range 4 {
		wg.Go(func() {
			if err := c.Close(within(t)); err != nil {
				t.Error(err)
			}
			_ = c.KeepAlive()
		})
	}
	wg.Wait()
	if err := wait(); err != io.EOF {
		t.Error(err)
	}
	if n := <-got; n != senders*each {
		t.Errorf("%d messages", n)
	}
}

// A hostile server is told its fault, costs a bounded amount, and ends.
//
// Covers: UP-032, UP-033, UP-034, UP-038, UP-043.
func TestHostileServer(t *testing.T) {
	limits := xmlframe.Limits{ElementBytes: 4096, Depth: 10, Attributes: 8, NameBytes: 64}
	for _, c := range []struct{ name, raw, condition string }{
		{"comment", "<!-- x -->", "restricted-xml"},
		{"processing instruction", "<message><?x y?></message>", "restricted-xml"},
		{"DTD", "<!DOCTYPE x [<!ENTITY a 'b'>]>", "restricted-xml"},
		{"entity reference", "<message><body>&nbsp;</body></message>", "restricted-xml"},
		{"undeclared prefix", "<x:message/>", "bad-namespace-prefix|not-well-formed"},
		{"duplicate attribute", "<message a='1' a='2'/>", "not-well-formed"},
		{"duplicate attribute by namespace", "<message xmlns:a='urn:x' xmlns:b='urn:x' a:c='1' b:c='2'/>", "not-well-formed"},
		{"bad character reference", "<message>&#0;</message>", "not-well-formed"},
		{"noncharacter", "<message>\uFFFE</message>", "not-well-formed"},
		{"control character", "<message>\x01</message>", "not-well-formed"},
		{"not UTF-8", "<message>\xff</message>", "not-well-formed|unsupported-encoding"},
		{"wrong end tag", "<message></iq>", "not-well-formed"},
		{"text between elements", "hello", "not-well-formed|bad-format"},
		{"too deep", strings.Repeat("<a>", 11), "policy-violation"},
		{"too many attributes", "<m a='' b='' c='' d='' e='' f='' g='' h='' i=''/>", "policy-violation"},
		{"too long a name", "<" + strings.Repeat("n", 65) + "/>", "policy-violation"},
		{"endless element", "<message>" + strings.Repeat("x", 5000), "policy-violation"},
		{"endless tag", "<message a='" + strings.Repeat("x", 5000), "policy-violation"},
		{"unknown required feature", "<stream:features><x xmlns='urn:x'><required/></x></stream:features>", "unsupported-feature"},
	} {
		t.Run(c.name, func(t *testing.T) {
			told := make(chan string, 1)
			srv := xmpptest.Start(t, xmpptest.Options{Handler: func(x *xmpptest.Conn) {
				if x.Login() == nil {
					x.Send("<message id='before'/>" + c.raw)
					told <- x.Expect("error").Raw
					x.ExpectEnd()
				}
			}})
			s := openWith(t, newDialer(t, Config{Domains: []string{srv.Setting("")}, Limits: limits}), Opening{})
			s.login("juliet")
			s.expect("message")
			err := s.end()
			raw, ok := <-told, false
			for _, want := range strings.Split(c.condition, "|") {
				ok = ok || conditionOf(err) == want && strings.Contains(raw, "<"+want+" xmlns='"+ns.Streams+"'/>")
			}
			if !ok || errors.Is(err, net.ErrClosed) {
				t.Errorf("%v, told %s", err, raw)
			}
			srv.Wait()
		})
	}
}

// An endless run of white space between elements costs nothing and ends nothing.
//
// Covers: UP-038.
func TestWhiteSpaceIsSwallowed(t *testing.T) {
	srv := xmpptest.Start(t, xmpptest.Options{Handler: func(c *xmpptest.Conn) {
		if c.Login() == nil {
			for range 100 {
				c.Send(strings.Repeat(" \r\n\t", 1000))
			}
			c.Send("<message/>")
			_, _ = c.Read()
		}
	}})
	c := openWith(t, newDialer(t, Config{Domains: []string{srv.Setting("")}, Limits: xmlframe.Limits{ElementBytes: 4096}}), Opening{})
	c.login("juliet")
	c.expect("message")
}
