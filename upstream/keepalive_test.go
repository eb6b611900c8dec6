package upstream

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmpptest"
)

// No white space while TLS, SASL and bind go on; one space on a bound stream.
//
// Covers: UP-030, UP-112.
func TestKeepAlive(t *testing.T) {
	srv := xmpptest.Start(t, xmpptest.Options{})
	c := dialTo(t, srv.Setting(""), Opening{})
	peer := srv.Next()
	quiet := func() {
		t.Helper()
		before := peer.Received()
		if err := c.KeepAlive(); err != nil {
			t.Error(err)
		}
		if got := peer.Received(); got != before {
			t.Errorf("%q was sent", got[len(before):])
		}
	}
	quiet()
	c.expect("features")
	quiet()
	c.forward(plainAuth("juliet", "secret"))
	c.expect("success")
	quiet()
	if err := c.Restart(Opening{}); err != nil {
		t.Fatal(err)
	}
	c.expect("features")
	quiet()
	c.forward(bindRequest)
	c.expect("iq")
	before := len(peer.Received())
	if err := c.KeepAlive(); err != nil {
		t.Error(err)
	}
	c.forward("<iq xmlns='jabber:client' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>")
	c.expect("iq")
	if got := peer.Received()[before:]; got[0] != ' ' || got[1] != '<' {
		t.Errorf("%q", got)
	}
	_ = c.Cut()
	quiet()
}

// The kernel watches the connection: probes while it is idle, a bound for data in flight.
//
// Covers: UP-112.
func TestDeadConnectionsAreFound(t *testing.T) {
	srv := xmpptest.Start(t, xmpptest.Options{})
	c := dialTo(t, srv.Setting(""), Opening{})
	raw, err := c.link.conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	get := func(level, option int) (v int) {
		if err := raw.Control(func(fd uintptr) {
			v, err = syscall.GetsockoptInt(int(fd), level, option)
		}); err != nil {
			t.Fatal(err)
		}
		return v
	}
	if get(syscall.SOL_SOCKET, syscall.SO_KEEPALIVE) == 0 {
		t.Error("no keep-alive")
	}
	if v := get(syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE); v != 60 {
		t.Errorf("first probe after %d s", v)
	}
	if v := get(syscall.IPPROTO_TCP, tcpUserTimeout); v != int(time.Minute/time.Millisecond) {
		t.Errorf("data may be unacknowledged for %d ms", v)
	}
}

// A server's ping is the browser's to answer.
//
// Covers: UP-114.
func TestServerPingGoesThrough(t *testing.T) {
	ping := "<iq type='get' id='s1' from='example.org'><ping xmlns='urn:xmpp:ping'/></iq>"
	for _, managed := range []bool{false, true} {
		srv := xmpptest.Start(t, xmpptest.Options{Handler: func(c *xmpptest.Conn) {
			if c.Login() == nil {
				c.Send(ping)
				_, _ = c.Read()
			}
		}})
		c := dialTo(t, srv.Setting(""), Opening{Managed: managed})
		c.login("juliet")
		if got := c.raw(); got != ping {
			t.Error(got)
		}
		if got := srv.Next().Received(); got[len(got)-len("</iq>"):] != "</iq>" {
			t.Errorf("something was answered: %q", got)
		}
	}
}

// Each stage that a server can stall ends in the time that the setting gives.
//
// Covers: UP-009.
func TestStalledStages(t *testing.T) {
	ca := xmpptest.NewCA(t)
	silent := func(c *xmpptest.Conn) { _, _ = c.Read() }
	stall := func(steps ...func(*xmpptest.Conn)) func(*xmpptest.Conn) {
		return func(c *xmpptest.Conn) {
			for _, s := range steps {
				s(c)
			}
			silent(c)
		}
	}
	header := func(c *xmpptest.Conn) { c.ExpectHeader(); c.SendHeader("") }
	starttls := func(c *xmpptest.Conn) { c.SendFeatures("<starttls xmlns='" + ns.TLS + "'/>"); c.Expect("starttls") }
	for name, c := range map[string]struct {
		o  xmpptest.Options
		op string
	}{
		"accepts and is silent":   {xmpptest.Options{TLS: ca.Good("example.org"), Handler: silent}, OpNegotiate},
		"direct TLS, silent":      {xmpptest.Options{TLS: ca.Good("example.org"), Direct: true, Handler: silent}, OpTLS},
		"header, no features":     {xmpptest.Options{TLS: ca.Good("example.org"), Handler: stall(header)}, OpNegotiate},
		"no answer to starttls":   {xmpptest.Options{TLS: ca.Good("example.org"), Handler: stall(header, starttls)}, OpNegotiate},
		"proceed, no handshake":   {xmpptest.Options{TLS: ca.Good("example.org"), Handler: stall(header, starttls, func(c *xmpptest.Conn) { c.Send("<proceed xmlns='" + ns.TLS + "'/>") })}, OpTLS},
		"secured, then silent":    {xmpptest.Options{TLS: ca.Good("example.org"), Handler: stall(header, starttls, func(c *xmpptest.Conn) { _ = c.StartTLS() })}, OpNegotiate},
		"half a features element": {xmpptest.Options{Handler: stall(header, func(c *xmpptest.Conn) { c.Send("<stream:features>") })}, OpNegotiate},
	} {
		t.Run(name, func(t *testing.T) {
			srv := xmpptest.Start(t, c.o)
			setting := srv.Setting("")
			if c.o.TLS != nil {
				setting = srv.Setting(ca.File())
			}
			m := &counters{}
			d := newDialer(t, Config{Domains: []string{setting}, ConnectTimeout: 200 * time.Millisecond, Metrics: m})
			begin := time.Now()
			_, err := d.Open(within(t), Opening{Domain: "example.org"})
			if !errors.Is(err, ErrUnreachable) || m.failed != c.op {
				t.Errorf("%v, counted as %q", err, m.failed)
			}
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
	t.Run("connect", func(t *testing.T) {
		r := &recorder{hosts: map[string]string{"h:5222": "silent"}}
		d := newDialer(t, Config{Domains: []string{"example.org=xmpp://h"}, ConnectTimeout: 100 * time.Millisecond, Dial: r.dial})
		if _, err := d.Open(within(t), Opening{Domain: "example.org"}); opOf(err) != OpConnect {
			t.Error(err)
		}
	})
	t.Run("resolve", func(t *testing.T) {
		z := newZone(t)
		z.silence("_xmpp-client._tcp.example.org.", "_xmpps-client._tcp.example.org.", "example.org.")
		d := newDialer(t, Config{Domains: []string{"example.org"}, ConnectTimeout: 200 * time.Millisecond, Resolver: z.resolver})
		if _, err := d.Open(within(t), Opening{Domain: "example.org"}); opOf(err) != OpResolve {
			t.Error(err)
		}
	})
}
