package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// writePair makes a self-signed certificate with the name and writes it and its key over the files.
func writePair(t *testing.T, certFile, keyFile, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, certFile, "CERTIFICATE", der)
	writePEM(t, keyFile, "PRIVATE KEY", private)
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func newPair(t *testing.T, name string) (certFile, keyFile string) {
	t.Helper()
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePair(t, certFile, keyFile, name)
	return certFile, keyFile
}

// served is the name in the certificate that a handshake gets.
func served(t *testing.T, c *certificate) string {
	t.Helper()
	got, err := c.get(&tls.ClientHelloInfo{})
	if err != nil {
		t.Fatal(err)
	}
	return got.Leaf.Subject.CommonName
}

func TestCertificateFollowsItsFiles(t *testing.T) {
	certFile, keyFile := newPair(t, "first.example")
	c, err := loadCertificate(certFile, keyFile, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if got := served(t, c); got != "first.example" {
		t.Fatalf("serves %s", got)
	}
	writePair(t, certFile, keyFile, "second.example")
	changed := time.Now().Add(time.Hour) // file systems may have coarse clocks
	if err := os.Chtimes(certFile, changed, changed); err != nil {
		t.Fatal(err)
	}
	if got := served(t, c); got != "first.example" {
		t.Errorf("looked at the files again after no time: %s", got)
	}
	c.checked.Store(time.Now().Add(-2 * checkEvery).UnixNano())
	if got := served(t, c); got != "second.example" {
		t.Errorf("serves %s", got)
	}
	// Half of a change: the old pair stays until the other half is there.
	writePair(t, certFile, filepath.Join(t.TempDir(), "elsewhere.pem"), "third.example")
	c.refresh(true)
	if got := served(t, c); got != "second.example" {
		t.Errorf("serves %s", got)
	}
	if err := os.Remove(certFile); err != nil {
		t.Fatal(err)
	}
	c.refresh(false)
	if got := served(t, c); got != "second.example" {
		t.Errorf("serves %s", got)
	}
}

// HTTPS speaks HTTP/1.1 and HTTP/2, not below TLS 1.2; SIGHUP reads the certificate again.
func TestHTTPS(t *testing.T) {
	certFile, keyFile := newPair(t, "gw.example")
	s := testSettings(t, "--listen=", "--tls.listen=127.0.0.1:0", "--tls.cert="+certFile, "--tls.key="+keyFile)
	r := start(t, s, nil)
	address := r.all.public[0].Addr().String()
	for _, c := range []struct {
		offer, want string
	}{{"h2", "h2"}, {"http/1.1", "http/1.1"}, {"", ""}} {
		cfg := &tls.Config{InsecureSkipVerify: true}
		if c.offer != "" {
			cfg.NextProtos = []string{c.offer}
		}
		conn, err := tls.Dial("tcp", address, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if got := conn.ConnectionState().NegotiatedProtocol; got != c.want {
			t.Errorf("offered %q, got %q", c.offer, got)
		}
		conn.Close()
	}
	if conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}); err == nil {
		conn.Close()
		t.Error("TLS 1.1 is accepted")
	}

	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+address+"/.well-known/host-meta", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "one.example"
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("host-meta answers %d", resp.StatusCode)
	}

	writePair(t, certFile, keyFile, "new.example")
	r.reload(s)
	r.reload(s)
	if got := served(t, r.g.cert); got != "new.example" {
		t.Errorf("serves %s", got)
	}
}

// WebSocket over HTTP/2 is not offered, so that browsers use HTTP/1.1 for it.
//
// Covers: WS-008.
func TestExtendedConnectIsNotOffered(t *testing.T) {
	certFile, keyFile := newPair(t, "gw.example")
	r := start(t, testSettings(t, "--listen=", "--tls.listen=127.0.0.1:0", "--tls.cert="+certFile, "--tls.key="+keyFile), nil)
	conn, err := tls.Dial("tcp", r.all.public[0].Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	framer := http2.NewFramer(conn, conn)
	if err := framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	frame, err := framer.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	s, ok := frame.(*http2.SettingsFrame)
	if !ok {
		t.Fatalf("the first frame is %v", frame)
	}
	if v, offered := s.Value(http2.SettingEnableConnectProtocol); offered && v != 0 {
		t.Error("it is offered")
	}
}

func TestReloadOfDomains(t *testing.T) {
	r := start(t, testSettings(t), nil)
	good, bad := testSettings(t, "--domain=two.example", "--bosh.hold=5"), testSettings(t)
	bad.Domains = list{"three.example=bad://x"}
	r.reload(good)
	r.reload(bad)
	r.reload(good)
	if _, err := r.g.dialer.Serves("two.example"); err != nil {
		t.Error(err)
	}
	if _, body := r.get(r.public() + "/config.json"); body != `{"bosh":"/http-bind","websocket":"/xmpp-websocket","domains":["one.example","two.example"],"anyDomain":false}` {
		t.Errorf("the page knows %s", body)
	}
	if !r.log.has("bosh.hold") || r.log.has("path.bosh") {
		t.Error("the log does not name just the setting that needs a restart")
	}
	if !r.log.has("settings not reloaded") {
		t.Error("the log does not tell of the bad domain")
	}
}
