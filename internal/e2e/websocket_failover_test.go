//go:build e2e

package e2e

import (
	"fmt"
	"syscall"
	"testing"
)

// TestWebSocketFailover: a client's own stream management survives its replica, and a replica that drains says where to go.
//
// Covers: WS-042, WS-043.
func TestWebSocketFailover(t *testing.T) {
	ca, err := testCA()
	if err != nil {
		t.Fatal(err)
	}
	const elsewhere = "wss://other.example/xmpp-websocket"
	for _, name := range []string{"prosody", "ejabberd"} {
		t.Run(name, func(t *testing.T) {
			s := getServer(t, name)
			replicas := startReplicas(t, 3, startRedis(t, true), "--domain", s.setting(s.domain, ca.file), "--websocket.see-other-uri", elsewhere)
			at := func(r *replica) endpoint {
				return endpoint{websocket: fmt.Sprintf("ws://127.0.0.1:%d/xmpp-websocket", r.listen)}
			}
			bob := newClient(t, "websocket", at(replicas[2]), s.domain)
			bob.login("PLAIN", s.account(t), password, "phone")
			bob.send(`<presence xmlns="jabber:client"/>`)
			user := s.account(t)
			alice := newClient(t, "websocket", at(replicas[0]), s.domain)
			alice.login("PLAIN", user, password, "desk")
			id := alice.enableSM()
			alice.send(`<presence xmlns="jabber:client"/>`)
			alice.send(`<presence xmlns="jabber:client" to="%s"/>`, bob.jid)
			bob.awaitPresence(alice.jid, "")

			replicas[0].kill()
			const count = 20
			for i := range count {
				bob.send(`<message xmlns="jabber:client" to="%s" type="chat"><body>%d</body></message>`, alice.jid, i)
			}
			again := newClient(t, "websocket", at(replicas[1]), s.domain)
			if r := again.resumeSM(user, id, 0); r.XMLName.Local != "resumed" {
				t.Fatalf("resume answered %v", r)
			}
			for i := range count {
				if got := again.awaitMessage(bob.jid).kid("body").Text; got != fmt.Sprint(i) {
					t.Fatalf("message %d is %q", i, got)
				}
			}
			again.send(`<message xmlns="jabber:client" to="%s" type="chat"><body>back</body></message>`, bob.jid)
			if n := bob.await("anything of alice", func(n *node) bool { return n.attr("from") == alice.jid }); !n.is(nsClient, "message") {
				t.Errorf("bob saw %v", n)
			}

			replicas[1].signal(syscall.SIGTERM)
			n := again.await("close", func(n *node) bool { return n.is(nsFraming, "close") })
			if got := n.attr("see-other-uri"); got != elsewhere {
				t.Errorf("the drain says %v", n)
			}
			third := newClient(t, "websocket", at(replicas[2]), s.domain)
			if r := third.resumeSM(user, id, count); r.XMLName.Local != "resumed" {
				t.Errorf("resume after the drain answered %v", r)
			}
		})
	}
}
