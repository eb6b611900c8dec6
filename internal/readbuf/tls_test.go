package readbuf

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"os"
	"testing"
	"time"
)

// securePair is a TLS connection over loopback.
func securePair(t *testing.T) (near, far *tls.Conn) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	n, f := pair(t)
	near = tls.Server(n, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	far = tls.Client(f, &tls.Config{InsecureSkipVerify: true})
	greeted := make(chan error, 1)
	go func() { greeted <- far.Handshake() }()
	if err := near.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-greeted; err != nil {
		t.Fatal(err)
	}
	return near, far
}

// silence is a Fill that runs into a deadline, as Park wants.
func silence(t *testing.T, b *Buffer, c *tls.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
	if err := b.Fill(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("silence: %v, %d bytes", err, b.Len())
	}
	_ = c.SetReadDeadline(time.Time{})
}

// A parked TLS connection keeps no buffer, and misses neither data nor the end.
func TestParkWithTLS(t *testing.T) {
	near, far := securePair(t)
	var b Buffer
	b.Init(near, nil)
	parked := make(chan error, 1)
	park := func() {
		silence(t, &b, near)
		if !b.Parks() {
			t.Fatal("cannot park")
		}
		go func() { parked <- b.Park() }()
	}
	for _, text := range []string{"one", "two"} {
		park()
		if _, err := io.WriteString(far, text); err != nil {
			t.Fatal(err)
		}
		if err := <-parked; err != nil || b.Len() != 0 || b.buf != nil || b.small != nil {
			t.Fatalf("%v, %d bytes", err, b.Len())
		}
		if err := b.Fill(); err != nil || string(b.Bytes()) != text {
			t.Fatalf("%v, %q", err, b.Bytes())
		}
		b.Consume(b.Len())
	}
	park()
	_ = near.SetReadDeadline(time.Now())
	if err := <-parked; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("deadline: %v", err)
	}
	park()
	_ = far.Close()
	if err := <-parked; err != nil {
		t.Errorf("end: %v", err)
	}
	if err := b.Fill(); !errors.Is(err, io.EOF) {
		t.Errorf("end: %v", err)
	}
}
