package storetest

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// StartCluster starts a Redis Cluster of three masters.
func StartCluster(t testing.TB) []*Server {
	t.Helper()
	const (
		masters = 3
		slots   = 16384
	)
	nodes := make([]*Server, masters)
	buses := make([]int, masters)
	for i := range nodes {
		buses[i] = FreePort(t)
		nodes[i] = StartRedis(t, "--cluster-enabled", "yes", "--cluster-port", fmt.Sprint(buses[i]),
			"--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "2000")
	}
	for i, n := range nodes {
		n.Must(t, fmt.Sprintf("CLUSTER ADDSLOTSRANGE %d %d", i*slots/masters, (i+1)*slots/masters-1))
		n.Must(t, fmt.Sprintf("CLUSTER MEET 127.0.0.1 %d %d", nodes[0].Port, buses[0]))
	}
	for _, n := range nodes {
		Until(t, "cluster", func() bool {
			info, err := n.Command("CLUSTER INFO")
			return err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:3")
		})
	}
	return nodes
}

// Sentinels are a master, its replica, and the Sentinel that watches them.
type Sentinels struct {
	Master, Replica, Sentinel *Server
	Name                      string // of the master
}

// StartSentinels starts them; a fail-over takes about two seconds.
func StartSentinels(t testing.TB) *Sentinels {
	t.Helper()
	need(t, "redis-server", "redis-sentinel")
	s := &Sentinels{Name: "sessions"}
	s.Master = StartRedis(t)
	s.Replica = StartRedis(t, "--replicaof", "127.0.0.1", fmt.Sprint(s.Master.Port))
	s.Sentinel = &Server{Port: FreePort(t), Dir: t.TempDir(), program: "redis-sentinel"}
	config := fmt.Sprintf(`port %d
bind 127.0.0.1
dir %s
sentinel monitor %[3]s 127.0.0.1 %[4]d 1
sentinel down-after-milliseconds %[3]s 1000
sentinel failover-timeout %[3]s 5000
`, s.Sentinel.Port, s.Sentinel.Dir, s.Name, s.Master.Port)
	file := filepath.Join(s.Sentinel.Dir, "sentinel.conf")
	write(t, file, config)
	s.Sentinel.args = []string{file}
	Until(t, "replication", func() bool {
		info, err := s.Replica.Command("INFO replication")
		return err == nil && strings.Contains(info, "master_link_status:up")
	})
	s.Sentinel.Start(t)
	t.Cleanup(func() { s.Sentinel.Kill() })
	Until(t, "Sentinel", func() bool {
		info, err := s.Sentinel.Command("INFO sentinel")
		return err == nil && strings.Contains(info, "slaves=1")
	})
	return s
}

// MoveSlot moves the slot of a key, with the key in it, to another node.
func MoveSlot(t testing.TB, nodes []*Server, key string) {
	t.Helper()
	slot := strings.TrimPrefix(nodes[0].Must(t, "CLUSTER KEYSLOT "+key), ":")
	var from, to *Server
	for _, n := range nodes {
		if n.Must(t, "CLUSTER COUNTKEYSINSLOT "+slot) != ":0" {
			from = n
		} else {
			to = n
		}
	}
	if from == nil || to == nil {
		t.Fatalf("slot %s: no node has the key", slot)
	}
	id := func(n *Server) string { return n.Must(t, "CLUSTER MYID") }
	to.Must(t, "CLUSTER SETSLOT "+slot+" IMPORTING "+id(from))
	from.Must(t, "CLUSTER SETSLOT "+slot+" MIGRATING "+id(to))
	from.Must(t, fmt.Sprintf("MIGRATE 127.0.0.1 %d %s 0 2000", to.Port, key))
	for _, n := range nodes {
		n.Must(t, "CLUSTER SETSLOT "+slot+" NODE "+id(to))
	}
}
