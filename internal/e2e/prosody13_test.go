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
)

// A session that is resumed while its server has read only a part of a stanza from the former connection is lost: Prosody reads
// what follows as the rest of it. It reads 4 KiB at a time unless it is told otherwise, so a burst is torn easily.
//
// prosody13Config is a Prosody with SASL2, FAST and stream management. Its arguments are the port, whether TLS is demanded,
// the directory, and the log level.
const prosody13Config = `local d = %[3]q
run_as_root = true
pidfile = d .. "/prosody.pid"
data_path = d .. "/data"
certificates = d .. "/certs"
log = { { levels = { min = %[4]q }, to = "file", filename = d .. "/prosody.log" } }
interfaces = { "127.0.0.1" }
c2s_ports = { %[1]d }
c2s_direct_tls_ports = {}
s2s_ports = {}
http_ports = {}
https_ports = {}
modules_enabled = { "roster"; "saslauth"; "tls"; "disco"; "ping"; "presence"; "message"; "iq"; "offline"; "smacks";
	"sasl2"; "sasl2_bind2"; "sasl2_sm"; "sasl2_fast" }
modules_disabled = { "s2s" }
c2s_require_encryption = %[2]t
allow_unencrypted_plain_auth = true
authentication = "internal_plain"
network_settings = { nagle = false }
gc = { threshold = 200 }
network_default_read_size = 65536
smacks_hibernation_time = 600
smacks_max_queue_size = 5000
VirtualHost "prosody13.test"
VirtualHost "anon.prosody13.test"
	authentication = "anonymous"
	storage = { fast_tokens = "memory" }
`

// startProsody13 runs the backported Prosody. With encrypt it takes no login in the clear.
func startProsody13(encrypt bool) (*server, error) {
	lua, err := exec.LookPath("lua5.4")
	if err != nil {
		return nil, fmt.Errorf("lua5.4 (package prosody): %w", errMissing)
	}
	root, err := unpacked("prosody")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(runDir, "prosody13-")
	if err != nil {
		return nil, err
	}
	bin, err := prosody13Script(root, dir)
	if err != nil {
		return nil, err
	}
	if err := prosody13Files(dir, fmt.Sprintf(prosody13Config, port, encrypt, dir, serverLog())); err != nil {
		return nil, err
	}
	p, err := startProcess("prosody13", dir, nil, lua, bin, "-F", "--config", filepath.Join(dir, "prosody.cfg.lua"))
	if err != nil {
		return nil, err
	}
	p.logs = []string{filepath.Join(dir, "prosody.log")}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := until(ctx, "listener", p, listening(port)); err != nil {
		return nil, err
	}
	return &server{
		name: "prosody13", domain: "prosody13.test", anonymous: "anon.prosody13.test", streamMgmt: true,
		mechanisms: []string{"PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"}, port: port, procs: []*process{p},
	}, nil
}

// prosody13Script is the server's start script with the directories of the unpacked package in it.
func prosody13Script(root, dir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(root, "usr", "bin", "prosody"))
	if err != nil {
		return "", err
	}
	lib := filepath.Join(root, "usr", "lib", "prosody")
	lines := strings.Split(string(b), "\n")
	for i, l := range lines {
		switch {
		case strings.HasPrefix(l, "CFG_SOURCEDIR="):
			lines[i] = fmt.Sprintf("CFG_SOURCEDIR='%s';", lib)
		case strings.HasPrefix(l, "CFG_PLUGINDIR="):
			lines[i] = fmt.Sprintf("CFG_PLUGINDIR='%s/modules/';", lib)
		}
	}
	bin := filepath.Join(dir, "prosody13")
	return bin, os.WriteFile(bin, []byte(strings.Join(lines, "\n")), 0o755)
}

func prosody13Files(dir, config string) error {
	ca, err := testCA()
	if err != nil {
		return err
	}
	accounts, certs := filepath.Join(dir, "data", "prosody13%2etest", "accounts"), filepath.Join(dir, "certs")
	if err := errors.Join(os.MkdirAll(accounts, 0o755), os.Mkdir(certs, 0o755)); err != nil {
		return err
	}
	for _, host := range []string{"prosody13.test", "anon.prosody13.test"} {
		if _, err := ca.issue(certs, host, false, false, host); err != nil {
			return err
		}
	}
	for n := range accountsPerServer {
		file := filepath.Join(accounts, accountName(n)+".dat")
		if err := os.WriteFile(file, fmt.Appendf(nil, "return { password = %q };\n", password), 0o600); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "prosody.cfg.lua"), []byte(config), 0o600)
}

// serverLog is the level at which servers log: E2E_SERVER_LOG, which may be debug; stanzas are then in their logs.
func serverLog() string {
	if level := os.Getenv("E2E_SERVER_LOG"); level != "" {
		return level
	}
	return "info"
}
