package upstream

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmpptest"
)

func seeOther(host string) string {
	return "<stream:error><see-other-host xmlns='" + ns.Streams + "'>" + host + "</see-other-host></stream:error></stream:stream>"
}

// redirecting starts a server that sends everybody elsewhere.
func redirecting(t *testing.T, o xmpptest.Options, host string) *xmpptest.Server {
	o.Handler = func(c *xmpptest.Conn) {
		if o.Direct && c.Handshake() != nil {
			return
		}
		c.ExpectHeader()
		c.SendHeader("")
		c.Send(seeOther(host))
		c.ExpectEnd()
	}
	return xmpptest.Start(t, o)
}

// host:port is dialled as it is, with the same `to`; the old server gets a closing tag.
//
// Covers: UP-042, UP-044, UP-045.
func TestRedirectWithPort(t *testing.T) {
	last := xmpptest.Start(t, xmpptest.Options{})
	middle := redirecting(t, xmpptest.Options{}, " "+last.Addr+"\n")
	first := redirecting(t, xmpptest.Options{}, middle.Addr)
	z := newZone(t)
	d := newDialer(t, Config{Domains: []string{first.Setting("")}, Resolver: z.resolver})
	c := openWith(t, d, Opening{})
	if c.Addr() != last.Addr {
		t.Error(c.Addr())
	}
	contains(t, last.Next().Received(), "to='example.org'")
	if asked := z.queries("SRV"); len(asked) > 0 {
		t.Error("asked ", asked)
	}
	first.Wait()
	middle.Wait()
}

// A bare host is looked up like a domain; the reference identity stays.
//
// Covers: UP-045.
func TestRedirectWithoutPort(t *testing.T) {
	ca := xmpptest.NewCA(t)
	for name, want := range map[string]bool{"example.org": true, "other.test": false} {
		last := xmpptest.Start(t, xmpptest.Options{TLS: ca.Good(name), Direct: true})
		z := newZone(t, "_xmpps-client._tcp.other.test. 60 IN SRV 1 0 "+last.Port+" a.test.", "a.test. 60 IN A 127.0.0.1")
		first := redirecting(t, xmpptest.Options{TLS: ca.Good("example.org"), Direct: true}, "other.test")
		d := newDialer(t, Config{Domains: []string{first.Setting(ca.File())}, Resolver: z.resolver})
		s, err := d.Open(within(t), Opening{Domain: "example.org"})
		if (err == nil) != want || err != nil && opOf(err) != OpTLS {
			t.Errorf("certificate for %s: %v", name, err)
		}
		if err == nil {
			_ = s.Cut()
			first.Wait()
			if h := last.Next().Hello(); h.ServerName != "example.org" {
				t.Error(h.ServerName)
			}
		}
	}
}

// Five redirects in a row are followed, a loop is not.
//
// Covers: UP-044.
func TestRedirectLoop(t *testing.T) {
	var srv *xmpptest.Server
	ready := make(chan struct{})
	srv = xmpptest.Start(t, xmpptest.Options{Handler: func(c *xmpptest.Conn) {
		<-ready
		c.ExpectHeader()
		c.SendHeader("")
		c.Send(seeOther(srv.Addr))
	}})
	close(ready)
	d := newDialer(t, Config{Domains: []string{srv.Setting("")}})
	if _, err := d.Open(within(t), Opening{Domain: "example.org"}); !errors.Is(err, errRedirects) || !errors.Is(err, ErrUnreachable) {
		t.Error(err)
	}
	if n := srv.Accepted(); n != 1+maxRedirects {
		t.Errorf("%d connections", n)
	}
}

