package websocket

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	ws "github.com/coder/websocket"

	"stanzagate/internal/xmpptest"
)

// resting waits until all sessions rest on both sides: nobody works for them.
func resting(t *testing.T) {
	t.Helper()
	buf := make([]byte, 1<<20)
	eventually(t, "all at rest", func() bool {
		stacks := string(buf[:runtime.Stack(buf, true)])
		return !strings.Contains(stacks, ".(*session).run(") && !strings.Contains(stacks, ".(*session).runDown(")
	})
}

// A session at rest is as much alive as any: to both sides, to an end, to Drain, and to pings.
func TestRestingSessions(t *testing.T) {
	r := newRig(t, setup{xmpp: xmpptest.Options{Resumable: true}, cfg: Config{Ping: 3 * restAfter}})
	alice, bob := r.login("alice", "web"), r.login("bob", "web")
	closed, lost, moved := r.login("carol", "web"), r.login("dave", "web"), r.login("eve", "web")
	moved.enable()
	resting(t)

	alice.say(`<message xmlns="jabber:client" to="bob@example.org" id="1"/>`)
	bob.expect(`id="1"`)
	bob.say(`<message xmlns="jabber:client" to="alice@example.org" id="2"/>`, `<message xmlns="jabber:client" to="alice@example.org" id="3"/>`)
	alice.expect(`id="2"`)
	alice.expect(`id="3"`)

	r.xmpp.Session("carol@example.org").CloseStream()
	closed.expectCloseElement()
	closed.say(closeFromBrowser)
	closed.expectClose(ws.StatusNormalClosure)
	_ = lost.conn.Close()
	r.endedAs("lost")
	ctx, cancel := context.WithCancel(context.Background())
	drained := make(chan error, 1)
	go func() { drained <- r.handler.Drain(ctx) }()
	moved.expectClose(ws.StatusGoingAway)
	cancel()
	<-drained

	for _, b := range []*browser{alice, bob} {
		op, _, err := b.patiently(4 * restAfter)
		if err != nil || op != opPing {
			t.Fatalf("expected a ping: %d %v", op, err)
		}
		b.raw(masked(fin|opPong, ""))
	}
	eventually(t, "pongs noticed", func() bool {
		noticed := 0
		for _, s := range r.handler.all() {
			if s.h.now()-time.Duration(s.sock.lastRead.Load()) < restAfter {
				noticed++
			}
		}
		return noticed == 2
	})
}
