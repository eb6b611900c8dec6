//go:build !race

// The race detector allocates and makes stacks grow, so what things cost is measured without it.

package upstream

import (
	"runtime"
	"strings"
	"sync"
	"testing"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmpptest"
)

const chat = "<message to='romeo@example.org/orchard' type='chat' id='4711'><body>O Romeo, Romeo! wherefore art thou Romeo?</body></message>"

// pump starts a server that sends total messages after login, many at once.
func pump(tb testing.TB, o xmpptest.Options, total int) *xmpptest.Server {
	const batch = 100
	o.Handler = func(c *xmpptest.Conn) {
		if c.Login() != nil {
			return
		}
		for range total / batch {
			c.Send(strings.Repeat(chat, batch))
		}
		_, _ = c.Read()
	}
	return xmpptest.Start(tb, o)
}

// Receiving costs no allocation, and elements that came together are known to be there.
func TestCostReceiving(t *testing.T) {
	ca := xmpptest.NewCA(t)
	for _, o := range []xmpptest.Options{{}, {TLS: ca.Good("example.org")}} {
		srv := pump(t, o, 20000)
		c := dialTo(t, srv.Setting(ca.File()), Opening{})
		c.login("juliet")
		buffered := 0
		var dst []byte
		scope := ClientScope("")
		step := func() {
			ev, err := c.Recv()
			if err != nil {
				t.Fatal(err)
			}
			dst = ev.Element.AppendTo(dst[:0], scope)
			if c.Buffered() {
				buffered++
			}
		}
		for range 1000 {
			step()
		}
		if n := testing.AllocsPerRun(10000, step); n > 0.05 {
			t.Errorf("%v allocations per element", n)
		}
		if buffered < 8000 {
			t.Errorf("%d of 11001 elements were announced", buffered)
		}
	}
}

// Sending costs no allocation.
func TestCostSending(t *testing.T) {
	ca := xmpptest.NewCA(t)
	for _, o := range []xmpptest.Options{{}, {TLS: ca.Good("example.org")}} {
		o.Handler = func(c *xmpptest.Conn) {
			if c.Login() == nil {
				c.Discard()
			}
		}
		srv := xmpptest.Start(t, o)
		c := dialTo(t, srv.Setting(ca.File()), Opening{})
		c.login("juliet")
		el := parse(t, strings.Replace(chat, "<message", "<message xmlns='jabber:client'", 1))
		var dst []byte
		if n := testing.AllocsPerRun(5000, func() {
			a, err := c.Admit(dst[:0], el)
			if err != nil {
				t.Fatal(err)
			}
			dst = a.Bytes
			if err := c.Send(a.Bytes); err != nil {
				t.Fatal(err)
			}
		}); n > 0.05 {
			t.Errorf("%v allocations per element", n)
		}
	}
}

// An idle stream costs little: 1,000 of them are measured, each logged in and waiting in Recv. The stack is the goroutine's.
func TestCostIdleStream(t *testing.T) {
	ca := xmpptest.NewCA(t)
	for _, c := range []struct {
		name        string
		o           xmpptest.Options
		managed     bool
		heap, stack float64
	}{
		{"tcp", xmpptest.Options{}, false, 3000, 5000},
		{"tls", xmpptest.Options{TLS: ca.Good("example.org"), Direct: true}, false, 11000, 9000},
		{"managed", modern(), true, 4000, 5000},
	} {
		c.o.Handler = func(x *xmpptest.Conn) {
			if x.Login() != nil {
				return
			}
			if c.managed {
				x.Expect("enable")
				x.Send("<enabled xmlns='" + ns.SM + "' id='x' resume='true'/>")
			}
			x.Park()
		}
		srv := xmpptest.Start(t, c.o)
		d := managedDialer(t, Config{}, srv.Setting(ca.File()))
		knows(d, htNone)
		x := newSession()
		usage := func() (heap, stack float64) {
			runtime.GC()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return float64(m.HeapAlloc), float64(m.StackInuse)
		}
		ctx := within(t)
		var all []*Stream
		var ended sync.WaitGroup
		open := func() {
			s, err := d.Open(ctx, Opening{Domain: "example.org", Managed: c.managed, Owner: x.Owner})
			if err != nil {
				t.Fatal(err)
			}
			(&conn{t, s}).login("juliet")
			srv.Next()
			all = append(all, s)
			ended.Go(func() { _, _ = s.Recv() })
		}
		open()
		const n = 1000
		h0, s0 := usage()
		for range n {
			open()
		}
		h1, s1 := usage()
		heap, stack := (h1-h0)/n, (s1-s0)/n
		t.Logf("%s: %.0f bytes of heap and %.0f of stack per idle stream", c.name, heap, stack)
		for _, s := range all {
			_ = s.Cut()
		}
		ended.Wait()
		if heap > c.heap || stack > c.stack {
			t.Errorf("%s: %.0f bytes of heap, %.0f of stack; the margins are %.0f and %.0f", c.name, heap, stack, c.heap, c.stack)
		}
	}
}
