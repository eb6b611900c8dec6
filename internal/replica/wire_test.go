package replica

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// member is a connection to an owner by somebody who has the key, and says what the test wants.
func member(t *testing.T, o *owner, id *Identity) *tls.Conn {
	t.Helper()
	conn, err := tls.Dial("tcp", o.Address, id.clientTLS())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patienceOfTests))
	return conn
}

func frame(k kind, id uint64, size int, content []byte) []byte {
	b := binary.BigEndian.AppendUint64([]byte{byte(k)}, id)
	b = binary.BigEndian.AppendUint32(b, uint32(size)) //nolint:gosec // of tests
	return append(b, content...)
}

// What is against the protocol ends the connection, and takes no memory before it has come.
func TestWireRefuses(t *testing.T) {
	id := identity(t, "k")
	release := make(chan struct{})
	o := startOwner(t, "127.0.0.1:0", id, func(w http.ResponseWriter, r *http.Request) bool {
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return true
	})
	defer close(release)
	request := outbound(Request{R: httptest.NewRequest(http.MethodPost, "/", nil)}, o.Replica, false).append(nil)
	once := frame(kindRequest, 1, len(request), request)
	for name, said := range map[string][]byte{
		"a frame that is too large":    frame(kindRequest, 1, contentBytes+1, nil),
		"an unknown kind":              frame(200, 1, 0, nil),
		"an answer to nothing":         frame(kindAnswer, 1, 0, nil),
		"a malformed request":          frame(kindRequest, 1, 3, []byte{0, 200, 1}),
		"a number that is taken":       append(bytes.Clone(once), once...),
		"the end in the middle of one": once[:len(once)-1],
	} {
		t.Run(name, func(t *testing.T) {
			conn := member(t, o, id)
			if _, err := conn.Write(said); err != nil {
				t.Fatal(err)
			}
			if name == "the end in the middle of one" {
				_ = conn.CloseWrite()
			}
			if n, err := conn.Read(make([]byte, 1)); n > 0 || isTimeout(err) {
				t.Errorf("%d bytes, %v; want the end", n, err)
			}
		})
	}
	// To cancel what is over means nothing.
	conn := member(t, o, id)
	if _, err := conn.Write(append(frame(kindCancel, 7, 0, nil), frame(kindBeat, 0, 0, nil)...)); err != nil {
		t.Fatal(err)
	}
	if k := make([]byte, 1); readByte(t, conn, k) != byte(kindBeat) {
		t.Errorf("frame of kind %d", k[0])
	}
}

func readByte(t *testing.T, conn net.Conn, b []byte) byte {
	t.Helper()
	if _, err := conn.Read(b); err != nil {
		t.Fatal(err)
	}
	return b[0]
}

// Both sides send more than fits on the way, at the same time, with signs of life between: neither waits for the
// other.
func TestWireIsNotStuck(t *testing.T) {
	a, b := pipeOfWires(t)
	const frames, size = 64, 1 << 20
	var talk, run sync.WaitGroup
	for _, w := range []*wire{a, b} {
		all := make(chan struct{})
		run.Go(func() {
			got := 0
			_ = w.run(func(_ kind, _ uint64, content []byte) error {
				if got += len(content); got == frames*size {
					close(all)
				}
				return nil
			})
		})
		talk.Go(func() {
			for i := range frames {
				_ = w.send(kindBeat, 0, nil)
				if err := w.send(kindAnswer, uint64(i), func(b []byte) []byte { return append(b, make([]byte, size)...) }); err != nil {
					t.Error(err)
				}
			}
		})
		talk.Go(func() {
			select {
			case <-all:
			case <-w.gone:
				t.Error(w.ended())
			}
		})
	}
	talk.Wait()
	_ = a.close(errClosed)
	run.Wait()
}

// pipeOfWires connects two.
func pipeOfWires(t *testing.T) (a, b *wire) {
	t.Helper()
	id := identity(t, "k")
	l := listen(t, "127.0.0.1:0")
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, _ := l.Accept()
		accepted <- conn
	}()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, client := tls.Server(<-accepted, id.serverTLS()), tls.Client(near, id.clientTLS())
	a, b = newWire(server), newWire(client)
	t.Cleanup(func() { _, _ = a.close(errClosed), b.close(errClosed) })
	return a, b
}

// A request that comes when too many are held is sent back, so that its browser asks again.
func TestWireIsBusy(t *testing.T) {
	id := identity(t, "k")
	o := startOwner(t, "127.0.0.1:0", id, func(http.ResponseWriter, *http.Request) bool { return true })
	c := newClient(t, id)
	relay := func() Outcome {
		return c.Relay(Request{W: httptest.NewRecorder(), R: httptest.NewRequest(http.MethodPost, "/", nil)}, o.Replica)
	}
	if got := relay(); got != Answered {
		t.Fatalf("outcome %s", got)
	}
	o.server.mu.Lock()
	for conn := range o.server.conns {
		conn.serving.Lock()
		for i := range heldPerConnection {
			conn.requests[1<<40+uint64(i)] = func() {}
		}
		conn.serving.Unlock()
	}
	o.server.mu.Unlock()
	if got := relay(); got != Fenced || c.Unreachable(o.Address) != 0 {
		t.Errorf("outcome %s, unreachable for %s", got, c.Unreachable(o.Address))
	}
}
