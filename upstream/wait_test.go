package upstream

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"stanzagate/internal/xmpptest"
)

// serving logs in and then hands the connection to the test.
func serving(conns chan<- *xmpptest.Conn) func(*xmpptest.Conn) {
	return func(c *xmpptest.Conn) {
		if c.Login() != nil {
			return
		}
		conns <- c
		c.Serve()
	}
}

// loggedIn returns both ends of a bound stream to a server with those options.
func loggedIn(t *testing.T, o xmpptest.Options, caFile string) (*conn, *xmpptest.Conn) {
	t.Helper()
	conns := make(chan *xmpptest.Conn, 1)
	o.Handler = serving(conns)
	c := dialTo(t, xmpptest.Start(t, o).Setting(caFile), Opening{})
	c.login("juliet")
	return c, <-conns
}

// parkUntil parks the stream until the server sends piece.
func (c *conn) parkUntil(server *xmpptest.Conn, piece string) {
	parked := make(chan struct{})
	go func() { defer close(parked); c.Park() }()
	server.Send(piece)
	<-parked
}

// A silent stream may be left to a goroutine that does nothing but wait. What comes then, in whatever pieces, and what goes
// wrong, is Recv's as ever.
func TestWaitAndPark(t *testing.T) {
	c, server := loggedIn(t, xmpptest.Options{}, "")
	for _, piece := range []string{"<message id='1'/>", " \n", "<message id='2'/><message id='3'"} {
		if c.Wait(time.Millisecond) {
			t.Fatal("nobody said anything")
		}
		c.parkUntil(server, piece)
		if piece[0] == ' ' {
			continue
		}
		if !c.Wait(time.Hour) {
			t.Fatal("something was said")
		}
		c.expect("message")
	}
	server.Send("/>")
	if !c.Wait(time.Millisecond) {
		t.Fatal("told to park within an element")
	}
	c.expect("message")
	server.Send("<message id='4'/>")
	if !c.Wait(time.Hour) {
		t.Fatal("something was said")
	}
	c.expect("message")
	if c.Wait(time.Millisecond) {
		t.Fatal("nobody said anything")
	}
	go server.Reset()
	c.Park()
	if !c.Wait(time.Hour) {
		t.Error("a lost connection is not a silent one")
	}
	if _, err := c.Recv(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Recv: %v", err)
	}
}

// The limit of Wait does not end a Recv that waits for the rest of an element.
func TestWaitLimitsNothingElse(t *testing.T) {
	c, server := loggedIn(t, xmpptest.Options{}, "")
	server.Send("<message id='1'>")
	if !c.Wait(20 * time.Millisecond) {
		t.Fatal("something was said")
	}
	late := time.AfterFunc(100*time.Millisecond, func() { server.Send("</message>") })
	defer late.Stop()
	c.expect("message")
}

// A stream with TLS can rest as well.
func TestParkUnderTLS(t *testing.T) {
	ca := xmpptest.NewCA(t)
	c, server := loggedIn(t, xmpptest.Options{TLS: ca.Good("example.org")}, ca.File())
	for range 2 {
		if c.Wait(time.Millisecond) {
			t.Fatal("something was said")
		}
		c.parkUntil(server, "<message/>")
		if !c.Wait(time.Minute) {
			t.Fatal("nothing was said")
		}
		c.expect("message")
	}
}

// Covers: UP-041.
// The server's end of the stream is answered although somebody is about to return from a write.
func TestCloseIsAnsweredBesideASend(t *testing.T) {
	conns := make(chan *xmpptest.Conn, 1)
	done := make(chan string, 1)
	srv := xmpptest.Start(t, xmpptest.Options{Handler: func(c *xmpptest.Conn) {
		if c.Login() != nil {
			return
		}
		conns <- c
		c.CloseStream()
		c.ExpectEnd()
		done <- c.Received()
	}})
	c := dialTo(t, srv.Setting(""), Opening{})
	c.login("juliet")
	<-conns
	c.writing <- struct{}{}
	late := time.AfterFunc(20*time.Millisecond, func() { <-c.writing })
	defer late.Stop()
	if _, err := c.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("Recv: %v", err)
	}
	<-done
}

// Managed streams rest too, and not while the answer to an <r/> is awaited: that it stays away is noticed in time.
func TestWaitManaged(t *testing.T) {
	conns := make(chan *xmpptest.Conn, 1)
	srv := xmpptest.Start(t, func() xmpptest.Options {
		o := modern()
		o.Handler = serving(conns)
		return o
	}())
	d := managedDialer(t, Config{}, srv.Setting(""))
	knows(d, htNone)
	s, err := d.Open(within(t), Opening{Domain: "example.org", Managed: true, Owner: newSession().Owner})
	if err != nil {
		t.Fatal(err)
	}
	c := &conn{t, s}
	c.login("juliet")
	<-conns
	if c.Wait(time.Millisecond) {
		t.Fatal("something was said")
	}
	s.mu.Lock()
	s.askedLocked()
	s.mu.Unlock()
	began := time.Now()
	parked := make(chan struct{})
	go func() { defer close(parked); c.Park() }()
	<-parked
	if took := time.Since(began); took < ackTimeout-time.Second || !c.Wait(time.Minute) {
		t.Errorf("parked for %v; the answer is overdue after %v", took, ackTimeout)
	}
	_ = s.Cut()
}
