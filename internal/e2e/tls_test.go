//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tlsHosts are the domains of one Prosody that differ in nothing but their certificates.
var tlsHosts = []struct {
	domain, certName    string
	expired, selfSigned bool
	good                bool
}{
	{domain: "good.tls.test", certName: "good.tls.test", good: true},
	{domain: "expired.tls.test", certName: "expired.tls.test", expired: true},
	{domain: "wrongname.tls.test", certName: "other.tls.test"},
	{domain: "selfsigned.tls.test", certName: "selfsigned.tls.test", selfSigned: true},
}

const tlsProsodyConfig = `local d = os.getenv("PROSODY_TEST_DIR")
run_as_root = true
pidfile = d .. "/prosody.pid"
data_path = d .. "/data"
certificates = d .. "/certs"
log = { { levels = { min = "info" }, to = "file", filename = d .. "/prosody.log" } }
interfaces = { "127.0.0.1" }
c2s_ports = { %d }
c2s_direct_tls_ports = {}
s2s_ports = {}
http_ports = {}
https_ports = {}
modules_enabled = { "roster"; "saslauth"; "tls"; "disco" }
modules_disabled = { "s2s" }
c2s_require_encryption = true
authentication = "anonymous"
`

// startTLSProsody serves every one of tlsHosts with its certificate.
func startTLSProsody(t *testing.T) int {
	t.Helper()
	bin, err := exec.LookPath("prosody")
	if err != nil {
		missing(t, fmt.Errorf("prosody: %w", errMissing))
	}
	dir, err := os.MkdirTemp(runDir, "prosody-tls-")
	if err != nil {
		t.Fatal(err)
	}
	certs := filepath.Join(dir, "certs")
	ca, err := testCA()
	if err := errors.Join(err, os.Mkdir(certs, 0o755)); err != nil {
		t.Fatal(err)
	}
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(tlsProsodyConfig, port)
	for _, h := range tlsHosts {
		f, err := ca.issue(certs, h.domain, h.expired, h.selfSigned, h.certName)
		if err != nil {
			t.Fatal(err)
		}
		config += fmt.Sprintf("VirtualHost %q\n\tssl = { certificate = %q; key = %q }\n", h.domain, f.cert, f.key)
	}
	file := filepath.Join(dir, "prosody.cfg.lua")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := startProcess("prosody-tls", dir, []string{"PROSODY_TEST_DIR=" + dir}, bin, "-F", "--config", file)
	if err != nil {
		t.Fatal(err)
	}
	p.logs = []string{filepath.Join(dir, "prosody.log")}
	showLogs(t, p)
	t.Cleanup(p.stop)
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	if err := until(ctx, "listener", p, listening(port)); err != nil {
		t.Fatal(err)
	}
	return port
}

// TestUpstreamCertificates: only a server with a valid certificate for the XMPP domain is spoken to.
//
// Covers: UP-011, UP-015, BOSH-068, WS-031.
func TestUpstreamCertificates(t *testing.T) {
	port := startTLSProsody(t)
	ca, err := testCA()
	if err != nil {
		t.Fatal(err)
	}
	var flags []string
	for _, h := range tlsHosts {
		flags = append(flags, "--domain", fmt.Sprintf("%s=xmpp://127.0.0.1:%d?ca=%s", h.domain, port, ca.file))
	}
	ep := ownGateway(t, flags...)
	for _, h := range tlsHosts {
		for _, kind := range transports {
			t.Run(strings.TrimSuffix(h.domain, ".tls.test")+"/"+kind, func(t *testing.T) {
				if h.good {
					newClient(t, kind, ep, h.domain).login("ANONYMOUS", "", "", "")
					return
				}
				expectRefusal(t, kind, ep, h.domain, "remote-connection-failed")
			})
		}
	}
}
