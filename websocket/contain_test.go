package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	ws "github.com/coder/websocket"

	"stanzagate/internal/xmpptest"
	"stanzagate/upstream"
)

// explosive panics where the test says.
type explosive struct {
	*counters
	up, down func()
}

func (e explosive) FromBrowser(n, b int) { e.up(); e.counters.FromBrowser(n, b) }
func (e explosive) ToBrowser(n, b int)   { e.down(); e.counters.ToBrowser(n, b) }

// A panic ends its own session, cleanly on both sides, and no other.
func TestPanicIsContained(t *testing.T) {
	for name, side := range map[string]func(e *explosive, boom func()){
		"reading the browser": func(e *explosive, boom func()) { e.up = boom },
		"reading the server":  func(e *explosive, boom func()) { e.down = boom },
	} {
		t.Run(name, func(t *testing.T) {
			var armed sync.Once
			fuse := make(chan struct{})
			e := &explosive{counters: &counters{ended: map[string]int{}}, up: func() {}, down: func() {}}
			side(e, func() {
				select {
				case <-fuse:
					armed.Do(func() { panic("boom") })
				default:
				}
			})
			var logged lockedBuffer
			r := newRig(t, setup{cfg: Config{Metrics: e, Log: slog.New(slog.NewJSONHandler(&logged, nil))}})
			r.metrics = e.counters
			other := r.login("bob", "web")
			b := r.login("alice", "web")
			server := r.latest()
			close(fuse)
			b.say(`<iq xmlns="jabber:client" type="get" id="1" to="example.org"/>`)
			for {
				p := b.hear()
				if strings.HasPrefix(p, "<stream:error") {
					if !strings.Contains(p, "<internal-server-error") {
						t.Errorf("error: %s", p)
					}
					break
				}
			}
			b.expectCloseElement()
			b.expectClose(ws.StatusInternalError)
			eventually(t, "server told", func() bool { return strings.HasSuffix(server.Received(), "</stream:stream>") })
			r.endedAs("internal-server-error")
			if !strings.Contains(logged.String(), "boom") {
				t.Error("the panic is not in the log")
			}
			other.say(`<iq xmlns="jabber:client" type="get" id="2" to="example.org"/>`)
			other.expect(`id='2'`)
		})
	}
}

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Whatever is said on a stream, the log does not repeat it, not even at its most talkative.
func TestLogHasNoContent(t *testing.T) {
	var logged lockedBuffer
	r := newRig(t, setup{cfg: Config{Log: slog.New(slog.NewJSONHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))}})
	b := r.login("alice", "web")
	b.say(`<message xmlns="jabber:client" id="1"><body>confidential</body></message>`)
	b.expect("confidential")
	b.say(`<message xmlns="jabber:client"><body>confidential</wrong>`)
	b.expectError("not-well-formed")
	b.say(closeFromBrowser)
	b.expectClose(ws.StatusNormalClosure)
	b = r.connect()
	b.open()
	b.auth("mallory", "wrong")
	b.expect("<failure")
	_ = b.conn.Close()
	r.endedAs("lost")
	r.request("Origin: https://foreign.example", "Sec-WebSocket-Protocol:")
	eventually(t, "refusal logged", func() bool { return strings.Contains(logged.String(), "refused") })
	log := logged.String()
	for _, secret := range []string{"confidential", "AGFsaWNl", "AG1hbGxvcnk", "wrong"} {
		if strings.Contains(log, secret) {
			t.Errorf("log has %q: %s", secret, log)
		}
	}
	for _, wanted := range []string{`"reason":"not-well-formed"`, `"remote":"127.0.0.1:`, `"domain":"example.org"`} {
		if !strings.Contains(log, wanted) {
			t.Errorf("log lacks %s: %s", wanted, log)
		}
	}
}

func TestNewNamesTheField(t *testing.T) {
	d, err := upstream.NewDialer(upstream.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for field, cfg := range map[string]Config{
		"Dialer: ":      {},
		"QueueBytes: ":  {Dialer: d, QueueBytes: -1},
		"AuthTimeout: ": {Dialer: d, AuthTimeout: -1},
		"SeeOther: ":    {Dialer: d, SeeOther: "ws://x/"},
	} {
		if _, err := New(cfg); err == nil || !strings.HasPrefix(err.Error(), field) {
			t.Errorf("%s%v", field, err)
		}
	}
}

// Many browsers come, chat, and go in every way there is, while the Handler is drained and shut down under them. What was
// sent comes back in order; nothing is left.
func TestManySessions(t *testing.T) {
	r := newRig(t, setup{xmpp: xmpptest.Options{Resumable: true}, cfg: Config{Ping: 5 * time.Second}})
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			for visit := range 3 {
				r.visit(t, fmt.Sprintf("user%d-%d", i, visit), random)
			}
		})
	}
	wg.Wait()
	eventually(t, "all gone", func() bool { return r.handler.Sessions() == 0 })
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := errors.Join(r.handler.Drain(ctx), r.handler.Shutdown(ctx)); err != nil {
		t.Error(err)
	}
	started, ended := r.metrics.get(&r.metrics.started), 0
	for _, n := range r.metrics.ended {
		ended += n
	}
	if started != 120 || ended != started {
		t.Errorf("%d started, ended as %v", started, r.metrics.ended)
	}
}

func (r *rig) visit(t *testing.T, user string, random *rand.Rand) {
	b := r.login(user, "web")
	if random.IntN(2) == 0 {
		b.enable()
	}
	n := random.IntN(30)
	var messages []string
	for i := range n {
		messages = append(messages, fmt.Sprintf(`<message xmlns="jabber:client" id="%d"><body>%s</body></message>`, i, strings.Repeat("x", random.IntN(600))))
	}
	var p []byte
	for _, m := range messages {
		p = append(p, masked(fin|opText, m)...)
	}
	go func() { _, _ = b.conn.Write(p) }()
	for heard := 0; heard < n; {
		op, p, err := b.next()
		switch {
		case err != nil:
			t.Errorf("%s: %v", user, err)
			return
		case op == opPing:
			_, _ = b.conn.Write(masked(fin|opPong, p))
		case op == opText && !strings.Contains(p, fmt.Sprintf(`id="%d"`, heard)):
			t.Errorf("%s: expected %d, got %.80s", user, heard, p)
			return
		case op == opText:
			heard++
		}
	}
	switch random.IntN(3) {
	case 0:
		b.say(closeFromBrowser)
	case 1:
		b.raw(masked(fin|opClose, "\x03\xe9"))
	}
	_ = b.conn.Close()
}
