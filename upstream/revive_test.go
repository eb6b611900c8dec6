package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmpptest"
)

// The connection breaks while the replica lives: the session goes on over
// another, nothing is written until the owner says so, and what the server had is sent again.
//
// Covers: UP-046, UP-063, UP-066, UP-067, UP-073.
func TestBrokenConnectionIsReplaced(t *testing.T) {
	for name, breaks := range map[string]func(*xmpptest.Conn){"FIN": (*xmpptest.Conn).Cut, "RST": (*xmpptest.Conn).Reset} {
		t.Run(name, func(t *testing.T) {
			srv := xmpptest.Start(t, modern())
			x := newSession()
			c := resumable(t, managedDialer(t, Config{}, srv.Setting("")), x)
			srv.Deliver(juliet, "<message id='1'></message>")
			srv.Deliver(juliet, "<message id='2'></message>")
			c.counted()
			c.counted()
			c.forward(chatTo("romeo"))
			c.counted() // the bounce: the server has handled it
			if err := c.Ack(1); err != nil {
				t.Fatal(err)
			}
			x.has(1)
			breaks(srv.Session(juliet))
			srv.Deliver(juliet, "<message id='3'></message>")
			ev := c.next()
			if ev.Kind != KindResumed || ev.H != 1 || ev.Told != 1 || x.resumptions() != 1 {
				t.Fatalf("%+v, asked %d times", ev, x.resumptions())
			}
			if err := c.Send([]byte("<message/>")); !errors.Is(err, ErrInterrupted) {
				t.Errorf("Send before Proceed: %v", err)
			}
			if err := c.KeepAlive(); err != nil {
				t.Error(err)
			}
			for _, id := range []string{"2", "", "3"} { // the second one is the bounce
				if raw := c.counted(); !strings.Contains(raw, "id='"+id+"'") {
					t.Errorf("want %q: %s", id, raw)
				}
			}
			if err := c.Ack(4); err != nil {
				t.Error(err)
			}
			c.Proceed(ev.Break)
			if err := c.Send(c.AppendAckRequest(c.admit(chatTo("romeo")).Bytes)); err != nil {
				t.Fatal(err)
			}
			for c.until(KindAcked).H != 2 {
				continue
			}
			lacks(t, srv.Session(juliet).Received(), "<message/>")
			c.leave()
			srv.Wait()
			if srv.Managed(juliet) {
				t.Error("the session was not ended")
			}
		})
	}
}

// The connection that took the place of a broken one breaks before its owner has got round to Proceed: what that lets
// through was meant for it, and must not be written to the third one.
func TestBrokenTwice(t *testing.T) {
	srv := xmpptest.Start(t, modern())
	c := resumable(t, managedDialer(t, Config{}, srv.Setting("")), newSession())
	srv.Session(juliet).Cut()
	first := c.until(KindResumed)
	srv.Session(juliet).Cut()
	second := c.until(KindResumed) // an <a/> may come before
	c.Proceed(first.Break)
	if err := c.Send([]byte("<message/>")); !errors.Is(err, ErrInterrupted) {
		t.Errorf("after the first Proceed: %v", err)
	}
	c.Proceed(second.Break)
	if err := c.Send([]byte("<message/>")); err != nil {
		t.Errorf("after the second: %v", err)
	}
}

// Resumption across 2³².
//
// Covers: UP-059, UP-067.
func TestResumptionWraps(t *testing.T) {
	srv := xmpptest.Start(t, modern())
	x := newSession()
	c := resumable(t, managedDialer(t, Config{}, srv.Setting("")), x)
	const start = 1<<32 - 1
	srv.SetCounters(juliet, start, start)
	c.m.sm.sent, c.m.sm.acked, c.m.sm.told = start, start, start
	if err := c.Send(c.AppendAckRequest(c.admit("<presence xmlns='jabber:client' to='nobody@example.org'/>").Bytes)); err != nil {
		t.Fatal(err)
	}
	if ev := c.next(); ev.Kind != KindAcked || ev.H != 0 {
		t.Fatalf("%+v", ev)
	}
	srv.Deliver(juliet, "<message id='1'></message>")
	c.counted()
	srv.Deliver(juliet, "<message id='2'></message>")
	c.counted()
	x.has(0) // the first of the two
	srv.Session(juliet).Cut()
	if ev := c.next(); ev.Kind != KindResumed || ev.H != 0 || ev.Told != 0 {
		t.Fatalf("%+v", ev)
	}
	if raw := c.counted(); !strings.Contains(raw, "id='2'") {
		t.Error(raw)
	}
}

// A write that fails says so, and the reader resumes.
func TestBrokenWrite(t *testing.T) {
	srv := xmpptest.Start(t, modern())
	c := resumable(t, managedDialer(t, Config{}, srv.Setting("")), newSession())
	c.link.cut() // as a write that timed out does
	err := c.Send([]byte("<message/>"))
	if !errors.Is(err, ErrInterrupted) {
		t.Fatal(err)
	}
	if ev := c.next(); ev.Kind != KindResumed {
		t.Fatalf("%+v", ev)
	}
}

