//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// subject is one thing that stands between the load and a server, or a server with endpoints of its own.
type subject struct {
	name     string
	domain   string
	accounts int                      // 0: everybody is let in
	light    bool                     // too slow for the full load: fewer sessions, and fewer logins at a time
	start    func() (instance, error) // another one of it; nil: there is one only
	polls    bool                     // the cost of an empty poll is measured
	other    string                   // BOSH endpoint of another replica
	stored   bool                     // its sessions are in Redis
	failure  error                    // it could not be started
	instance
}

// instance is what runs of a subject.
type instance struct {
	url   string
	admin string
	procs []*process
	fresh int64 // bytes of memory before any load; 0 for a server that there is one of
}

func (i instance) stop() {
	for _, p := range i.procs {
		p.stop()
	}
}

// begin notes what memory something has that was started, unless with an error.
func begin(p *process, url, admin string, err error) (instance, error) {
	i := instance{url: url, admin: admin}
	if p != nil {
		i.procs = []*process{p}
	}
	if err == nil {
		i.fresh, err = memoryOf(i.procs)
	}
	return i, err
}

// The names of those subjects that targets are about.
const (
	nameRelay     = "TCP relay"
	nameManaged   = "stanzagate, bosh, XEP-0198"
	nameResumable = "stanzagate, bosh, XEP-0198, resumable on Redis"
)

// nameOf is the gateway's name by transport.
func nameOf(kind string) string { return "stanzagate, " + kind }

// nameOfTLS is the same with TLS.
func nameOfTLS(kind string) string { return nameOf(kind) + ", TLS both ways" }

// benchSubjects starts what is measured. The relay, which is the yardstick, comes first, then the gateway.
func benchSubjects(t *testing.T, b *benchPlan) (list []*subject) {
	to := startStubs(t)
	plain := fmt.Sprintf("127.0.0.1:%d", to.plain)
	list = append(list, &subject{name: nameRelay, domain: stubDomain, start: func() (instance, error) {
		p, port, err := startBench("relay", "--to", plain)
		return begin(p, fmt.Sprintf("tcp://127.0.0.1:%d", port), "", err)
	}})
	for _, kind := range transports {
		list = append(list, gatewaySubject(nameOf(kind), kind, "--domain", stubDomain+"=xmpp://"+plain+"?tls=none"))
	}
	for _, kind := range transports {
		list = append(list, tlsSubject(to, kind))
	}
	list = append(list, &subject{name: "HAProxy, mode tcp", domain: stubDomain, start: func() (instance, error) {
		p, port, err := startBenchHAProxy(to.plain)
		return begin(p, fmt.Sprintf("tcp://127.0.0.1:%d", port), "", err)
	}})
	list = append(list, resumableSubjects(t, to.managed)...)
	if b.others {
		list = append(list, nativeSubjects()...)
	}
	chosen := list[:1]
	for _, s := range list[1:] {
		if b.only.MatchString(s.name) {
			chosen = append(chosen, s)
		}
	}
	for _, s := range chosen {
		if s.start != nil && s.failure == nil {
			s.instance, s.failure = s.start()
		}
		if s.failure == nil && s.stored {
			var second instance
			second, s.failure = s.start()
			s.other = second.url
		}
	}
	return chosen
}

func gatewaySubject(name, kind string, flags ...string) *subject {
	return &subject{name: name, domain: stubDomain, polls: name == nameOf("bosh"), start: func() (instance, error) {
		ep, p, err := startBenchGateway(flags...)
		return begin(p, ep.urls()[kind], ep.admin, err)
	}}
}

func tlsSubject(to stubs, kind string) *subject {
	return &subject{name: nameOfTLS(kind), domain: stubDomain, start: func() (instance, error) {
		port, err := freePort()
		if err != nil {
			return instance{}, err
		}
		at := fmt.Sprintf("127.0.0.1:%d", port)
		plain, p, err := startBenchGateway("--tls.listen", at, "--tls.cert", to.cert.cert, "--tls.key", to.cert.key,
			"--domain", fmt.Sprintf("%s=xmpps://127.0.0.1:%d?ca=%s", stubDomain, to.secure, to.ca))
		ep := endpoint{bosh: "https://" + at + "/http-bind", websocket: "wss://" + at + "/xmpp-websocket"}
		return begin(p, ep.urls()[kind], plain.admin, err)
	}}
}

