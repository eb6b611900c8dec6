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
			r := newResumer(t, s, at(replicas[0]), at(replicas[2]))
			replicas[0].kill()
			r.misses()
			again := r.resumes(t, at(replicas[1]))

			replicas[1].signal(syscall.SIGTERM)
			n := again.await("close", func(n *node) bool { return n.is(nsFraming, "close") })
			if got := n.attr("see-other-uri"); got != elsewhere {
				t.Errorf("the drain says %v", n)
			}
			third := newClient(t, "websocket", at(replicas[2]), s.domain)
			if n := third.resumeSM(r.user, r.id, missed); n.XMLName.Local != "resumed" {
				t.Errorf("resume after the drain answered %v", n)
			}
		})
	}
}
