package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// run_as_root only matters in containers; Prosody hangs without it there.
const prosodyConfig = `local d = os.getenv("DEMO_DIR")
run_as_root = true
pidfile = d .. "/prosody.pid"
data_path = d .. "/data"
log = { { levels = { min = "info" }, to = "console" } }
interfaces = { "127.0.0.1" }
c2s_ports = { %s }
s2s_ports = {}
http_ports = {}
https_ports = {}
modules_enabled = { "roster"; "saslauth"; "disco"; "ping"; "smacks" }
modules_disabled = { "s2s" }
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_plain"
VirtualHost "localhost"
VirtualHost "guest.localhost"
	authentication = "anonymous"
`

// findProsody installs Prosody where it is missing.
func findProsody(ctx context.Context) (string, error) {
	if path, err := exec.LookPath("prosody"); err == nil {
		return path, nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return "", errors.New("prosody is not installed, and without apt-get it has to be installed by hand")
	}
	var sudo []string
	if os.Geteuid() != 0 {
		sudo = []string{"sudo"}
	}
	for _, step := range [][]string{
		{"apt-get", "update", "-qq"},
		{"env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-qq", "--no-install-recommends", "prosody"},
	} {
		step = append(append([]string{}, sudo...), step...)
		fmt.Println("+", step)
		if err := command(ctx, step...).Run(); err != nil {
			return "", fmt.Errorf("%v: %w", step, err)
		}
	}
	return exec.LookPath("prosody")
}

// startProsody serves alice, bob and guests on one plain loopback port.
func startProsody(ctx context.Context, binary, dir, addr string) (*child, error) {
	accounts := filepath.Join(dir, "data", "localhost", "accounts")
	if err := os.MkdirAll(accounts, 0o700); err != nil {
		return nil, err
	}
	for _, user := range []string{"alice", "bob"} {
		if err := os.WriteFile(filepath.Join(accounts, user+".dat"), []byte("return { password = \"secret\" };\n"), 0o600); err != nil {
			return nil, err
		}
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "prosody.cfg.lua")
	if err := os.WriteFile(config, fmt.Appendf(nil, prosodyConfig, port), 0o600); err != nil {
		return nil, err
	}
	c, err := start("prosody", dir, []string{"DEMO_DIR=" + dir}, binary, "-F", "--config", config)
	if err != nil {
		return nil, err
	}
	return c, c.ready(ctx, func() bool {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
}