// resumableSubjects are the gateway in front of a stub with XEP-0198, first with sessions that die with it and then with
// sessions that are in Redis. The gateway alone is measured.
func resumableSubjects(t *testing.T, port int) []*subject {
	t.Helper()
	setting := fmt.Sprintf("%s=xmpp://127.0.0.1:%d?tls=none", stubDomain, port)
	key := failoverKey(t)
	redis, err := runRedis(false)
	n := 0
	resumable := &subject{name: nameResumable, domain: stubDomain, stored: true, failure: err, start: func() (instance, error) {
		replicaPort, err := freePort()
		if err != nil {
			return instance{}, err
		}
		at := fmt.Sprintf("127.0.0.1:%d", replicaPort)
		n++
		ep, p, err := startBenchGateway("--domain", setting+"&reauth=password", "--redis", redis.url(), "--failover.key", key,
			"--replica.id", fmt.Sprintf("bench%d", n), "--replica.listen", at, "--replica.advertise", at)
		return begin(p, ep.bosh, ep.admin, err)
	}}
	return []*subject{gatewaySubject(nameManaged, "bosh", "--domain", setting), resumable}
}

var errNothingStored = errors.New("no session was stored in Redis")

// mustHaveStored proves that sessions which should be resumable were.
func (s *subject) mustHaveStored() error {
	resp, err := http.Get(s.admin + "/metrics")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(string(b), "\nstanzagate_store_calls_total{op=\"persist\",outcome=\"ok\"} ")
	line, _, _ := strings.Cut(rest, "\n")
	if n, err := strconv.ParseFloat(line, 64); err != nil || n == 0 {
		return errNothingStored
	}
	return nil
}

// nativeSubjects are real servers' own endpoints, with what the server itself does in their figures.
func nativeSubjects() (list []*subject) {
	for _, name := range []string{"prosody", "ejabberd"} {
		s, err := servers[name]()
		for _, kind := range transports {
			own := &subject{name: name + "'s own " + kind, accounts: accountsPerServer, light: true, failure: err}
			if err == nil {
				own.domain, own.url, own.procs = s.domain, s.native[kind], s.procs
			}
			list = append(list, own)
		}
	}
	return list
}

// startBench starts a server of the bench command on a free port.
func startBench(name string, args ...string) (*process, int, error) {
	bin, err := gatewayBinary()
	if err != nil {
		return nil, 0, err
	}
	port, err := freePort()
	if err != nil {
		return nil, 0, err
	}
	p, err := startProcess(name, runDir, nil, bin, append([]string{"bench", name, "--listen", fmt.Sprintf("127.0.0.1:%d", port)}, args...)...)
	return p, port, awaitPort(p, port, err)
}

// stubs are the servers behind what is measured: nothing but routing, in the clear, by direct TLS, and with XEP-0198.
type stubs struct {
	plain, secure, managed int // ports
	ca                     string
	cert                   certFiles
}

const stubDomain = "stub.test"

// startStubs ends the test if they do not start: nothing could be measured.
func startStubs(t *testing.T) stubs {
	t.Helper()
	ca, err := testCA()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.issue(runDir, stubDomain, false, false, stubDomain)
	if err != nil {
		t.Fatal(err)
	}
	s := stubs{ca: ca.file, cert: cert}
	for _, stub := range []struct {
		port *int
		args []string
	}{
		{&s.plain, nil}, {&s.secure, []string{"--cert", cert.cert, "--key", cert.key}}, {&s.managed, []string{"--stream-management"}},
	} {
		if _, *stub.port, err = startBench("stub", append(stub.args, "--domain", stubDomain)...); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// startBenchGateway starts a gateway without limits.
func startBenchGateway(flags ...string) (endpoint, *process, error) {
	return startGateway(append([]string{"--limit.sessions-per-address", "0", "--limit.creations-per-address", "0", "--log.level", "warn"}, flags...)...)
}

// urls are an endpoint's by transport.
func (e endpoint) urls() map[string]string {
	return map[string]string{"websocket": e.websocket, "bosh": e.bosh}
}

// startBenchHAProxy runs HAProxy as a plain TCP proxy.
func startBenchHAProxy(to int) (*process, int, error) {
	if _, err := exec.LookPath("haproxy"); err != nil {
		return nil, 0, err
	}
	port, err := freePort()
	if err != nil {
		return nil, 0, err
	}
	config := filepath.Join(runDir, fmt.Sprintf("haproxy-%d.cfg", port))
	text := fmt.Sprintf("global\n maxconn 9900\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 1h\n timeout server 1h\n"+
		"listen relay\n bind 127.0.0.1:%d\n server stub 127.0.0.1:%d\n", port, to)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, 0, err
	}
	p, err := startProcess("haproxy", runDir, nil, "haproxy", "-db", "-f", config)
	return p, port, awaitPort(p, port, err)
}
