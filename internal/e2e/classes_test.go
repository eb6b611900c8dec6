//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// externalServer is an ejabberd that takes certificates of the test authority for its users on one of its ports.
type externalServer struct {
	*server
	setting string // of the gateway, for that port
}

var startExternal = sync.OnceValues(func() (externalServer, error) {
	ca, err := testCA()
	if err != nil {
		return externalServer{}, err
	}
	keyFile, err := ca.withKey()
	if err != nil {
		return externalServer{}, err
	}
	port, err := freePort()
	if err != nil {
		return externalServer{}, err
	}
	s, err := runEjabberd(ejabberdVersion{name: "ejabberd-external", domain: "ejabberd.test", listeners: fmt.Sprintf(
		"  - {port: %d, ip: \"127.0.0.1\", module: ejabberd_c2s, shaper: none, access: c2s, starttls: true, tls_verify: true, cafile: %q}\n", port, ca.file)})
	if err != nil {
		return externalServer{}, err
	}
	return externalServer{s, fmt.Sprintf("%s=xmpp://127.0.0.1:%d?ca=%s&reauth=external&reauth-ca=%s", s.domain, port, ca.file, keyFile)}, nil
})

// externalEjabberd returns that server, which is started once per run, and the setting of a gateway that makes use of it.
func externalEjabberd(t *testing.T) (*server, string) {
	t.Helper()
	s, err := startExternal()
	need(t, err)
	showLogs(t, s.procs...)
	return s.server, s.setting
}

// TestClasses: sessions of each class that can be taken over outlive their replicas without losing anything. `make chaos` kills
// more of them; what it prints are the times of takeovers when there is little else to do.
//
// Covers: UP-122, UP-125.
func TestClasses(t *testing.T) {
	ca, err := testCA()
	if err != nil {
		t.Fatal(err)
	}
	type classCase struct {
		name, class string
		s           *server
		setting     string
		mechanisms  []string
	}
	kills := number(t, "E2E_CLASSES_KILLS", 3)
	prosody, prosody13, ejabberd24 := getServer(t, "prosody"), ownServer(t, func() (*server, error) { return startProsody13(true) }), ownServer(t, startEjabberd24)
	ejabberd, external := externalEjabberd(t)
	for _, c := range []classCase{
		{"prosody 0.12", "password", prosody, prosody.setting(prosody.domain, ca.file) + "&reauth=password", []string{"PLAIN"}},
		{"ejabberd 23.01", "password", ejabberd, ejabberd.setting(ejabberd.domain, ca.file) + "&reauth=password", []string{"PLAIN"}},
		{"ejabberd 23.01", "external", ejabberd, external, []string{"SCRAM-SHA-1", "PLAIN"}},
		{"prosody 13", "fast", prosody13, prosody13.setting(prosody13.domain, ca.file), []string{"SCRAM-SHA-1", "PLAIN"}},
		{"ejabberd 24.12", "fast", ejabberd24, ejabberd24.setting(ejabberd24.domain, ca.file), []string{"SCRAM-SHA-1", "PLAIN"}},
	} {
		t.Run(c.name+" "+c.class, func(t *testing.T) {
			replicas, ep := startCluster(t, startRedis(t, true), c.setting)
			figures := newFigures(replicas)
			load := newTraffic(t, c.s, ep, 6, c.mechanisms...)
			if n := sumOf(t, replicas, fmt.Sprintf("stanzagate_session_classes{class=%q}", c.class)); n != 7 {
				t.Errorf("%v sessions of class %s, want 7", n, c.class)
			}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var wg sync.WaitGroup
			wg.Go(func() { load.talk(ctx) })
			wg.Go(func() {
				defer stop()
				for n := range kills {
					r := replicas[n%len(replicas)]
					wait(ctx, 500*time.Millisecond)
					figures.collectFrom(r)
					figures.kills.Add(1)
					r.kill()
					wait(ctx, 500*time.Millisecond)
					r.mustStart(t)
				}
			})
			wg.Wait()
			load.settle()
			figures.collect()
			fmt.Printf("takeovers: %s, class %s: %d messages, %s; %s\n", c.name, c.class, load.received.Load(), load.irregular(), figures)
			if figures.sum("stanzagate_takeover_seconds_count") == 0 {
				t.Error("no session was taken over")
			}
		})
	}
}

// TestClassNone: who cannot be taken over is told so by what libraries take as a reason to log in again, and can.
//
// Covers: BOSH-142, XBOSH-019, UP-130.
func TestClassNone(t *testing.T) {
	ca, err := testCA()
	if err != nil {
		t.Fatal(err)
	}
	jabberd2, prosody := getServer(t, "jabberd2"), getServer(t, "prosody")
	for _, c := range []struct {
		name, mechanism string
		s               *server
		setting         string
	}{
		{"no XEP-0198", "PLAIN", jabberd2, fmt.Sprintf("%s=xmpp://127.0.0.1:%d?ca=%s", jabberd2.domain, jabberd2.port, ca.file)},
		{"no password to keep", "SCRAM-SHA-1", prosody, prosody.setting(prosody.domain, ca.file) + "&reauth=password"},
	} {
		t.Run(c.name, func(t *testing.T) {
			replicas, ep := startCluster(t, startRedis(t, true), c.setting)
			user := c.s.account(t)
			before := stubbornClient(t, ep, c.s.domain, true)
			before.login(c.mechanism, user, password, "before")
			owner := replicas[0]
			for _, r := range replicas {
				if metric(t, r, `stanzagate_session_classes{class="none"}`) == 1 {
					owner = r
				}
			}
			owner.kill()
			_ = before.tr.send(before.ctx(), `<presence xmlns="jabber:client"/>`) // it may know by now
			var told *errTerminated
			if err := before.in.ended(before.ctx()); !errors.As(err, &told) || told.condition != "item-not-found" {
				t.Fatalf("the session ended with %v", err)
			}
			after := stubbornClient(t, ep, c.s.domain, true)
			after.login(c.mechanism, user, password, "after")
			owner.mustStart(t)
		})
	}
}

// startCluster runs three replicas with one domain behind HAProxy.
func startCluster(t *testing.T, redis store, setting string, flags ...string) ([]*replica, endpoint) {
	t.Helper()
	replicas := startReplicas(t, 3, redis, append([]string{"--domain", setting, "--bosh.inactivity", "60s"}, flags...)...)
	port := startHAProxy(t, replicas)
	t.Cleanup(func() {
		if t.Failed() {
			for _, r := range replicas {
				t.Log(r.process().tail(4000))
			}
		}
	})
	return replicas, endpoint{bosh: fmt.Sprintf("http://127.0.0.1:%d/http-bind", port), websocket: fmt.Sprintf("ws://127.0.0.1:%d/xmpp-websocket", port)}
}

// metric reads one series of a replica.
func metric(t *testing.T, r *replica, series string) float64 {
	t.Helper()
	f := newFigures(nil)
	f.collectFrom(r)
	return f.sum(series)
}

func sumOf(t *testing.T, replicas []*replica, series string) (sum float64) {
	t.Helper()
	for _, r := range replicas {
		sum += metric(t, r, series)
	}
	return sum
}

// readiness is what /readyz says: the status and the reason.
func (r *replica) readiness() (int, string) {
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/readyz", r.admin))
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body) // what came will do
	return resp.StatusCode, strings.TrimSpace(string(b))
}
