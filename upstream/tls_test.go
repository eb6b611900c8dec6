package upstream

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmpptest"
)

// tryTLS opens a stream to a server of the domain with that certificate and returns the error.
func tryTLS(t *testing.T, ca *xmpptest.CA, domain, query string, direct bool, cfg *tls.Config) error {
	t.Helper()
	srv := xmpptest.Start(t, xmpptest.Options{Domain: domain, TLS: cfg, Direct: direct})
	scheme := "xmpp"
	if direct {
		scheme = "xmpps"
	}
	d := newDialer(t, Config{Domains: []string{domain + "=" + scheme + "://" + srv.Addr + "?ca=" + ca.File() + query}})
	s, err := d.Open(within(t), Opening{Domain: domain})
	if err == nil {
		_ = s.Cut()
	}
	return err
}

// Covers: UP-015, UP-016, UP-017, UP-018.
func TestCertificates(t *testing.T) {
	ca, other := xmpptest.NewCA(t), xmpptest.NewCA(t)
	for _, c := range []struct {
		name   string
		domain string
		query  string
		cert   xmpptest.Cert
		ok     bool
	}{
		{"good", "example.org", "", xmpptest.Cert{DNS: []string{"example.org"}}, true},
		{"good in another case", "example.org", "", xmpptest.Cert{DNS: []string{"EXAMPLE.org"}}, true},
		{"expired", "example.org", "", xmpptest.Cert{DNS: []string{"example.org"}, NotAfter: time.Now().Add(-time.Minute)}, false},
		{"self-signed", "example.org", "", xmpptest.Cert{DNS: []string{"example.org"}, SelfSigned: true}, false},
		{"name of the connected host only", "example.org", "", xmpptest.Cert{DNS: []string{"xmpp.example.org"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}}, false},
		{"name of another domain", "example.org", "", xmpptest.Cert{DNS: []string{"example.com"}}, false},
		{"no name", "example.org", "", xmpptest.Cert{CommonName: "x"}, false},
		{"common name only", "example.org", "", xmpptest.Cert{CommonName: "example.org"}, false},
		{"name configured", "example.org", "&name=xmpp.example.org", xmpptest.Cert{DNS: []string{"xmpp.example.org"}}, true},
		{"name configured excludes the domain", "example.org", "&name=xmpp.example.org", xmpptest.Cert{DNS: []string{"example.org"}}, false},
		{"SRV-ID", "example.org", "", xmpptest.Cert{SRV: []string{"_xmpp-client.example.org"}}, true},
		{"SRV-ID critical", "example.org", "", xmpptest.Cert{SRV: []string{"_xmpp-client.example.org"}, Critical: true}, true},
		{"SRV-ID of servers", "example.org", "", xmpptest.Cert{SRV: []string{"_xmpp-server.example.org"}}, false},
		{"SRV-ID of another", "example.org", "", xmpptest.Cert{SRV: []string{"_xmpp-client.example.com"}}, false},
		{"XmppAddr", "example.org", "", xmpptest.Cert{XmppAddr: []string{"example.org"}}, true},
		{"XmppAddr of a user", "example.org", "", xmpptest.Cert{XmppAddr: []string{"x@example.org"}}, false},
		{"wildcard one label", "a.example.com", "", xmpptest.Cert{DNS: []string{"*.example.com"}}, true},
		{"wildcard two labels", "a.b.example.com", "", xmpptest.Cert{DNS: []string{"*.example.com"}}, false},
		{"wildcard no label", "example.com", "", xmpptest.Cert{DNS: []string{"*.example.com"}}, false},
		{"wildcard in SRV-ID", "a.example.com", "", xmpptest.Cert{SRV: []string{"_xmpp-client.*.example.com"}}, true},
		{"partial wildcard", "a1.example.com", "", xmpptest.Cert{DNS: []string{"a*.example.com"}}, false},
		{"wildcard for a top-level domain", "example.com", "", xmpptest.Cert{DNS: []string{"*.com"}}, false},
		{"IDN", "bücher.example", "", xmpptest.Cert{DNS: []string{"xn--bcher-kva.example"}}, true},
		{"IDN XmppAddr", "bücher.example", "", xmpptest.Cert{XmppAddr: []string{"bücher.example"}}, true},
		{"IDN of another", "bücher.example", "", xmpptest.Cert{DNS: []string{"bucher.example"}}, false},
		{"IP", "127.0.0.1", "", xmpptest.Cert{IPs: []net.IP{net.IPv4(127, 0, 0, 1)}}, true},
		{"IP as a DNS name", "127.0.0.1", "", xmpptest.Cert{DNS: []string{"127.0.0.1"}}, false},
		{"IPv6", "[::1]", "", xmpptest.Cert{IPs: []net.IP{net.IPv6loopback}}, true},
		{"IPv6 of another", "[::1]", "", xmpptest.Cert{IPs: []net.IP{net.ParseIP("::2")}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := tryTLS(t, ca, c.domain, c.query, false, ca.Config(c.cert))
			if (err == nil) != c.ok {
				t.Fatal(err)
			}
			if err != nil && (!errors.Is(err, ErrUnreachable) || opOf(err) != OpTLS) {
				t.Errorf("%v, counted as %q", err, opOf(err))
			}
		})
	}
	t.Run("foreign authority", func(t *testing.T) {
		if err := tryTLS(t, ca, "example.org", "", true, other.Good("example.org")); err == nil {
			t.Fatal("accepted")
		}
	})
}

