package replica

import (
	"bytes"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stanzagate/internal/peer"
	"stanzagate/sessionstore"
)

// testCertificates returns one certificate.
func testCertificates(t *testing.T) []*x509.Certificate {
	t.Helper()
	pair, err := selfSigned(ed25519.NewKeyFromSeed(relayKey("browser")))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return []*x509.Certificate{cert}
}

// Replicas with a key in common talk to each other, in whichever order they have their keys; others do not.
func TestOnlyReplicasWithTheKeyTalk(t *testing.T) {
	var served atomic.Int32
	handle := func(http.ResponseWriter, *http.Request) bool {
		served.Add(1)
		return true
	}
	for _, c := range []struct {
		owner, client string
		want          Outcome
	}{
		{"a", "a", Answered},
		{"a b", "b a", Answered},
		{"b a", "a b", Answered},
		{"a b", "a", Answered},
		{"a", "a b", Answered},
		{"a", "b a", Unknown}, // the owner does not have what the client shows: the step before is to add it at the end
		{"a", "b", Unknown},
	} {
		t.Run(c.owner+" and "+c.client, func(t *testing.T) {
			served.Store(0)
			o := startOwner(t, "127.0.0.1:0", identity(t, strings.Fields(c.owner)...), handle)
			client := newClient(t, identity(t, strings.Fields(c.client)...))
			got := client.Relay(Request{W: httptest.NewRecorder(), R: httptest.NewRequest(http.MethodPost, "/", nil), Peer: peer.Peer{}, Body: nil}, o.Replica)
			if got != c.want || (served.Load() == 1) != (c.want == Answered) {
				t.Errorf("outcome %s, want %s; served %d", got, c.want, served.Load())
			}
		})
	}
}

// Whoever else comes to the listener is not served: without a certificate, with an authority's, in the clear.
func TestStrangersAreNotServed(t *testing.T) {
	id := identity(t, "k")
	o := startOwner(t, "127.0.0.1:0", id, func(http.ResponseWriter, *http.Request) bool {
		t.Error("a stranger is served")
		return true
	})
	other, err := selfSigned(ed25519.NewKeyFromSeed(relayKey("other")))
	if err != nil {
		t.Fatal(err)
	}
	// A certificate with the right public key, which everybody has seen, and another private key.
	stolen := *id.now.Load().cert
	stolen.PrivateKey = other.PrivateKey
	for name, certs := range map[string][]tls.Certificate{"none": nil, "another key": {*other}, "stolen certificate": {stolen}} {
		t.Run(name, func(t *testing.T) {
			conn, err := tls.Dial("tcp", o.Address, &tls.Config{
				InsecureSkipVerify: true, Certificates: certs, NextProtos: []string{protocol}, //nolint:gosec // the stranger does not care
			})
			if err == nil { // with TLS 1.3 it learns later that it was refused
				stranger := newCaller(conn)
				go stranger.run()
				_, err = stranger.ask(t.Context(), outbound(Request{R: httptest.NewRequest(http.MethodPost, "/", nil)}, o.Replica, false))
				_ = stranger.close(errClosed)
			}
			if err == nil {
				t.Error("answered")
			}
		})
	}
	t.Run("of another protocol", func(t *testing.T) {
		for _, protocols := range [][]string{nil, {"h2"}} {
			conn, err := tls.Dial("tcp", o.Address, &tls.Config{
				InsecureSkipVerify: true, Certificates: []tls.Certificate{*id.now.Load().cert}, NextProtos: protocols, //nolint:gosec // likewise
			})
			if err != nil {
				continue
			}
			_ = conn.SetDeadline(time.Now().Add(patienceOfTests))
			if b, err := io.ReadAll(conn); len(b) > 0 || isTimeout(err) {
				t.Errorf("%v: read %q, %v; want the end", protocols, b, err)
			}
			_ = conn.Close()
		}
	})
	t.Run("in the clear", func(t *testing.T) {
		conn, err := net.Dial("tcp", o.Address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patienceOfTests))
		_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
		if b, err := io.ReadAll(conn); err == nil && bytes.Contains(b, []byte("200 OK")) {
			t.Errorf("answered %q", b)
		}
	})
}

