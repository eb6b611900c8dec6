//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// redisServer is one redis-server that a test can kill and start again on the same port and directory.
type redisServer struct {
	dir   string
	port  int
	aof   bool // keeps what it acknowledged over a restart
	flags []string
	proc  *process
}

func (r *redisServer) url() string { return fmt.Sprintf("redis://127.0.0.1:%d/0", r.port) }

func startRedis(t *testing.T, persistent bool, flags ...string) *redisServer {
	t.Helper()
	r, err := runRedis(persistent, flags...)
	need(t, err)
	t.Cleanup(func() { r.proc.stop() })
	return r
}

// runRedis is startRedis for who can do without.
func runRedis(persistent bool, flags ...string) (*redisServer, error) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return nil, fmt.Errorf("redis-server: %w", errMissing)
	}
	dir, err := os.MkdirTemp(runDir, "redis-")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	r := &redisServer{dir: dir, port: port, aof: persistent, flags: flags}
	return r, r.run()
}

func (r *redisServer) start(t *testing.T) {
	t.Helper()
	if err := r.run(); err != nil {
		t.Fatal(err)
	}
}

func (r *redisServer) run() error {
	args := []string{"--port", fmt.Sprint(r.port), "--bind", "127.0.0.1", "--save", "", "--dir", r.dir, "--appendonly", "no"}
	if r.aof {
		args = append(args[:len(args)-1], "yes", "--appendfsync", "always")
	}
	args = append(args, r.flags...)
	p, err := startProcess("redis", r.dir, nil, "redis-server", args...)
	if err != nil {
		return err
	}
	r.proc = p
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	return until(ctx, "listener", p, listening(r.port))
}