// Direct TLS comes first, names the domain, offers the protocol, and no STARTTLS follows.
//
// Covers: UP-006, UP-007.
func TestDirectTLS(t *testing.T) {
	ca := xmpptest.NewCA(t)
	srv := xmpptest.Start(t, xmpptest.Options{TLS: ca.Good("example.org"), Direct: true})
	z := newZone(t, "_xmpps-client._tcp.example.org. 60 IN SRV 1 0 "+srv.Port+" xmpp.hoster.test.", "xmpp.hoster.test. 60 IN A 127.0.0.1")
	d := newDialer(t, Config{Domains: []string{"example.org?ca=" + ca.File()}, Resolver: z.resolver})
	c := openWith(t, d, Opening{})
	peer := srv.Next()
	h := peer.Hello()
	if h.ServerName != "example.org" || len(h.SupportedProtos) != 1 || h.SupportedProtos[0] != "xmpp-client" {
		t.Errorf("SNI %q, ALPN %q", h.ServerName, h.SupportedProtos)
	}
	lacks(t, peer.Received(), "starttls")
	if n := strings.Count(peer.Received(), "<stream:stream"); n != 1 {
		t.Errorf("%d stream headers", n)
	}
	if c.TLS() == nil || c.TLS().Version < tls.VersionTLS12 {
		t.Error(c.TLS())
	}
}

// STARTTLS on a plain target: SNI, no ALPN, and a new header without a closing tag.
//
// Covers: UP-006, UP-007, UP-014.
func TestStartTLS(t *testing.T) {
	ca := xmpptest.NewCA(t)
	srv := xmpptest.Start(t, xmpptest.Options{TLS: ca.Good("example.org")})
	dialTo(t, srv.Setting(ca.File()), Opening{})
	peer := srv.Next()
	if h := peer.Hello(); h.ServerName != "example.org" || len(h.SupportedProtos) != 0 {
		t.Errorf("SNI %q, ALPN %q", h.ServerName, h.SupportedProtos)
	}
	const header = "<?xml version='1.0'?><stream:stream to='example.org' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
	if want := header + "<starttls xmlns='" + ns.TLS + "'/>" + header; peer.Received() != want {
		t.Errorf("received %q", peer.Received())
	}
}

// A server without STARTTLS, or a network that hides it, gets no login; only ?tls= changes that.
//
// Covers: UP-011, UP-012, BOSH-180.
func TestTLSIsRequired(t *testing.T) {
	srv := xmpptest.Start(t, xmpptest.Options{})
	d := newDialer(t, Config{Domains: []string{"example.org=xmpp://" + srv.Addr}})
	_, err := d.Open(within(t), Opening{Domain: "example.org"})
	if !errors.Is(err, ErrNoTLS) || !errors.Is(err, ErrUnreachable) {
		t.Error(err)
	}
	for _, query := range []string{"?tls=optional", "?tls=none"} {
		if s := dialTo(t, "example.org=xmpp://"+srv.Addr+query, Opening{}); s.TLS() != nil {
			t.Error(query)
		}
	}
}

