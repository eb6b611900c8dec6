//go:build !race

// The race detector allocates and makes stacks grow, so what things cost is measured without it.

package websocket

import (
	"bufio"
	"io"
	"net"
	"runtime"
	"testing"
	"time"
)

// A session that has settled must not allocate for the stanzas that pass through it, in either direction.
func TestCostAllocationsPerStanza(t *testing.T) {
	r := echoRig(t, Config{})
	b := r.login("alice", "web")
	c := bufio.NewReadWriter(b.r, bufio.NewWriter(b.conn))
	request := masked(fin|opText, stanza)
	_ = b.conn.SetDeadline(time.Time{})
	const n = 200
	const limit = n / 10 // the garbage collector empties the pools now and then
	allocs := testing.AllocsPerRun(20, func() {
		if err := pump(c, request, n, 8); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > limit {
		t.Errorf("%.0f allocations for %d stanzas both ways", allocs, n)
	}
}

// An idle session must stay small: what the process needs per logged-in session, beyond what the test's own ends of the
// two connections need.
func TestCostIdleSession(t *testing.T) {
	const n, limitKiB = 1000, 7.0
	addr := tcpServe(t, func(c net.Conn) { _, _ = io.Copy(c, c) })
	empty := footprint()
	for range n {
		conn := dialTCP(t, addr)
		t.Cleanup(func() { _ = conn.Close() })
	}
	ends := footprint() - empty

	r := echoRig(t, Config{})
	r.idle() // what the first session brings about
	before := footprint()
	for range n {
		r.idle()
	}
	var each float64
	for late := time.Now().Add(3 * restAfter); time.Now().Before(late); { // goroutines are small once they have rested
		if each = float64(int64(footprint()-before)-int64(ends)) / n / 1024; each <= limitKiB {
			break
		}
	}
	t.Logf("%.1f KiB of heap and stacks per session, the test's own ends not counted (%.1f KiB)", each, float64(ends)/n/1024)
	if each > limitKiB {
		t.Errorf("%.1f KiB per idle session, at most %.1f are allowed", each, limitKiB)
	}
}

// idle logs in and keeps nothing of the browser but its connection.
func (r *rig) idle() {
	r.login("alice", "web")
}

// footprint returns the bytes of live heap objects and of stacks.
func footprint() uint64 {
	for range 3 {
		runtime.GC() // the second run shrinks stacks further and frees what finalizers held
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

func dialTCP(t testing.TB, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
