package upstream

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmlframe"
	"stanzagate/internal/xmpptest"
)

// within bounds a wait of a test.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), xmpptest.Patience)
	t.Cleanup(cancel)
	return ctx
}

func newDialer(t testing.TB, cfg Config) *Dialer {
	t.Helper()
	d, err := NewDialer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// conn is a Stream whose Recv belongs to the test.
type conn struct {
	t testing.TB
	*Stream
}

// dialTo opens a stream to a scripted server.
func dialTo(t testing.TB, setting string, o Opening) *conn {
	t.Helper()
	return openWith(t, newDialer(t, Config{Domains: []string{setting}}), o)
}

func openWith(t testing.TB, d *Dialer, o Opening) *conn {
	t.Helper()
	if o.Domain == "" {
		o.Domain = "example.org"
	}
	s, err := d.Open(within(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Cut() })
	return &conn{t, s}
}

// next returns the next event of a live stream.
func (c *conn) next() Event {
	c.t.Helper()
	ev, err := c.Recv()
	if err != nil {
		c.t.Fatalf("Recv: %v", err)
	}
	return ev
}

// raw returns the next element as it was received.
func (c *conn) raw() string {
	c.t.Helper()
	ev := c.next()
	if ev.Kind != KindElement {
		c.t.Fatalf("event of kind %d", ev.Kind)
	}
	return string(ev.Element.Raw)
}

// expect returns the next element, which must have that local name.
func (c *conn) expect(local string) xmlframe.Element {
	c.t.Helper()
	ev := c.next()
	if ev.Kind != KindElement || string(ev.Element.Local) != local {
		c.t.Fatalf("want <%s/>, got kind %d, %s", local, ev.Kind, ev.Element.Raw)
	}
	return ev.Element
}

func parse(t testing.TB, raw string) xmlframe.Element {
	t.Helper()
	el, err := xmlframe.Parse([]byte(raw), xmlframe.Limits{})
	if err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	return el
}

// admit asks what becomes of an element from the browser.
func (c *conn) admit(raw string) Admission {
	c.t.Helper()
	a, err := c.Admit(nil, parse(c.t, raw))
	if err != nil {
		c.t.Fatal(err)
	}
	return a
}

// forward admits and sends.
func (c *conn) forward(raw string) {
	c.t.Helper()
	a := c.admit(raw)
	if a.Action != Forward {
		c.t.Fatalf("%s: action %d %s", raw, a.Action, a.Condition)
	}
	if err := c.Send(a.Bytes); err != nil {
		c.t.Fatal(err)
	}
}

func plainAuth(user, password string) string {
	return "<auth xmlns='" + ns.SASL + "' mechanism='PLAIN'>" +
		base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password)) + "</auth>"
}

const bindRequest = "<iq xmlns='jabber:client' type='set' id='b1'><bind xmlns='" + ns.Bind + "'><resource>r</resource></bind></iq>"

// login goes through PLAIN, restart and bind.
func (c *conn) login(user string) {
	c.t.Helper()
	c.expect("features")
	c.signIn(plainAuth(user, "secret"))
	c.forward(bindRequest)
	if c.m != nil {
		if ev := c.next(); ev.Kind != KindEnabled {
			c.t.Fatalf("want KindEnabled, got kind %d", ev.Kind)
		}
	}
	c.expect("iq")
}

// end returns the error with which Recv ends, skipping elements.
func (c *conn) end() error {
	c.t.Helper()
	for range 1000 {
		if _, err := c.Recv(); err != nil {
			return err
		}
	}
	c.t.Fatal("stream does not end")
	return nil
}

// closed expects the server to have closed the stream properly.
func (c *conn) closed() {
	c.t.Helper()
	if err := c.end(); err != io.EOF {
		c.t.Fatalf("want io.EOF, got %v", err)
	}
}

// background runs Recv until it ends; the returned function waits for that and gives the error.
func (c *conn) background() func() error {
	c.t.Helper()
	done := make(chan error, 1)
	go func() {
		for {
			if _, err := c.Recv(); err != nil {
				done <- err
				return
			}
		}
	}()
	return func() error {
		c.t.Helper()
		select {
		case err := <-done:
			return err
		case <-time.After(xmpptest.Patience):
			c.t.Fatal("Recv does not end")
			return nil
		}
	}
}

func streamCondition(t testing.TB, err error) string {
	t.Helper()
	var se *StreamError
	if !errors.As(err, &se) {
		t.Fatalf("want a stream error, got %v", err)
	}
	return se.Condition
}

func contains(t testing.TB, s string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(s, p) {
			t.Errorf("%q lacks %q", s, p)
		}
	}
}

func lacks(t testing.TB, s string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if strings.Contains(s, p) {
			t.Errorf("%q contains %q", s, p)
		}
	}
}
