//go:build e2e

package e2e

import (
	"fmt"
	"testing"
)

// enableSM has the client turn on its own stream management (XEP-0198 §3) and returns the id to resume with.
func (c *client) enableSM() string {
	c.t.Helper()
	c.send(`<enable xmlns="%s" resume="true"/>`, nsSM)
	n := c.await("enabled", func(n *node) bool { return n.XMLName.Space == nsSM })
	if n.XMLName.Local != "enabled" || n.attr("id") == "" {
		c.t.Fatalf("enable answered %v", n)
	}
	return n.attr("id")
}

// resumeSM authenticates on a new socket and resumes in place of binding (XEP-0198 §5).
func (c *client) resumeSM(user, id string, h int) *node {
	c.t.Helper()
	c.open()
	c.must(c.authenticate("PLAIN", user, password))
	c.restart()
	c.send(`<resume xmlns="%s" previd="%s" h="%d"/>`, nsSM, escape(id), h)
	return c.await("resumed or failed", func(n *node) bool {
		return n.is(nsSM, "resumed") || n.is(nsSM, "failed")
	})
}

// TestClientResumption: a client's own XEP-0198 session survives the unclean loss of its WebSocket, and nothing else.
//
// Covers: WS-042, WS-043, WS-044, WS-052.
func TestClientResumption(t *testing.T) {
	for _, name := range []string{"prosody", "ejabberd"} {
		t.Run(name, func(t *testing.T) {
			s := getServer(t, name)
			ep := getEndpoint(t, s)
			t.Run("unclean loss is resumable", func(t *testing.T) { testResumeAfterLoss(t, s, ep) })
			t.Run("clean close is not", func(t *testing.T) { testNoResumeAfterClose(t, s, ep) })
			t.Run("without it the session ends", func(t *testing.T) { testLossWithoutSM(t, s, ep) })
		})
	}
}

// resumer is alice, whose client does its own stream management, and bob, who would see her session end.
type resumer struct {
	s          *server
	alice, bob *client
	user, id   string // what alice resumes with
}

func newResumer(t *testing.T, s *server, alices, bobs endpoint) *resumer {
	t.Helper()
	r := &resumer{s: s, user: s.account(t), alice: newClient(t, "websocket", alices, s.domain), bob: newClient(t, "websocket", bobs, s.domain)}
	r.bob.login("PLAIN", s.account(t), password, "phone")
	r.bob.send(`<presence xmlns="jabber:client"/>`)
	r.alice.login("PLAIN", r.user, password, "desk")
	r.id = r.alice.enableSM()
	r.alice.send(`<presence xmlns="jabber:client"/>`)
	r.alice.send(`<presence xmlns="jabber:client" to="%s"/>`, r.bob.jid)
	r.bob.awaitPresence(r.alice.jid, "")
	return r
}

// missed is how many messages alice gets when she comes back.
const missed = 20

// misses has bob write to alice, who has lost her connection.
func (r *resumer) misses() {
	for i := range missed {
		r.bob.send(`<message xmlns="jabber:client" to="%s" type="chat"><body>%d</body></message>`, r.alice.jid, i)
	}
	r.bob.query("get", "", `<query xmlns="jabber:iq:roster"/>`) // the server has taken all of them
}

// resumes has alice come back elsewhere: she gets what she missed, and bob has not noticed anything.
func (r *resumer) resumes(t *testing.T, ep endpoint) *client {
	t.Helper()
	again := newClient(t, "websocket", ep, r.s.domain)
	if n := again.resumeSM(r.user, r.id, 0); n.XMLName.Local != "resumed" {
		t.Fatalf("resume answered %v", n)
	}
	for i := range missed {
		if got := again.awaitMessage(r.bob.jid).kid("body").Text; got != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, got)
		}
	}
	// A directed presence means that bob would have seen the session end.
	again.send(`<message xmlns="jabber:client" to="%s" type="chat"><body>back</body></message>`, r.bob.jid)
	if n := r.bob.await("anything of alice", func(n *node) bool { return n.attr("from") == r.alice.jid }); !n.is(nsClient, "message") {
		t.Errorf("bob saw %v", n)
	}
	return again
}

func testResumeAfterLoss(t *testing.T, s *server, ep endpoint) {
	r := newResumer(t, s, ep, ep)
	r.alice.tr.drop()
	r.misses()
	r.resumes(t, ep)
}

func testNoResumeAfterClose(t *testing.T, s *server, ep endpoint) {
	user := s.account(t)
	c := newClient(t, "websocket", ep, s.domain)
	c.login("PLAIN", user, password, "desk")
	id := c.enableSM()
	_ = c.tr.end(c.ctx())
	again := newClient(t, "websocket", ep, s.domain)
	if r := again.resumeSM(user, id, 0); r.XMLName.Local != "failed" {
		t.Errorf("resume after a clean close answered %v", r)
	}
}

func testLossWithoutSM(t *testing.T, s *server, ep endpoint) {
	bob := newClient(t, "websocket", ep, s.domain)
	bob.login("PLAIN", s.account(t), password, "phone")
	bob.send(`<presence xmlns="jabber:client"/>`)
	alice := newClient(t, "websocket", ep, s.domain)
	alice.login("PLAIN", s.account(t), password, "desk")
	alice.send(`<presence xmlns="jabber:client"/>`)
	alice.send(`<presence xmlns="jabber:client" to="%s"/>`, bob.jid)
	bob.awaitPresence(alice.jid, "")
	alice.tr.drop()
	bob.awaitPresence(alice.jid, "unavailable")
}