// A server that is away for a while is tried again at growing intervals.
//
// Covers: UP-008, UP-070.
func TestServerComesBack(t *testing.T) {
	srv := xmpptest.Start(t, modern())
	var tries atomic.Int32
	dial := func(ctx context.Context, _, address string) (net.Conn, error) {
		if n := tries.Add(1); n > 2 && n < 6 {
			return nil, errors.New("refused")
		}
		var nd net.Dialer
		return nd.DialContext(ctx, "tcp", address)
	}
	m := &outcomes{}
	d := managedDialer(t, Config{Dial: dial, Metrics: m}, srv.Setting(""))
	c := resumable(t, d, newSession()) // two connections
	begin := time.Now()
	srv.Session(juliet).Cut()
	if ev := c.next(); ev.Kind != KindResumed {
		t.Fatalf("%+v", ev)
	}
	if took := time.Since(begin); took < 3*firstPause/2 {
		t.Errorf("three failures took %v", took)
	}
	if m.all() != "fast unreachable unreachable unreachable resumed" {
		t.Error(m.all())
	}
}

// outcomes is a Metrics with its extension for fail-over.
type outcomes struct {
	counters
	log atomic.Value
}

func (m *outcomes) Classified(c Class)                { m.log.Store(string(c)) }
func (m *outcomes) Resumption(_ float64, what string) { m.log.Store(m.all() + " " + what) }
func (m *outcomes) all() string                       { s, _ := m.log.Load().(string); return s }

// After the time that the server keeps a session there is nothing left to try.
//
// Covers: UP-070.
func TestServerStaysAway(t *testing.T) {
	srv := xmpptest.Start(t, modern())
	x := newSession()
	x.Max = time.Second
	c := resumable(t, managedDialer(t, Config{}, srv.Setting("")), x)
	srv.Stop()
	if err := c.end(); !errors.Is(err, ErrUnreachable) {
		t.Error(err)
	}
	if _, err := c.Recv(); !errors.Is(err, ErrUnreachable) {
		t.Error(err)
	}
}

