//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sentinelStore is a Redis master, its replica, and a Sentinel that puts the one in the place of the other.
type sentinelStore struct {
	master *redisServer
	port   int
}

func (s *sentinelStore) url() string {
	return fmt.Sprintf("redis+sentinel://127.0.0.1:%d/sessions", s.port)
}

const sentinelConfig = `port %d
bind 127.0.0.1
dir %q
sentinel monitor sessions 127.0.0.1 %d 1
sentinel down-after-milliseconds sessions 1000
sentinel failover-timeout sessions 10000
`

func startSentinelStore(t *testing.T) *sentinelStore {
	t.Helper()
	if _, err := exec.LookPath("redis-sentinel"); err != nil {
		missing(t, fmt.Errorf("redis-sentinel: %w", errMissing))
	}
	s := &sentinelStore{master: startRedis(t, true)}
	second := startRedis(t, true, "--replicaof", "127.0.0.1", fmt.Sprint(s.master.port))
	var err error
	if s.port, err = freePort(); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(runDir, "sentinel-")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "sentinel.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, sentinelConfig, s.port, dir, s.master.port), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := startProcess("sentinel", dir, nil, "redis-sentinel", file)
	if err != nil {
		t.Fatal(err)
	}
	showLogs(t, p, second.proc)
	t.Cleanup(p.stop)
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	knows := func() bool {
		return redisSays(s.port, "INFO sentinel", "slaves=1") && redisSays(second.port, "INFO replication", "master_link_status:up")
	}
	if err := until(ctx, "a replica known to the Sentinel", p, knows); err != nil {
		t.Fatal(err)
	}
	return s
}

// redisSays asks a Redis server or a Sentinel, and looks for a text in the beginning of its answer.
func redisSays(port int, question, text string) bool {
	c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := io.WriteString(c, question+"\r\n"); err != nil {
		return false
	}
	b := make([]byte, 4096)
	n, _ := c.Read(b)
	return strings.Contains(string(b[:n]), text)
}

// TestStoreFailover: the master dies and Sentinel puts its replica in its place. Nobody talks in that moment, since Redis may
// forget what it acknowledged last (failover-design 12).
//
// Covers: UP-123.
func TestStoreFailover(t *testing.T) {
	redis := startSentinelStore(t)
	c := startStoreCluster(t, redis)
	c.flows(stepTimeout)
	c.stop()
	c.talking.Wait()
	time.Sleep(500 * time.Millisecond) // for what is on its way to the second server
	_ = redis.master.proc.cmd.Process.Kill()
	<-redis.master.proc.done
	c.awaitReadiness(http.StatusServiceUnavailable, stepTimeout)
	c.awaitReadiness(http.StatusOK, startTimeout)
	c.talk()
	c.flows(startTimeout)
	c.settle()
}