// A recorded conversation, sent again, is not served again, and shows nothing of what was said.
func TestRecordsAreOfNoUse(t *testing.T) {
	var served atomic.Int32
	o := startOwner(t, "127.0.0.1:0", identity(t, "k"), func(w http.ResponseWriter, r *http.Request) bool {
		served.Add(1)
		return true
	})
	var mu sync.Mutex
	var record bytes.Buffer
	tap := listen(t, "127.0.0.1:0")
	defer tap.Close()
	go func() {
		near, err := tap.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", o.Address)
		if err != nil {
			return
		}
		go func() { _, _ = io.Copy(near, far); near.Close() }()
		b := make([]byte, 4096)
		for {
			n, err := near.Read(b)
			mu.Lock()
			record.Write(b[:n])
			mu.Unlock()
			if _, werr := far.Write(b[:n]); err != nil || werr != nil {
				far.Close()
				return
			}
		}
	}()
	client := newClient(t, identity(t, "k"))
	to := o.Replica
	to.Address = tap.Addr().String()
	got := client.Relay(Request{W: httptest.NewRecorder(), R: httptest.NewRequest(http.MethodPost, "/secretpath", nil), Peer: peer.Peer{}, Body: []byte("secretbody")}, to)
	if got != Answered || served.Load() != 1 {
		t.Fatalf("outcome %s, served %d", got, served.Load())
	}
	client.Close()
	mu.Lock()
	said := bytes.Clone(record.Bytes())
	mu.Unlock()
	if bytes.Contains(said, []byte("secret")) || len(said) < 200 {
		t.Errorf("%d bytes were said, or they show what", len(said))
	}
	conn, err := net.Dial("tcp", o.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patienceOfTests))
	_, _ = conn.Write(said)
	_, _ = io.Copy(io.Discard, conn) // until it is closed
	if served.Load() != 1 {
		t.Error("the recorded request was served again")
	}
}

// Whoever sits at the owner's address without the key gets no request.
func TestForeignHostsGetNoRequest(t *testing.T) {
	foreign := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Error("a foreign host gets the request")
	}))
	foreign.EnableHTTP2 = true
	foreign.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	foreign.StartTLS()
	defer foreign.Close()
	client := newClient(t, identity(t, "k"))
	to := sessionstore.Replica{Incarnation: "x", Address: foreign.Listener.Addr().String()}
	if got := client.Relay(Request{W: httptest.NewRecorder(), R: httptest.NewRequest(http.MethodPost, "/", nil), Peer: peer.Peer{}, Body: nil}, to); got != Unknown {
		t.Errorf("outcome %s", got)
	}
}

// Keys are changed while replicas run.
func TestKeysChange(t *testing.T) {
	owners, clients := identity(t, "a"), identity(t, "a")
	o := startOwner(t, "127.0.0.1:0", owners, func(http.ResponseWriter, *http.Request) bool { return true })
	for i, step := range []struct {
		owner, client []string
		want          Outcome
	}{
		{[]string{"a", "b"}, []string{"a"}, Answered},
		{[]string{"b", "a"}, []string{"a", "b"}, Answered},
		{[]string{"b", "a"}, []string{"b"}, Answered},
		{[]string{"b"}, []string{"b"}, Answered},
		{[]string{"b"}, []string{"a"}, Unknown},
	} {
		set := func(id *Identity, names []string) {
			var keys [][]byte
			for _, n := range names {
				keys = append(keys, relayKey(n))
			}
			if err := id.Set(keys); err != nil {
				t.Fatal(err)
			}
		}
		set(owners, step.owner)
		set(clients, step.client)
		c := newClient(t, clients) // another connection
		got := c.Relay(Request{W: httptest.NewRecorder(), R: httptest.NewRequest(http.MethodPost, "/", nil), Peer: peer.Peer{}, Body: nil}, o.Replica)
		if got != step.want {
			t.Errorf("step %d: outcome %s, want %s", i, got, step.want)
		}
	}
	for _, bad := range [][][]byte{nil, {[]byte("short")}, {relayKey("a"), nil}} {
		if err := owners.Set(bad); err == nil {
			t.Errorf("%d keys are accepted", len(bad))
		}
	}
	if got := fmt.Sprint(owners.LogValue()); got != "xxxxx" {
		t.Errorf("logged as %s", got)
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