// Closing and cutting end the search for the server.
func TestEndWhileTheServerIsAway(t *testing.T) {
	for name, end := range map[string]func(*conn) error{
		"Cut": func(c *conn) error { return c.Cut() },
		"Close": func(c *conn) error {
			ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Millisecond)
			defer cancel()
			if err := c.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
				return errors.New("did not wait for a connection to say goodbye on")
			}
			return nil
		},
	} {
		srv := xmpptest.Start(t, modern())
		c := resumable(t, managedDialer(t, Config{}, srv.Setting("")), newSession())
		wait := c.background()
		srv.Stop()
		for !c.interrupted() {
			if err := c.KeepAlive(); err != nil && !errors.Is(err, ErrInterrupted) {
				t.Fatal(err)
			}
		}
		if err := end(c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := wait(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A session that is closed while its connection is gone is ended over another, so that the server keeps nothing.
//
// Covers: UP-131.
func TestCloseWhileTheConnectionIsGone(t *testing.T) {
	for name, noticed := range map[string]bool{"noticed": true, "not noticed": false} {
		srv := xmpptest.Start(t, modern())
		x := newSession()
		held, release := make(chan struct{}), make(chan struct{})
		x.Owner.Resuming = func(context.Context) (uint32, error) {
			close(held)
			<-release
			return 0, nil
		}
		c := resumable(t, managedDialer(t, Config{}, srv.Setting("")), x)
		wait := func() error { return c.end() }
		if noticed {
			wait = c.background()
			srv.Session(juliet).Cut()
			<-held
		} else {
			c.link.cut()
		}
		closed := make(chan error, 1)
		go func() { closed <- c.Close(within(t)) }()
		for !c.isLeaving() {
			runtime.Gosched()
		}
		close(release)
		if err := wait(); err == nil || err == io.EOF {
			t.Errorf("%s: %v", name, err)
		}
		if err := <-closed; err != nil {
			t.Errorf("%s: %v", name, err)
		}
		srv.Wait()
		if srv.Managed(juliet) {
			t.Errorf("%s: the server keeps the session", name)
		}
	}
}

func (c *conn) isLeaving() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.m.leaving
}

// What a stream error means is for the owner to say: not any more, or a race that was won.
//
// Covers: UP-046, UP-047, UP-073.
func TestConflict(t *testing.T) {
	notMine := errors.New("another replica owns it")
	for _, c := range []struct {
		name      string
		condition string
		refuse    error // the owner's word
		gone      bool  // the server's
		resumed   bool
		asked     int
	}{
		{"race won", "conflict", nil, false, true, 1},
		{"race lost", "conflict", notMine, false, false, 1},
		{"resource taken by another client", "conflict", nil, true, false, 1},
		{"server restarts", "system-shutdown", nil, false, true, 1},
		{"server restarted", "system-shutdown", nil, true, false, 1},
		{"reset", "reset", nil, false, true, 1},
		{"connection timed out", "connection-timeout", nil, false, true, 1},
		{"policy", "policy-violation", nil, false, false, 0},
		{"account removed", "not-authorized", nil, false, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := xmpptest.Start(t, modern())
			x := newSession()
			x.refuse = c.refuse
			s := resumable(t, managedDialer(t, Config{}, srv.Setting("")), x)
			peer := srv.Session(juliet)
			if c.gone {
				srv.Forget(juliet)
			}
			peer.StreamError(c.condition)
			ev, err := s.Recv()
			if c.resumed {
				if err != nil || ev.Kind != KindResumed {
					t.Fatalf("%+v %v", ev, err)
				}
			} else if got := streamCondition(t, err); got != c.condition {
				t.Error(got)
			}
			if x.resumptions() != c.asked {
				t.Errorf("asked the owner %d times", x.resumptions())
			}
		})
	}
}

// A clean close is the end.
//
// Covers: UP-047.
func TestCleanCloseIsNotResumed(t *testing.T) {
	srv := xmpptest.Start(t, modern())
	x := newSession()
	c := resumable(t, managedDialer(t, Config{}, srv.Setting("")), x)
	srv.Session(juliet).CloseStream()
	c.closed()
	if _, err := c.Recv(); err != io.EOF || x.resumptions() != 0 {
		t.Error(err, x.resumptions())
	}
}

// What cannot be resumed ends, and says how.
//
// Covers: UP-069, UP-093.
func TestRevivalFails(t *testing.T) {
	for name, f := range map[string]xmpptest.Faults{
		"session gone": {RefuseResume: "<item-not-found xmlns='" + ns.Stanzas + "'/>"}, "token refused": {RefuseToken: "not-authorized"},
	} {
		srv := xmpptest.Start(t, modern())
		c := resumable(t, managedDialer(t, Config{}, srv.Setting("")), newSession())
		srv.SetFaults(f)
		srv.Session(juliet).Cut()
		if err := c.end(); !errors.Is(err, ErrSessionLost) {
			t.Errorf("%s: %v", name, err)
		}
		if err := c.Send([]byte("<message/>")); err == nil {
			t.Errorf("%s: sent", name)
		}
	}
}

// A managed stream outlives the server's certificate on a new connection.
//
// Covers: UP-021.
func TestRevivalWithAnotherCertificate(t *testing.T) {
	t.Parallel()
	ca := xmpptest.NewCA(t)
	o := modern()
	o.TLS, o.Direct = ca.Config(xmpptest.Cert{DNS: []string{"example.org"}, NotAfter: time.Now().Add(3 * time.Second)}), true
	srv := xmpptest.Start(t, o)
	d := managedDialer(t, Config{}, srv.Setting(ca.File()))
	c := resumable(t, d, newSession())
	srv.SetCertificate(ca.Good("example.org"))
	if ev := c.next(); ev.Kind != KindResumed {
		t.Fatalf("%+v", ev)
	}
}

// While the owner does not read, because the browser does not, the server may have answered long ago: that is no reason to
// give the connection up, neither the first nor the one after a resumption.
//
// Covers: UP-048.
func TestAnswersThatNobodyReadInTime(t *testing.T) {
	t.Parallel()
	for _, resume := range []bool{true, false} {
		t.Run(fmt.Sprint(resume), func(t *testing.T) {
			t.Parallel()
			o := modern()
			if !resume {
				o.SASL2 = nil
			}
			srv := xmpptest.Start(t, o)
			x := newSession()
			c := openWith(t, managedDialer(t, Config{}, srv.Setting("")), Opening{Managed: true, Owner: x.Owner})
			c.enter("juliet")
			c.expect("iq")
			if err := c.Send(c.AppendAckRequest(nil)); err != nil {
				t.Fatal(err)
			}
			<-time.After(ackTimeout + 100*time.Millisecond) // what is tested is that the time says nothing
			if ev := c.next(); ev.Kind != KindAcked {
				t.Fatalf("%+v", ev)
			}
			// From now on it is read, and a server that does not answer is found out.
			srv.SetFaults(xmpptest.Faults{NoAcks: true})
			if err := c.Send(c.AppendAckRequest(nil)); err != nil {
				t.Fatal(err)
			}
			<-time.After(ackTimeout + 100*time.Millisecond)
			begin := time.Now()
			ev, err := c.Recv()
			if took := time.Since(begin); took < ackTimeout/2 || took > 2*ackTimeout {
				t.Errorf("%v after %v", ev.Kind, took)
			}
			if resume && ev.Kind != KindResumed || !resume && conditionOf(err) != "connection-timeout" {
				t.Errorf("%v %v", ev.Kind, err)
			}
		})
	}
}
