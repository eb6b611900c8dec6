//go:build e2e

package e2e

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// replica is one gateway of several on one Redis. It can be killed, frozen, drained and started again on its ports.
type replica struct {
	name                       string
	listen, admin, replicaPort int
	flags                      []string

	mu     sync.Mutex
	proc   *process
	frozen bool
}

// failoverKey makes the key that all replicas of a test share.
func failoverKey(t *testing.T) string {
	t.Helper()
	var key [32]byte
	_, err := rand.Read(key[:])
	file := filepath.Join(t.TempDir(), "failover.key")
	if err := errors.Join(err, os.WriteFile(file, key[:], 0o600)); err != nil {
		t.Fatal(err)
	}
	return file
}

// store is where replicas find Redis.
type store interface{ url() string }

// startReplicas runs n gateways with the flags on one Redis.
func startReplicas(t *testing.T, n int, redis store, flags ...string) []*replica {
	t.Helper()
	ports, err := freePorts(3 * n)
	if err != nil {
		t.Fatal(err)
	}
	key := failoverKey(t)
	replicas := make([]*replica, n)
	for i := range replicas {
		r := &replica{name: fmt.Sprintf("r%d", i), listen: ports[3*i], admin: ports[3*i+1], replicaPort: ports[3*i+2]}
		r.flags = append([]string{
			"serve", "--listen", fmt.Sprintf("127.0.0.1:%d", r.listen), "--admin.listen", fmt.Sprintf("127.0.0.1:%d", r.admin),
			"--replica.id", r.name, "--replica.listen", fmt.Sprintf("127.0.0.1:%d", r.replicaPort),
			"--replica.advertise", fmt.Sprintf("127.0.0.1:%d", r.replicaPort),
			"--redis", redis.url(), "--failover.key", key, "--log.format", "json", "--log.level", "info",
			"--limit.sessions-per-address", "0", "--limit.creations-per-address", "0",
		}, flags...)
		replicas[i] = r
		if err := r.start(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		var wg sync.WaitGroup
		for _, r := range replicas {
			wg.Go(r.kill)
		}
		wg.Wait()
	})
	for _, r := range replicas {
		if err := r.ready(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return replicas
}

func (r *replica) start() error {
	bin, err := gatewayBinary()
	if err != nil {
		return err
	}
	p, err := startProcess(r.name, runDir, nil, bin, r.flags...)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.proc, r.frozen = p, false
	return nil
}

// ready waits until the replica takes sessions.
func (r *replica) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return until(ctx, "readiness", r.process(), func() bool {
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/readyz", r.admin))
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

func (r *replica) process() *process {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.proc
}

func (r *replica) signal(sig syscall.Signal) { _ = r.process().cmd.Process.Signal(sig) }

// kill is kill -9, and waits until the process is gone.
func (r *replica) kill() {
	p := r.process()
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (r *replica) freeze() {
	r.signal(syscall.SIGSTOP)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frozen = true
}

func (r *replica) thaw() {
	r.signal(syscall.SIGCONT)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frozen = false
}
