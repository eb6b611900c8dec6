package websocket

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	ws "github.com/coder/websocket"

	"stanzagate/internal/xmpptest"
	"stanzagate/upstream"
)

// writeCounter counts the writes of one end of a connection.
type writeCounter struct {
	net.Conn
	mu sync.Mutex
	n  int
}

func (w *writeCounter) Write(p []byte) (int, error) {
	w.mu.Lock()
	w.n++
	w.mu.Unlock()
	return w.Conn.Write(p)
}

func (w *writeCounter) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.n
}

// countingListener wraps what a listener accepts.
type countingListener struct {
	*memoryListener
	accepted chan *writeCounter
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.memoryListener.Accept()
	if err != nil {
		return nil, err
	}
	w := &writeCounter{Conn: c}
	select {
	case l.accepted <- w:
	default: // nobody counts so many
	}
	return w, nil
}

// What is there together leaves together, in either direction; what comes alone leaves at once.
func TestWritesAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 100
		var toServer *writeCounter
		var r *rig
		r = newRig(t, setup{pipes: true, upstream: upstream.Config{
			Dial: func(context.Context, string, string) (net.Conn, error) {
				toServer = &writeCounter{Conn: r.xmpp.Pipe()}
				return toServer, nil
			},
		}})
		b := r.login("alice", "web")
		server := r.latest()
		toBrowser := <-r.accepted
		synctest.Wait()

		before := toBrowser.count()
		for i := range 3 {
			server.Send(fmt.Sprintf("<message id='%d'/>", i))
			b.expect(fmt.Sprintf("id='%d'", i))
			synctest.Wait()
		}
		if got := toBrowser.count() - before; got != 3 {
			t.Errorf("3 stanzas, one after the other, took %d writes", got)
		}

		before = toBrowser.count()
		server.Send(strings.Repeat("<message id='many'/>", n))
		for range n {
			b.expect("id='many'")
		}
		synctest.Wait()
		if got := toBrowser.count() - before; got > 10 {
			t.Errorf("%d stanzas to the browser took %d writes", n, got)
		}

		before = toServer.count()
		var messages []string
		for range n {
			messages = append(messages, `<message xmlns="jabber:client" to="bob@example.org"/>`)
		}
		b.say(messages...)
		synctest.Wait()
		if got := toServer.count() - before; got > 10 {
			t.Errorf("%d stanzas to the server took %d writes", n, got)
		}
		if got := strings.Count(server.Received(), `to="bob@example.org"`); got != n {
			t.Errorf("the server heard %d of them", got)
		}
	})
}

// Over TLS waiting takes a buffer, and frames do not end where records do.
func TestOverTLS(t *testing.T) {
	ca := xmpptest.NewCA(t)
	r := newRig(t, setup{tls: ca.Good("gateway.example")})
	b := r.login("alice", "web")
	var messages []string
	for i := range 50 {
		messages = append(messages, fmt.Sprintf(`<message xmlns="jabber:client" id="%d"><body>%s</body></message>`, i, strings.Repeat("x", i*i*7)))
	}
	var p []byte
	for _, m := range messages {
		p = append(p, masked(fin|opText, m)...)
	}
	go func() {
		for len(p) > 0 {
			n := min(len(p), 1000)
			if _, err := b.conn.Write(p[:n]); err != nil {
				return
			}
			p = p[n:]
		}
	}()
	for i := range messages {
		b.expect(fmt.Sprintf(`id="%d"`, i))
	}
	b.raw(masked(fin|opPing, "still there"))
	if op, p, err := b.next(); err != nil || op != opPong || p != "still there" {
		t.Errorf("ping: %d %q %v", op, p, err)
	}
	b.say(closeFromBrowser)
	b.expectCloseElement()
	b.closeWith(ws.StatusNormalClosure)
	r.endsCleanly()
}

// A message that is cut in half does not hold up the one before it.
func TestHalfAFrameHoldsNothingUp(t *testing.T) {
	r := newRig(t, setup{})
	b := r.login("alice", "web")
	whole, half := masked(fin|opText, `<message xmlns="jabber:client" id="1"/>`), masked(fin|opText, `<message xmlns="jabber:client" id="2"/>`)
	b.raw(append(whole, half[:10]...))
	b.expect(`id="1"`)
	b.raw(half[10:])
	b.expect(`id="2"`)
	// The same with a frame for the library, and with half an element from the server.
	fragment := masked(opText, `<message xmlns="jabber:client" `)
	b.raw(append(masked(fin|opText, `<message xmlns="jabber:client" id="3"/>`), fragment...))
	b.expect(`id="3"`)
	b.raw(masked(fin|opContinuation, `id="4"/>`))
	b.expect(`id="4"`)
	server := r.xmpp.Session("alice@example.org")
	server.Send("<message id='5'/><message ")
	b.expect("id='5'")
	server.Send("id='6'/>")
	b.expect("id='6'")
}