// Nonsense is not dialled, and a redirect does not extend the leave to go in the clear.
//
// Covers: UP-010, UP-044.
func TestRedirectsThatAreNotFollowed(t *testing.T) {
	for _, host := range []string{"", " ", "a:b", "a:0", "a:70000", ":1", "[::1", "x@y", "a/b", "a b", "8.8.8.8:5222"} {
		srv := redirecting(t, xmpptest.Options{}, host)
		d := newDialer(t, Config{Domains: []string{srv.Setting("")}, Resolver: newZone(t).resolver})
		_, err := d.Open(within(t), Opening{Domain: "example.org"})
		if !errors.Is(err, ErrUnreachable) {
			t.Errorf("%q: %v", host, err)
		}
		srv.Wait()
		if host == "8.8.8.8:5222" && !errors.Is(err, ErrAddressRefused) {
			t.Errorf("plaintext to a public address: %v", err)
		}
	}
}

func TestSplitRedirect(t *testing.T) {
	for in, want := range map[string][2]string{
		"h": {"h", ""}, "h:1": {"h", "1"}, "1.2.3.4": {"1.2.3.4", ""}, "1.2.3.4:5": {"1.2.3.4", "5"},
		"[::1]": {"[::1]", ""}, "[::1]:5": {"::1", "5"},
	} {
		if h, p, err := splitRedirect(in); err != nil || h != want[0] || p != want[1] {
			t.Errorf("%q: %q %q %v", in, h, p, err)
		}
	}
}

// Before the browser has begun to log in a redirect goes unnoticed.
//
// Covers: UP-044.
func TestRedirectAfterFeatures(t *testing.T) {
	last := xmpptest.Start(t, xmpptest.Options{})
	first := xmpptest.Start(t, xmpptest.Options{Handler: func(c *xmpptest.Conn) {
		c.Greet(c.Mechanisms())
		c.Send(seeOther(last.Addr))
		c.ExpectEnd()
	}})
	c := dialTo(t, first.Setting(""), Opening{})
	c.expect("features")
	recv := make(chan Event, 1)
	failed := make(chan error, 1)
	go func() {
		ev, err := c.Recv()
		recv <- ev
		failed <- err
	}()
	last.Next()
	for c.Addr() != last.Addr {
		runtime.Gosched() // the move follows at once on the features of the new server
	}
	c.forward(plainAuth("juliet", "secret"))
	if ev, err := <-recv, <-failed; err != nil || string(ev.Element.Local) != "success" {
		t.Fatalf("%s %v", ev.Element.Raw, err)
	}
	if err := c.Restart(Opening{}); err != nil {
		t.Fatal(err)
	}
	c.expect("features")
	c.forward(bindRequest)
	c.expect("iq")
	last.Session("juliet@example.org/r")
	first.Wait()
}

// What the browser knows, or has begun, does not fit another server: it begins anew.
//
// Covers: UP-044.
func TestRedirectThatTheBrowserWouldNotice(t *testing.T) {
	other := xmpptest.Start(t, xmpptest.Options{Mechanisms: []string{"EXTERNAL"}})
	same := xmpptest.Start(t, xmpptest.Options{})
	for name, c := range map[string]struct {
		to    string
		begun bool
	}{"other features": {other.Addr, false}, "login begun": {same.Addr, true}, "unreachable": {"127.0.0.1:1", false}} {
		srv := xmpptest.Start(t, xmpptest.Options{Handler: func(x *xmpptest.Conn) {
			x.Greet(x.Mechanisms())
			if c.begun {
				x.Expect("auth")
			}
			x.Send(seeOther(c.to))
			x.ExpectEnd()
		}})
		s := dialTo(t, srv.Setting(""), Opening{})
		s.expect("features")
		if c.begun {
			s.forward(plainAuth("juliet", "secret"))
		}
		err := s.end()
		if got := streamCondition(t, err); got != "reset" {
			t.Errorf("%s: %s", name, got)
		}
		srv.Wait()
		var se *StreamError
		if errors.As(err, &se) && strings.Contains(string(se.Raw), c.to) {
			t.Errorf("%s: the browser is told where: %s", name, se.Raw)
		}
	}
}
