package upstream

import (
	"testing"
	"time"

	"stanzagate/internal/xmpptest"
)

// await awaits a silent stream. What it returns is closed when the stream is the test's again.
func (c *conn) await() <-chan struct{} {
	c.t.Helper()
	rung := make(chan struct{})
	if !c.Await(func() { close(rung) }) {
		c.t.Fatal("cannot wait")
	}
	return rung
}

// silence is what has to come before await.
func (c *conn) silence() {
	c.t.Helper()
	if c.Wait(time.Millisecond) {
		c.t.Fatal("something was said")
	}
}

func (c *conn) rung(alarm <-chan struct{}, why string) {
	c.t.Helper()
	select {
	case <-alarm:
	case <-time.After(xmpptest.Patience):
		c.t.Fatalf("not woken by %s", why)
	}
}

// Whatever Recv would return for wakes who awaits the stream, be it before or after Await.
func TestAwaitIsEnded(t *testing.T) {
	t.Parallel()
	ca := xmpptest.NewCA(t)
	for _, secure := range []bool{false, true} {
		for why, happen := range map[string]func(*conn, *xmpptest.Conn){
			"data":    func(_ *conn, server *xmpptest.Conn) { server.Send("<message/>") },
			"the end": func(_ *conn, server *xmpptest.Conn) { server.Reset() },
			"Cut":     func(c *conn, _ *xmpptest.Conn) { _ = c.Cut() },
			"Close":   func(c *conn, server *xmpptest.Conn) { go func() { _ = c.Close(within(c.t)) }() },
			"a failed write": func(c *conn, _ *xmpptest.Conn) {
				c.writing <- struct{}{}
				_ = c.current().write(space, -time.Second)
				<-c.writing
			},
		} {
			o := xmpptest.Options{}
			if secure {
				o.TLS = ca.Good("example.org")
			}
			c, server := loggedIn(t, o, ca.File())
			c.silence()
			alarm := c.await()
			happen(c, server)
			c.rung(alarm, why)
			_ = c.Cut()
		}
	}
}

// Who asks for an answer sets a deadline: it holds for a stream that is awaited, as for one that is about to be.
//
// Covers: UP-048.
func TestAwaitIsEndedByARequest(t *testing.T) {
	t.Parallel()
	srv := xmpptest.Start(t, modern())
	c := resumable(t, managedDialer(t, Config{}, srv.Setting("")), newSession())
	c.silence()
	alarm := c.await()
	if err := c.KeepAlive(); err != nil {
		t.Fatal(err)
	}
	c.rung(alarm, "an <r/>")
	c.until(KindAcked)
	c.silence()
	c.asks()
	c.rung(c.await(), "an <r/> of a moment ago")
}

// The end of the server's certificate is noticed while nobody reads.
//
// Covers: UP-021.
func TestAwaitIsEndedByTheCertificate(t *testing.T) {
	t.Parallel()
	ca := xmpptest.NewCA(t)
	cfg := ca.Config(xmpptest.Cert{DNS: []string{"example.org"}, NotAfter: time.Now().Add(3 * time.Second)})
	c, _ := loggedIn(t, xmpptest.Options{TLS: cfg, Direct: true}, ca.File())
	c.silence()
	c.rung(c.await(), "the certificate")
	if got := streamCondition(t, c.end()); got != "reset" {
		t.Error(got)
	}
}

// A login attempt may find another connection while the first one is awaited.
func TestAwaitIsEndedByAnotherConnection(t *testing.T) {
	t.Parallel()
	srv := xmpptest.Start(t, modern())
	d := managedDialer(t, Config{}, srv.Setting(""))
	for _, before := range []bool{false, true} {
		c := openWith(t, d, Opening{Managed: true, Owner: newSession().Owner})
		c.expect("features")
		c.silence()
		var alarm <-chan struct{}
		if before {
			alarm = c.await()
		}
		fresh, _, err := d.establish(within(t), c.dom, c.client, way{})
		if err != nil {
			t.Fatal(err)
		}
		c.writing <- struct{}{}
		err = c.replace(fresh)
		<-c.writing
		if err != nil {
			t.Fatal(err)
		}
		if before {
			c.rung(alarm, "another connection")
			c.silence()
		}
		alarm = c.await()
		c.forward(plainAuth("juliet", "secret"))
		c.rung(alarm, "what came on the other connection")
		c.expect("success")
		_ = c.Cut()
	}
}

// An owner that was woken by its own <r/> may have no use for more at first. The time in which it did not read says nothing
// of the server.
//
// Covers: UP-048.
func TestAnswerThatNobodyReadAfterAwait(t *testing.T) {
	t.Parallel()
	srv := xmpptest.Start(t, modern())
	x := newSession()
	c := resumable(t, managedDialer(t, Config{}, srv.Setting("")), x)
	c.silence()
	alarm := c.await()
	if err := c.KeepAlive(); err != nil {
		t.Fatal(err)
	}
	c.rung(alarm, "an <r/>")
	<-time.After(ackTimeout + 100*time.Millisecond) // what is tested is that the time says nothing
	if !c.Wait(time.Hour) {
		t.Error("nothing was said")
	}
	if ev := c.next(); ev.Kind != KindAcked {
		t.Errorf("%+v", ev)
	}
	if x.resumptions() != 0 {
		t.Error("resumed")
	}
	// One that reads at once finds out a server that does not answer.
	srv.SetFaults(xmpptest.Faults{NoAcks: true})
	c.silence()
	alarm = c.await()
	if err := c.KeepAlive(); err != nil {
		t.Fatal(err)
	}
	c.rung(alarm, "an <r/>")
	begin := time.Now()
	if ev := c.next(); ev.Kind != KindResumed || time.Since(begin) > 2*ackTimeout-time.Second {
		t.Errorf("%+v after %v", ev, time.Since(begin))
	}
}
