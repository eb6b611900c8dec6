//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestFrozenOwner: a replica that was frozen for longer than its lease wakes, and neither answers for its former sessions, ends
// one, nor makes worthless by what they are resumed. The same where another process has taken its name meanwhile.
//
// Covers: UP-127, UP-094, UP-097.
func TestFrozenOwner(t *testing.T) {
	s := ownServer(t, func() (*server, error) { return startProsody13(false) })
	setting := fmt.Sprintf("%s=xmpp://127.0.0.1:%d?tls=none", s.domain, s.port)
	replicas, ep := startCluster(t, startRedis(t, true), setting)
	load := newTraffic(t, s, ep, 8)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { load.talk(ctx) })
	const given = "stanzagate_stood_down_total"

	frozen := ownerOf(t, replicas)
	talking := metric(t, frozen, `stanzagate_sessions{transport="bosh"}`) - 1 // the witness only listens, and stays if it is there
	frozen.freeze()
	wait(ctx, frozenFor)
	frozen.thaw()
	soon, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	if err := until(soon, "standing down", frozen.process(), func() bool { return metric(t, frozen, given) >= talking }); err != nil {
		t.Error(err)
	}

	// Another process under its name: the first one must not come back.
	frozen = ownerOf(t, replicas)
	frozen.freeze()
	twin := frozen.twin(t)
	t.Cleanup(twin.kill)
	if err := twin.ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	wait(ctx, time.Second)
	frozen.thaw()
	soon, cancel = context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	if err := until(soon, "a reason for not being ready", frozen.process(), func() bool { n, _ := frozen.readiness(); return n == http.StatusServiceUnavailable }); err != nil {
		t.Error(err)
	}
	wait(ctx, time.Second)
	stop()
	wg.Wait()
	load.settle()
	for _, series := range []string{"record", "sign-in", "server", "unreachable"} {
		if n := sumOf(t, append(slices.Clone(replicas), twin), fmt.Sprintf("stanzagate_sessions_lost_total{cause=%q}", series)); n > 0 {
			t.Errorf("%v sessions lost: %s", n, series)
		}
	}
}

// ownerOf returns the replica with the most sessions.
func ownerOf(t *testing.T, replicas []*replica) *replica {
	t.Helper()
	return slices.MaxFunc(replicas, func(a, b *replica) int {
		const series = `stanzagate_sessions{transport="bosh"}`
		return int(metric(t, a, series) - metric(t, b, series))
	})
}

// twin starts another process with the same id on other ports.
func (r *replica) twin(t *testing.T) *replica {
	t.Helper()
	ports, err := freePorts(3)
	if err != nil {
		t.Fatal(err)
	}
	o := &replica{name: r.name, listen: ports[0], admin: ports[1], replicaPort: ports[2], flags: slices.Clone(r.flags)}
	for i, flag := range o.flags[:len(o.flags)-1] {
		port := map[string]int{"--listen": o.listen, "--admin.listen": o.admin, "--replica.listen": o.replicaPort, "--replica.advertise": o.replicaPort}[flag]
		if port != 0 {
			o.flags[i+1] = fmt.Sprintf("127.0.0.1:%d", port)
		}
	}
	if err := o.start(); err != nil {
		t.Fatal(err)
	}
	return o
}
