//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"
)

// ownGateway starts a gateway that only this test uses.
func ownGateway(t *testing.T, flags ...string) endpoint {
	t.Helper()
	ep, p, err := startGateway(flags...)
	if err != nil {
		t.Fatal(err)
	}
	showLogs(t, p)
	t.Cleanup(p.stop)
	return ep
}

// expectRefusal opens a session that must end at once with the condition, over either transport.
func expectRefusal(t *testing.T, kind string, ep endpoint, domain, condition string) {
	t.Helper()
	c := newClient(t, kind, ep, domain)
	err := c.tr.open(c.ctx(), domain)
	var end *errTerminated
	if kind == "bosh" {
		if err == nil {
			err = c.in.ended(c.ctx())
		}
		if !errors.As(err, &end) || end.condition != condition {
			t.Errorf("session ended with %v, want %s", err, condition)
		}
		return
	}
	// RFC 7395 §3.4, §3.5: an open, the error, a close.
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	e := c.awaitName(nsStreams, "error")
	if !e.kid(condition).is(nsStrErr, condition) {
		t.Errorf("stream error %v, want %s", e, condition)
	}
	if err := c.in.ended(c.ctx()); !errors.As(err, &end) {
		t.Errorf("session ended with %v, want a close", err)
	}
}

// countingListener counts who connects and answers nobody.
func countingListener(t *testing.T) (addr string, connected func() int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done, count := make(chan struct{}), make(chan int, 1)
	count <- 0
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			count <- <-count + 1
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String(), func() int {
		n := <-count
		count <- n
		return n
	}
}

// TestUnknownDomain: a domain that is not configured is refused at once and never dialled, however it is written.
//
// Covers: BOSH-034, BOSH-038, WS-024, UP-010.
func TestUnknownDomain(t *testing.T) {
	addr, connected := countingListener(t)
	ep := ownGateway(t, "--domain", "known.test=xmpp://"+addr+"?tls=none")
	host, _, _ := net.SplitHostPort(addr)
	for _, domain := range []string{"stranger.test", "known.test.stranger.test", host, "localhost", "xn--nothing"} {
		for _, kind := range transports {
			t.Run(domain+"/"+kind, func(t *testing.T) {
				begin := time.Now()
				expectRefusal(t, kind, ep, domain, "host-unknown")
				if took := time.Since(begin); took > 5*time.Second {
					t.Errorf("took %v", took)
				}
			})
		}
	}
	if n := connected(); n != 0 {
		t.Errorf("%d connections to the configured server", n)
	}
}

// TestUnreachableServer: a server that refuses, and one that accepts and stays silent, cost a bounded time.
//
// Covers: UP-009, BOSH-068, WS-031.
func TestUnreachableServer(t *testing.T) {
	silent, _ := countingListener(t)
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	ep := ownGateway(t, "--limit.connect-timeout", "2s",
		"--domain", fmt.Sprintf("refusing.test=xmpp://127.0.0.1:%d?tls=none", port),
		"--domain", "silent.test=xmpp://"+silent+"?tls=none")
	for _, domain := range []string{"refusing.test", "silent.test"} {
		for _, kind := range transports {
			t.Run(domain+"/"+kind, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				expectRefusal(t, kind, ep, domain, "remote-connection-failed")
				if ctx.Err() != nil {
					t.Error("took longer than the connect timeout explains")
				}
			})
		}
	}
}

// TestBadInput: what is not XML that XMPP allows is refused, reaches nobody, and harms no other session.
//
// Covers: BOSH-022, WS-019, UP-032, UP-033.
func TestBadInput(t *testing.T) {
	s := getServer(t, "prosody")
	ep := getEndpoint(t, s)
	bad := map[string]string{
		"comment":           `<message xmlns="jabber:client" to="%s"><!-- c --><body>x</body></message>`,
		"instruction":       `<message xmlns="jabber:client" to="%s"><?php x?><body>x</body></message>`,
		"entity":            `<message xmlns="jabber:client" to="%s"><body>&nbsp;</body></message>`,
		"undeclared prefix": `<message xmlns="jabber:client" to="%s"><n:x/><body>x</body></message>`,
		"control character": `<message xmlns="jabber:client" to="%s"><body>&#0;</body></message>`,
		"half an element":   `<message xmlns="jabber:client" to="%s"><body>x</message>`,
		"too deep":          `<message xmlns="jabber:client" to="%s">` + repeated("<a>", 20000) + repeated("</a>", 20000) + `</message>`,
	}
	for _, kind := range transports {
		witness := newClient(t, kind, ep, s.domain)
		witness.login("PLAIN", s.account(t), password, "witness")
		witness.send(`<presence xmlns="jabber:client"/>`)
		for name, xml := range bad {
			t.Run(kind+"/"+name, func(t *testing.T) {
				c := newClient(t, kind, ep, s.domain)
				c.login("PLAIN", s.account(t), password, "bad")
				_ = c.tr.send(c.ctx(), fmt.Sprintf(xml, witness.jid))
				if err := c.in.ended(c.ctx()); err == nil || errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("the session goes on: %v", err)
				}
			})
		}
		// The server took nothing of it: the next message is the first that arrives.
		witness.send(`<message xmlns="jabber:client" to="%s" type="chat"><body>still here</body></message>`, witness.jid)
		m := witness.await("a message", func(n *node) bool { return n.is(nsClient, "message") })
		if m.kid("body").Text != "still here" {
			t.Errorf("%s: got %v", kind, m)
		}
	}
}

func repeated(s string, n int) string {
	b := make([]byte, 0, len(s)*n)
	for range n {
		b = append(b, s...)
	}
	return string(b)
}
