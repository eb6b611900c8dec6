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
	if _, err := exec.LookPath("redis-server"); err != nil {
		missing(t, fmt.Errorf("redis-server: %w", errMissing))
	}
	dir, err := os.MkdirTemp(runDir, "redis-")
	if err != nil {
		t.Fatal(err)
	}
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	r := &redisServer{dir: dir, port: port, aof: persistent, flags: flags}
	r.start(t)
	t.Cleanup(func() { r.proc.stop() })
	return r
}

func (r *redisServer) start(t *testing.T) {
	t.Helper()
	args := []string{"--port", fmt.Sprint(r.port), "--bind", "127.0.0.1", "--save", "", "--dir", r.dir, "--appendonly", "no"}
	if r.aof {
		args = append(args[:len(args)-1], "yes", "--appendfsync", "always")
	}
	args = append(args, r.flags...)
	p, err := startProcess("redis", r.dir, nil, "redis-server", args...)
	if err != nil {
		t.Fatal(err)
	}
	r.proc = p
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := until(ctx, "listener", p, listening(r.port)); err != nil {
		t.Fatal(err)
	}
}
