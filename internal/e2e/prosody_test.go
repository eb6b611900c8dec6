//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

func isMissing(err error) bool { return errors.Is(err, errMissing) || errors.Is(err, exec.ErrNotFound) }

const prosodyConfig = `local d = os.getenv("PROSODY_TEST_DIR")
run_as_root = true
pidfile = d .. "/prosody.pid"
data_path = d .. "/data"
certificates = d .. "/certs"
log = { { levels = { min = "info" }, to = "file", filename = d .. "/prosody.log" } }
interfaces = { "127.0.0.1" }
c2s_ports = { %d }
c2s_direct_tls_ports = { %d }
s2s_ports = {}
http_ports = { %d }
http_interfaces = { "127.0.0.1" }
https_ports = {}
modules_enabled = { "roster"; "saslauth"; "tls"; "disco"; "ping"; "smacks"; "bosh"; "websocket" }
modules_disabled = { "s2s" }
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
consider_bosh_secure = true
consider_websocket_secure = true
authentication = "internal_plain"
http_default_host = "prosody.test"
VirtualHost "prosody.test"
VirtualHost "anon.prosody.test"
	authentication = "anonymous"
`

// startProsody runs Prosody with password accounts, an anonymous domain and a good certificate.
func startProsody() (*server, error) {
	bin, err := exec.LookPath("prosody")
	if err != nil {
		return nil, fmt.Errorf("prosody: %w", errMissing)
	}
	dir, ports, ca, err := premises("prosody", 3)
	if err != nil {
		return nil, err
	}
	accounts, certs := filepath.Join(dir, "data", "prosody%2etest", "accounts"), filepath.Join(dir, "certs")
	if err := errors.Join(os.MkdirAll(accounts, 0o755), os.MkdirAll(certs, 0o755)); err != nil {
		return nil, err
	}
	for _, host := range []string{"prosody.test", "anon.prosody.test"} {
		if _, err := ca.issue(certs, host, false, false, host); err != nil {
			return nil, err
		}
	}
	for n := range accountsPerServer {
		file := filepath.Join(accounts, accountName(n)+".dat")
		if err := os.WriteFile(file, fmt.Appendf(nil, "return { password = %q };\n", password), 0o600); err != nil {
			return nil, err
		}
	}
	cfg := filepath.Join(dir, "prosody.cfg.lua")
	if err := os.WriteFile(cfg, fmt.Appendf(nil, prosodyConfig, ports[0], ports[1], ports[2]), 0o600); err != nil {
		return nil, err
	}
	p, err := startProcess("prosody", dir, []string{"PROSODY_TEST_DIR=" + dir}, bin, "-F", "--config", cfg)
	if err != nil {
		return nil, err
	}
	p.logs = []string{filepath.Join(dir, "prosody.log")}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for _, port := range ports {
		if err := until(ctx, "listener", p, listening(port)); err != nil {
			return nil, err
		}
	}
	return &server{
		name: "prosody", domain: "prosody.test", anonymous: "anon.prosody.test", streamMgmt: true,
		mechanisms: []string{"PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"},
		port:       ports[0], tlsPort: ports[1], procs: []*process{p},
		native: nativeURLs(ports[2]),
	}, nil
}

// nativeURLs are the server's own endpoints, which Prosody and ejabberd are told to serve under the same paths.
func nativeURLs(port int) map[string]string {
	return map[string]string{
		"bosh":      fmt.Sprintf("http://127.0.0.1:%d/http-bind", port),
		"websocket": fmt.Sprintf("ws://127.0.0.1:%d/xmpp-websocket", port),
	}
}