// An optional offer is taken, whatever else is offered beside it; and a failed handshake under
// ?tls=optional leads nowhere else.
//
// Covers: UP-012.
func TestOfferedTLSIsTaken(t *testing.T) {
	ca := xmpptest.NewCA(t)
	srv := xmpptest.Start(t, xmpptest.Options{TLS: ca.Good("example.org"), Optional: true})
	for _, query := range []string{"?ca=" + ca.File(), "?tls=optional&ca=" + ca.File()} {
		if s := dialTo(t, "example.org=xmpp://"+srv.Addr+query, Opening{}); s.TLS() == nil {
			t.Error(query)
		}
	}
	bad := xmpptest.Start(t, xmpptest.Options{TLS: ca.Good("other.org"), Optional: true})
	clear := xmpptest.Start(t, xmpptest.Options{})
	z := newZone(t, "_xmpp-client._tcp.example.org. 60 IN SRV 1 0 "+bad.Port+" a.test.",
		"_xmpp-client._tcp.example.org. 60 IN SRV 2 0 "+clear.Port+" a.test.", "a.test. 60 IN A 127.0.0.1")
	d := newDialer(t, Config{Domains: []string{"example.org?tls=optional&ca=" + ca.File()}, Resolver: z.resolver})
	if _, err := d.Open(within(t), Opening{Domain: "example.org"}); opOf(err) != OpTLS {
		t.Error(err)
	}
	if clear.Accepted() > 0 {
		t.Error("the next target was tried in the clear")
	}
}

// What comes in the clear behind <proceed/> never counts, nor what was learnt before TLS.
//
// Covers: UP-013, UP-014.
func TestNothingInTheClearSurvivesTLS(t *testing.T) {
	ca := xmpptest.NewCA(t)
	cfg := ca.Good("example.org")
	srv := xmpptest.Start(t, xmpptest.Options{TLS: cfg, Handler: func(c *xmpptest.Conn) {
		c.ExpectHeader()
		c.Send("<stream:stream xmlns='jabber:client' xmlns:stream='" + ns.Stream + "' xmlns:evil='urn:x' id='clear' from='mallory.test' version='1.0'>")
		c.SendFeatures("<starttls xmlns='" + ns.TLS + "'><required/></starttls>")
		c.Expect("starttls")
		c.Send("<proceed xmlns='" + ns.TLS + "'/><stream:stream xmlns='jabber:client' xmlns:stream='" + ns.Stream +
			"' id='injected' version='1.0'><stream:features><mechanisms xmlns='" + ns.SASL + "'><mechanism>PLAIN</mechanism></mechanisms></stream:features>")
		if c.Handshake() != nil {
			return
		}
		c.ExpectHeader()
		c.Send("<stream:stream xmlns='jabber:client' xmlns:stream='" + ns.Stream + "' id='safe' version='1.0'>")
		c.SendFeatures("<mechanisms xmlns='" + ns.SASL + "'><mechanism>SCRAM-SHA-1</mechanism></mechanisms>")
		_, _ = c.Read()
	}})
	c := dialTo(t, srv.Setting(ca.File()), Opening{})
	if h := c.Header(); h.ID != "safe" || h.From != "" {
		t.Errorf("%+v", h)
	}
	if f := c.raw(); strings.Contains(f, "PLAIN") || !strings.Contains(f, "SCRAM-SHA-1") {
		t.Error(f)
	}
	for _, p := range c.Scope().Prefixes {
		if p.Name == "evil" {
			t.Error("a prefix of the clear stream is in scope")
		}
	}
}

// <failure/> and anything else that is not <proceed/> ends the attempt.
//
// Covers: UP-013.
func TestRefusedStartTLS(t *testing.T) {
	ca := xmpptest.NewCA(t)
	for _, answer := range []string{"<failure xmlns='" + ns.TLS + "'/></stream:stream>", "<proceed xmlns='urn:x'/>", "<message/>", "</stream:stream>", "<!-- -->"} {
		srv := xmpptest.Start(t, xmpptest.Options{TLS: ca.Good("example.org"), Handler: func(c *xmpptest.Conn) {
			c.Greet("<starttls xmlns='" + ns.TLS + "'/>")
			c.Expect("starttls")
			c.Send(answer)
			_, _ = c.Read()
		}})
		d := newDialer(t, Config{Domains: []string{srv.Setting(ca.File())}})
		if _, err := d.Open(within(t), Opening{Domain: "example.org"}); !errors.Is(err, ErrUnreachable) {
			t.Errorf("%s: %v", answer, err)
		}
	}
}

// BCP 195: nothing below TLS 1.2.
//
// Covers: UP-019.
func TestOldTLSIsRefused(t *testing.T) {
	ca := xmpptest.NewCA(t)
	for version, ok := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		cfg := ca.Good("example.org")
		cfg.MinVersion, cfg.MaxVersion = tls.VersionTLS10, version
		if err := tryTLS(t, ca, "example.org", "", true, cfg); (err == nil) != ok {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
	}
}

