//go:build e2e

package e2e

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// upstreamCase is a server as the tests of package upstream want to know it (see upstream/real_test.go).
type upstreamCase struct {
	Name, Domain, Setting, Password, Class, Mechanism string
	Anonymous                                         bool
	Users                                             []string
}

// TestUpstreamAgainstRealServers runs the tests of package upstream that need real servers: every class of resumption on
// every server that has it. They are that package's, as this one knows nothing of its insides.
//
// Covers: UP-054, UP-055, UP-066, UP-067, UP-072, UP-073, UP-074, UP-085, UP-087, UP-088, UP-089, UP-091, UP-094.
func TestUpstreamAgainstRealServers(t *testing.T) {
	ca, err := testCA()
	if err != nil {
		t.Fatal(err)
	}
	clear13 := ownServer(t, func() (*server, error) { return startProsody13(false) })
	tls13 := ownServer(t, func() (*server, error) { return startProsody13(true) })
	old := getServer(t, "prosody")
	ejabberd, external := externalEjabberd(t)
	ejabberd24 := ownServer(t, startEjabberd24)

	users := func(s *server) []string { return []string{s.account(t), s.account(t)} }
	named := func(name string, s *server, setting, class, mechanism string) upstreamCase {
		return upstreamCase{Name: name, Domain: s.domain, Setting: setting, Password: password, Class: class, Mechanism: mechanism, Users: users(s)}
	}
	clear := fmt.Sprintf("%s=xmpp://127.0.0.1:%d?tls=none", clear13.domain, clear13.port)
	cases := []upstreamCase{
		named("prosody13 clear", clear13, clear, "fast", "HT-SHA-256-NONE"),
		named("prosody13 STARTTLS", tls13, tls13.setting(tls13.domain, ca.file), "fast", "HT-SHA-256-EXPR"),
		{
			Name: "prosody13 anonymous", Domain: tls13.anonymous, Setting: tls13.setting(tls13.anonymous, ca.file), Password: password,
			Class: "fast", Mechanism: "HT-SHA-256-NONE", Anonymous: true,
		},
		named("ejabberd24 STARTTLS", ejabberd24, ejabberd24.setting(ejabberd24.domain, ca.file), "fast", "HT-SHA-256-EXPR"),
		named("prosody password", old, old.setting(old.domain, ca.file)+"&reauth=password", "password", ""),
		named("ejabberd password", ejabberd, ejabberd.setting(ejabberd.domain, ca.file)+"&reauth=password", "password", ""),
		named("ejabberd external", ejabberd, external, "external", ""),
	}
	b, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "test", "-tags", "realservers", "-count", "1", "-v", "-run", "^TestReal", "./upstream")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "UPSTREAM_SERVERS="+string(b))
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

// withKey writes the authority's certificate and key into one file.
func (a *authority) withKey() (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return "", err
	}
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
	b = append(b, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
	file := filepath.Join(runDir, "ca-with-key.pem")
	return file, os.WriteFile(file, b, 0o600)
}
