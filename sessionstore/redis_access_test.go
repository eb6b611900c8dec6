package sessionstore_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stanzagate/sessionstore"
	"stanzagate/sessionstore/storetest"
)

// leastRights is what a user of the store needs, as docs/session-store.md says.
var leastRights = strings.Fields("~stanzagate:* &stanzagate:* -@all +ping +eval +evalsha +get +set +del +exists +hget +hset +hmget " +
	"+hdel +hgetall +pexpire +pttl +time +publish +subscribe")

// A user with the rights that the documentation names is enough, and its password is percent-encoded in the URL.
func TestRedisUser(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "docs", "session-store.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), strings.Join(leastRights, " ")) {
		t.Error("docs/session-store.md names other rights")
	}
	args := append([]string{"--user", "gateway", "on", ">p@ss/w:rd?#%"}, leastRights...)
	server := storetest.StartRedis(t, args...)
	url := "redis://gateway:p%40ss%2Fw:rd%3F%23%25@" + server.Addr()
	t.Run("suite", func(t *testing.T) {
		storetest.Run(t, storetest.Rig{
			Join: func(t *testing.T, id string, schema int) sessionstore.Store {
				return joinRedis(t, sessionstore.RedisConfig{URLs: []string{url}, Self: storetest.Self(id), Schema: schema, Lease: testLease})
			},
			Crash: func(t *testing.T, s sessionstore.Store) { s.(*sessionstore.Redis).Abandon() },
			Lease: testLease,
		})
	})
	t.Run("wrong password", func(t *testing.T) {
		r := openRedis(t, sessionstore.RedisConfig{URLs: []string{"redis://gateway:secretpassword@" + server.Addr()}})
		storetest.Until(t, "refusal", func() bool { return r.Status().Err != nil })
		text := r.Status().Err.Error()
		if !strings.Contains(text, "WRONGPASS") || strings.Contains(text, "secretpassword") {
			t.Errorf("error is %q", text)
		}
		if !r.Fenced() || r.Status().NotReady() == "" {
			t.Error("a replica without a lease is ready")
		}
	})
}

// The server's certificate is checked, for its name too; a client certificate is shown if there is one.
func TestRedisTLS(t *testing.T) {
	dir := t.TempDir()
	ca, other := newAuthority(t, dir, "ca"), newAuthority(t, dir, "other")
	cert, key := ca.issue(t, dir, "server", "redis.example")
	clientCert, clientKey := ca.issue(t, dir, "client", "gateway")
	port := storetest.FreePort(t)
	storetest.StartRedis(t, "--tls-port", fmt.Sprint(port), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", ca.file)
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	identity := "&cert=" + clientCert + "&key=" + clientKey

	r := joinRedis(t, sessionstore.RedisConfig{URLs: []string{"rediss://" + addr + "?ca=" + ca.file + "&name=redis.example" + identity}})
	h := createIn(t, r)
	isError(t, "persist", r.Persist(t.Context(), h, seq(1, "x")), nil)

	for name, c := range map[string]struct{ url, want string }{
		"another authority":  {"rediss://" + addr + "?ca=" + other.file + "&name=redis.example" + identity, "unknown authority"},
		"another name":       {"rediss://" + addr + "?ca=" + ca.file + identity, "not 127.0.0.1"},
		"no authority":       {"rediss://" + addr + "?name=redis.example" + identity, "certificate"},
		"no own certificate": {"rediss://" + addr + "?ca=" + ca.file + "&name=redis.example", "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			r := openRedis(t, sessionstore.RedisConfig{URLs: []string{c.url}})
			storetest.Until(t, "refusal", func() bool { return r.Status().Err != nil })
			if text := r.Status().Err.Error(); !strings.Contains(text, c.want) {
				t.Errorf("error is %q, want something about %q", text, c.want)
			}
		})
	}
}

type authority struct {
	file string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, dir, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{file: writePEM(t, filepath.Join(dir, name+".pem"), "CERTIFICATE", der), cert: cert, key: key}
}

func (a *authority) issue(t *testing.T, dir, file, name string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv6loopback},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return writePEM(t, filepath.Join(dir, file+".pem"), "CERTIFICATE", der), writePEM(t, filepath.Join(dir, file+".key"), "PRIVATE KEY", pkcs8)
}

func writePEM(t *testing.T, file, kind string, der []byte) string {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
