//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The system benchmark: `make bench-system`. It starts a stub server, a plain TCP relay, HAProxy and the gateway, and takes
// the same load over each in turn, round after round, so that a machine whose speed drifts does not favour anybody. Then it
// takes a fixed load over more and more sessions. Figures are medians over the rounds; × is the median of the rounds' ratios
// to the relay. E2E_BENCH_ROUNDS sets the rounds, E2E_BENCH_OTHERS=1 measures the servers' own endpoints too,
// E2E_BENCH_GROWTH=1 how cost grows with sessions; E2E_BENCH_OUT=FILE writes FILE.md, FILE.json and FILE.svg.

// subject is one thing that stands between the load and a server, or a server with endpoints of its own.
type subject struct {
	name     string
	url      string
	domain   string
	accounts int // 0: everybody is let in
	procs    []*process
	light    bool     // too slow for the full load: fewer sessions
	fresh    int64    // bytes of memory before any load
	quiet    *subject // another one, for idle sessions; nil: this one
}

// idle measures sessions that do nothing.
func (s *subject) idle(sessions int, result *idleResult) (kibPerSession float64, err error) {
	if s.quiet != nil {
		s = s.quiet
	}
	err = bench(*s, result, "idle", "--sessions", fmt.Sprint(sessions), "--settle", "6s", "--hold", "4s")
	return float64(result.Bytes-s.fresh) / 1024 / float64(sessions), err
}

// chatResult and idleResult are what `gateway bench --json` prints.
type chatResult struct {
	PerSecond                float64
	CPUPerMessage            time.Duration
	Latency                  struct{ P50, P99 time.Duration }
	Lost, Doubled, Reordered uint64
}

type idleResult struct {
	Sessions        int
	LoginsPerSecond float64
	Bytes           int64 // of memory at the end
	CPUPerSecond    time.Duration
}

const benchRate = 500 // messages per second of the latency measurement

func TestBenchSystem(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv("E2E_BENCH_ROUNDS"))
	if err != nil || rounds < 1 {
		t.Skip("runs only by make bench-system, which sets E2E_BENCH_ROUNDS")
	}
	report := benchReport{Machine: describeMachine()}
	stub := startStubs(t)
	subjects := append(benchSubjects(t, stub), benchOthers(t)...)
	rows := make([]benchRow, len(subjects))
	for i, s := range subjects {
		rows[i].Name = s.name
	}
	for round := range rounds {
		for i, s := range subjects {
			f := measure(s)
			rows[i].Rounds = append(rows[i].Rounds, f)
			t.Logf("round %d, %s: %+v", round+1, s.name, f)
			if f.Lost+f.Misordered > 0 {
				t.Errorf("%s lost or misplaced messages: %+v", s.name, f)
			}
		}
	}
	report.take(rows)
	for _, s := range subjects[:3] {
		if os.Getenv("E2E_BENCH_GROWTH") == "" {
			break
		}
		report.Growth = append(report.Growth, benchGrowth{Name: s.name, Points: grow(t, s)})
	}
	fmt.Print(report.text())
	if out := os.Getenv("E2E_BENCH_OUT"); out != "" {
		if err := report.write(out); err != nil {
			t.Error(err)
		}
	}
}