// Sessions are resumed, without early data, and under the trust they were made with only.
//
// Covers: UP-015, UP-019, UP-020.
func TestResumedTLSIsVerified(t *testing.T) {
	ca := xmpptest.NewCA(t)
	cfg := ca.Good("example.org")
	srv := xmpptest.Start(t, xmpptest.Options{TLS: cfg, Direct: true})
	setting := srv.Setting(ca.File())
	d := newDialer(t, Config{Domains: []string{setting}})
	first := openWith(t, d, Opening{})
	first.login("juliet") // reads, so that the ticket arrives
	if second := openWith(t, d, Opening{}); !second.TLS().DidResume {
		t.Error("not resumed")
	}
	if err := d.SetDomains([]string{"example.org=xmpps://" + srv.Addr + "?ca=" + xmpptest.NewCA(t).File()}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Open(within(t), Opening{Domain: "example.org"}); opOf(err) != OpTLS {
		t.Error(err)
	}
}

// A stream outlives the server's certificate by nothing; the server and the browser hear a reset.
//
// Covers: UP-021.
func TestStreamEndsWithTheCertificate(t *testing.T) {
	t.Parallel()
	ca := xmpptest.NewCA(t)
	cfg := ca.Config(xmpptest.Cert{DNS: []string{"example.org"}, NotAfter: time.Now().Add(3 * time.Second)})
	ended := make(chan string, 1)
	srv := xmpptest.Start(t, xmpptest.Options{TLS: cfg, Direct: true, Handler: func(c *xmpptest.Conn) {
		if c.Login() != nil {
			return
		}
		ended <- c.Expect("error").Raw
		c.ExpectEnd()
	}})
	c := dialTo(t, srv.Setting(ca.File()), Opening{})
	c.login("juliet")
	if got := streamCondition(t, c.end()); got != "reset" {
		t.Error(got)
	}
	if _, err := c.Recv(); err != io.EOF {
		t.Error(err)
	}
	contains(t, <-ended, "<reset xmlns='"+ns.Streams+"'/>")
	srv.Wait()
}

// A browser with a resumable session of its own resumes on a new connection, so the server hears nothing.
//
// Covers: UP-021.
func TestResumableStreamIsCutWithTheCertificate(t *testing.T) {
	t.Parallel()
	ca := xmpptest.NewCA(t)
	cfg := ca.Config(xmpptest.Cert{DNS: []string{"example.org"}, NotAfter: time.Now().Add(3 * time.Second)})
	done := make(chan struct{})
	srv := xmpptest.Start(t, xmpptest.Options{TLS: cfg, Direct: true, Resumable: true, Handler: func(c *xmpptest.Conn) {
		defer close(done)
		if c.Login() == nil {
			c.Expect("enable")
			c.Send("<enabled xmlns='" + ns.SM + "' id='x' resume='1'/>")
			c.ExpectCut()
		}
	}})
	c := dialTo(t, srv.Setting(ca.File()), Opening{})
	c.login("juliet")
	c.forward("<enable xmlns='" + ns.SM + "' resume='true'/>")
	c.expect("enabled")
	if err := c.end(); !errors.Is(err, net.ErrClosed) || !errors.Is(err, errExpired) {
		t.Error(err)
	}
	<-done
}

// Covers: UP-022.
func TestSecurityIsReported(t *testing.T) {
	ca := xmpptest.NewCA(t)
	m := &counters{}
	cfg := ca.Good("example.org")
	cfg.MaxVersion = tls.VersionTLS12
	srv := xmpptest.Start(t, xmpptest.Options{TLS: cfg})
	clear := xmpptest.Start(t, xmpptest.Options{Domain: "clear.test"})
	d := newDialer(t, Config{Domains: []string{srv.Setting(ca.File()), clear.Setting("")}, Metrics: m})
	openWith(t, d, Opening{})
	if !strings.HasPrefix(m.security, "TLS 1.2 TLS_ECDHE_") || !strings.HasSuffix(m.security, " ca") {
		t.Error(m.security)
	}
	c := openWith(t, d, Opening{Domain: "clear.test"})
	if m.security != "none none none" || m.connected != 2 {
		t.Error(m)
	}
	_ = c.Cut()
	if m.ended != 1 {
		t.Error(m.ended)
	}
}
