//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// haproxyConfig spreads requests over the replicas without stickiness and sends a POST again whose replica died before it
// answered: the balancer that makes life hardest for a long-polling session.
const haproxyConfig = `global
  maxconn 4000
defaults
  mode http
  timeout connect 1s
  timeout client 75s
  timeout server 75s
  timeout tunnel 1h
  timeout http-request 10s
  option http-keep-alive
frontend browsers
  bind 127.0.0.1:%d
  default_backend replicas
backend replicas
  balance roundrobin
  option redispatch
  retries 3
  retry-on conn-failure empty-response
  option httpchk GET /readyz
%s`

// startHAProxy runs HAProxy in front of the replicas and returns its port.
func startHAProxy(t *testing.T, replicas []*replica) int {
	t.Helper()
	if _, err := exec.LookPath("haproxy"); err != nil {
		missing(t, fmt.Errorf("haproxy: %w", errMissing))
	}
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for i, r := range replicas {
		fmt.Fprintf(&lines, "  server r%d 127.0.0.1:%d check port %d inter 200ms fall 1 rise 1\n", i, r.listen, r.admin)
	}
	dir, err := os.MkdirTemp(runDir, "haproxy-")
	if err != nil {
		t.Fatal(err)
	}
	cfg := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(cfg, fmt.Appendf(nil, haproxyConfig, port, lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := startProcess("haproxy", dir, nil, "haproxy", "-db", "-f", cfg)
	if err != nil {
		t.Fatal(err)
	}
	showLogs(t, p)
	t.Cleanup(p.stop)
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	if err := until(ctx, "listener", p, listening(port)); err != nil {
		t.Fatal(err)
	}
	return port
}