// startBench starts a helper of the bench command on a free port.
func startBench(t *testing.T, name string, args ...string) (*process, int) {
	t.Helper()
	bin, err := gatewayBinary()
	if err != nil {
		t.Fatal(err)
	}
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	p, err := startProcess(name, runDir, nil, bin, append([]string{"bench", name, "--listen", fmt.Sprintf("127.0.0.1:%d", port)}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := until(t.Context(), "listener", p, listening(port)); err != nil {
		t.Fatal(err)
	}
	return p, port
}

// stubs are the servers behind what is measured: nothing but routing, in the clear and by direct TLS.
type stubs struct {
	plain, secure int // ports
	ca            string
	cert          certFiles
}

const stubDomain = "stub.test"

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
	_, s.plain = startBench(t, "stub", "--domain", stubDomain)
	_, s.secure = startBench(t, "stub", "--domain", stubDomain, "--cert", cert.cert, "--key", cert.key)
	return s
}

// benchSubjects starts what stands in front of a stub. The relay, which is the yardstick, comes first, then the gateway.
func benchSubjects(t *testing.T, to stubs) []subject {
	plain := fmt.Sprintf("127.0.0.1:%d", to.plain)
	list := []subject{twice(func() subject {
		p, port := startBench(t, "relay", "--to", plain)
		return subject{name: "TCP relay", url: fmt.Sprintf("tcp://127.0.0.1:%d", port), procs: []*process{p}}
	})}
	for _, kind := range transports {
		list = append(list, twice(func() subject {
			ep, p := benchGateway(t, "--domain", stubDomain+"=xmpp://"+plain+"?tls=none")
			return subject{name: "stanzagate, " + kind, url: ep.urls()[kind], procs: []*process{p}}
		}))
	}
	for _, kind := range transports {
		list = append(list, twice(func() subject {
			port, err := freePort()
			if err != nil {
				t.Fatal(err)
			}
			at := fmt.Sprintf("127.0.0.1:%d", port)
			_, p := benchGateway(t, "--tls.listen", at, "--tls.cert", to.cert.cert, "--tls.key", to.cert.key,
				"--domain", fmt.Sprintf("%s=xmpps://127.0.0.1:%d?ca=%s", stubDomain, to.secure, to.ca))
			ep := endpoint{bosh: "https://" + at + "/http-bind", websocket: "wss://" + at + "/xmpp-websocket"}
			return subject{name: "stanzagate, " + kind + ", TLS both ways", url: ep.urls()[kind], procs: []*process{p}}
		}))
	}
	if s, err := benchHAProxy(t, to.plain); err == nil {
		list = append(list, s)
	} else {
		t.Logf("HAProxy is left out: %v", err)
	}
	for i := range list {
		for s := &list[i]; s != nil; s = s.quiet {
			s.domain, s.fresh = stubDomain, memoryOf(t, s.procs)
		}
	}
	return list
}

// twice starts a subject, and once more for what its sessions take: memory is not to depend on what a load left behind.
func twice(start func() subject) subject {
	s, quiet := start(), start()
	s.quiet = &quiet
	return s
}

// benchGateway starts a gateway without limits.
func benchGateway(t *testing.T, flags ...string) (endpoint, *process) {
	t.Helper()
	ep, p, err := startGateway(append([]string{"--limit.sessions-per-address", "0", "--limit.creations-per-address", "0", "--log.level", "warn"}, flags...)...)
	if err != nil {
		t.Fatal(err)
	}
	return ep, p
}

// urls are an endpoint's by transport.
func (e endpoint) urls() map[string]string {
	return map[string]string{"websocket": e.websocket, "bosh": e.bosh}
}

// benchHAProxy is HAProxy as a plain TCP proxy.
func benchHAProxy(t *testing.T, to int) (subject, error) {
	if _, err := exec.LookPath("haproxy"); err != nil {
		return subject{}, err
	}
	port, err := freePort()
	if err != nil {
		return subject{}, err
	}
	config := filepath.Join(t.TempDir(), "haproxy.cfg")
	text := fmt.Sprintf("global\n maxconn 9900\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 1h\n timeout server 1h\n"+
		"listen relay\n bind 127.0.0.1:%d\n server stub 127.0.0.1:%d\n", port, to)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return subject{}, err
	}
	p, err := startProcess("haproxy", runDir, nil, "haproxy", "-db", "-f", config)
	if err != nil {
		return subject{}, err
	}
	return subject{name: "HAProxy, mode tcp", url: fmt.Sprintf("tcp://127.0.0.1:%d", port), procs: []*process{p}},
		until(t.Context(), "listener", p, listening(port))
}

