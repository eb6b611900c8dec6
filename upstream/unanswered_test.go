package upstream

import (
	"context"
	"errors"
	"testing"
	"time"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmpptest"
)

// Servers that do not answer <r/> in time.

// A server that does not answer <r/> in time is taken for dead; if it does not after the
// resumption either, the session is: its parser may be stuck in what the old connection left behind.
//
// Covers: UP-048, UP-112.
func TestServerStopsAnswering(t *testing.T) {
	t.Parallel()
	srv := xmpptest.Start(t, modern())
	x := newSession()
	c := resumable(t, managedDialer(t, Config{}, srv.Setting("")), x)
	if err := c.KeepAlive(); err != nil { // an <r/> on such a stream
		t.Fatal(err)
	}
	c.until(KindAcked)
	srv.SetFaults(xmpptest.Faults{NoAcks: true})
	begin := time.Now()
	if err := c.KeepAlive(); err != nil {
		t.Fatal(err)
	}
	if ev := c.next(); ev.Kind != KindResumed {
		t.Fatalf("%+v", ev)
	}
	if took := time.Since(begin); took < ackTimeout-time.Second || took > 2*ackTimeout {
		t.Errorf("noticed after %v", took)
	}
	err := c.end()
	var lost *LostError
	if !errors.As(err, &lost) || lost.Stage != "probe" {
		t.Error(err)
	}
}

// A server that was slow to resume a session is not taken for one that does not hear it.
//
// Covers: UP-048.
func TestSlowServerGetsTimeForTheProbe(t *testing.T) {
	t.Parallel()
	srv := xmpptest.Start(t, modern())
	x := newSession()
	ask := x.Owner.Resuming
	x.Owner.Resuming = func(ctx context.Context) (uint32, error) {
		<-time.After(time.Second) // stands for a second of the server's
		return ask(ctx)
	}
	c := resumable(t, managedDialer(t, Config{}, srv.Setting("")), x)
	srv.SetFaults(xmpptest.Faults{NoAcks: true})
	srv.Session(juliet).Cut()
	if ev := c.next(); ev.Kind != KindResumed {
		t.Fatalf("%+v", ev)
	}
	begin := time.Now()
	err := c.end()
	var lost *LostError
	if !errors.As(err, &lost) || lost.Stage != "probe" {
		t.Error(err)
	}
	if took := time.Since(begin); took < ackTimeout+2*time.Second {
		t.Errorf("given up after %v", took)
	}
}

// Where the session cannot be resumed the server is told.
//
// Covers: UP-048.
func TestServerStopsAnsweringWithoutResumption(t *testing.T) {
	t.Parallel()
	o := modern()
	o.SASL2 = nil
	srv := xmpptest.Start(t, o)
	srv.SetFaults(xmpptest.Faults{NoAcks: true})
	c := openWith(t, managedDialer(t, Config{}, srv.Setting("")), Opening{Managed: true, Owner: newSession().Owner})
	c.enter("juliet")
	peer := srv.Session(juliet)
	if err := c.Send(c.AppendAckRequest(nil)); err != nil {
		t.Fatal(err)
	}
	if err := c.end(); conditionOf(err) != "connection-timeout" {
		t.Error(err)
	}
	contains(t, peer.Await(closingTag), "<connection-timeout xmlns='"+ns.Streams+"'/>")
}

// The deadline of one <r/> serves the next ones, and ends nothing when it was answered.
func TestDeadlineOfAnsweredRequests(t *testing.T) {
	t.Parallel()
	srv := xmpptest.Start(t, modern())
	x := newSession()
	c := resumable(t, managedDialer(t, Config{}, srv.Setting("")), x)
	for range 2 {
		if err := c.KeepAlive(); err != nil {
			t.Fatal(err)
		}
		c.until(KindAcked)
		<-time.After(ackTimeout / 2)
	}
	wait := c.background()
	<-time.After(ackTimeout) // all deadlines are over
	if x.resumptions() != 0 {
		t.Error("resumed")
	}
	if err := c.KeepAlive(); err != nil {
		t.Error(err)
	}
	_ = c.Cut()
	_ = wait()
}
