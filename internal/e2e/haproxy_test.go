//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
)

// haproxyConfig is the one that we give to operators. It spreads requests over the replicas without stickiness and sends a
// POST again whose replica died before it answered: the balancer that makes life hardest for a long-polling session.
const haproxyConfig = "../../deploy/haproxy.cfg"

// startHAProxy runs HAProxy in front of three replicas and returns its port.
func startHAProxy(t *testing.T, replicas []*replica) int {
	t.Helper()
	if _, err := exec.LookPath("haproxy"); err != nil {
		missing(t, fmt.Errorf("haproxy: %w", errMissing))
	}
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := filepath.Abs(haproxyConfig)
	if err != nil {
		t.Fatal(err)
	}
	env := []string{fmt.Sprintf("BIND=127.0.0.1:%d", port)}
	for i, r := range replicas {
		env = append(env, fmt.Sprintf("REPLICA_%d=127.0.0.1:%d", i+1, r.listen), fmt.Sprintf("ADMIN_PORT_%d=%d", i+1, r.admin))
	}
	p, err := startProcess("haproxy", runDir, env, "haproxy", "-db", "-f", cfg)
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