// benchOthers is what needs real servers: their own endpoints, with what the server itself does in their figures, and
// sessions that can be resumed.
func benchOthers(t *testing.T) (list []subject) {
	if os.Getenv("E2E_BENCH_OTHERS") == "" {
		return nil
	}
	for _, name := range []string{"prosody", "ejabberd"} {
		s := getServer(t, name)
		for _, kind := range transports {
			list = append(list, subject{
				name: name + "'s own " + kind, url: s.native[kind], domain: s.domain, accounts: accountsPerServer, procs: s.procs, light: true,
				fresh: memoryOf(t, s.procs),
			})
		}
	}
	return append(list, benchResumable(t)...)
}

// benchResumable is the gateway in front of a server whose sessions can be resumed, first with sessions that die with it and
// then with the store. The generator is the only client, and the gateway alone is measured.
func benchResumable(t *testing.T) (list []subject) {
	s, err := startProsody13(false)
	if err != nil {
		t.Logf("resumable sessions are left out: %v", err)
		return nil
	}
	t.Cleanup(func() {
		for _, p := range s.procs {
			p.stop()
		}
	})
	setting := fmt.Sprintf("%s=xmpp://127.0.0.1:%d?tls=none", s.domain, s.port)
	ep, p := benchGateway(t, "--domain", setting)
	r := startReplicas(t, 1, startRedis(t, false), "--log.level", "warn", "--domain", setting)[0]
	list = []subject{
		{name: "stanzagate, bosh, Prosody 13", url: ep.bosh, procs: []*process{p}},
		{name: "stanzagate, bosh, Prosody 13, resumable on Redis", url: fmt.Sprintf("http://127.0.0.1:%d/http-bind", r.listen), procs: []*process{r.proc}},
	}
	for i := range list {
		list[i].domain, list[i].accounts, list[i].light, list[i].fresh = s.domain, accountsPerServer, true, memoryOf(t, list[i].procs)
	}
	return list
}

// measure takes one round of one subject.
func measure(s subject) benchFigures {
	var f benchFigures
	pairs, sessions := 100, 2000
	if s.light {
		pairs, sessions = 40, 400
	}
	var idle idleResult
	each, err := s.idle(sessions, &idle)
	if f.failed(err) {
		return f
	}
	f.KiBPerSession, f.LoginsPerSecond, f.IdleCPUMicros = each, idle.LoginsPerSecond, micros(idle.CPUPerSecond)/float64(sessions)
	var chat chatResult
	if f.failed(bench(s, &chat, "chat", "--pairs", fmt.Sprint(pairs), "--warmup", "1s", "--duration", "4s")) {
		return f
	}
	f.PerSecond, f.CPUMicros = chat.PerSecond, micros(chat.CPUPerMessage)
	f.Lost, f.Misordered = chat.Lost, chat.Doubled+chat.Reordered
	chat = chatResult{}
	if f.failed(bench(s, &chat, "chat", "--pairs", fmt.Sprint(pairs), "--warmup", "1s", "--duration", "4s", "--rate", fmt.Sprint(benchRate))) {
		return f
	}
	f.P50Micros, f.P99Micros = micros(chat.Latency.P50), micros(chat.Latency.P99)
	f.Lost += chat.Lost
	f.Misordered += chat.Doubled + chat.Reordered
	return f
}

// failed notes an error.
func (f *benchFigures) failed(err error) bool {
	if err != nil {
		f.Failure = err.Error()
	}
	return err != nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

var errNoURL = errors.New("no endpoint")

// bench runs the generator in a process of its own.
func bench(s subject, result any, what string, args ...string) error {
	if s.url == "" {
		return errNoURL
	}
	bin, err := gatewayBinary()
	if err != nil {
		return err
	}
	args = append([]string{
		"bench", what, "--json", "--url", s.url, "--domain", s.domain, "--password", password, "--accounts", fmt.Sprint(s.accounts),
	}, args...)
	for _, p := range s.procs {
		args = append(args, "--pid", fmt.Sprint(p.cmd.Process.Pid))
	}
	var errs strings.Builder
	cmd := exec.Command(bin, args...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", what, err, strings.TrimSpace(errs.String()))
	}
	return json.Unmarshal(out, result)
}
