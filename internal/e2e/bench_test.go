//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The system benchmark: `make bench-system`. It starts a stub server, a plain TCP relay and the gateway, and takes the same
// load over each in turn, round after round, so that a machine whose speed drifts does not favour anybody. Figures are
// medians over the rounds; × is the median of the rounds' ratios to the relay.

// subject is one thing that stands between the load and a server, or a server with endpoints of its own.
type subject struct {
	name     string
	url      string
	domain   string
	accounts int // 0: everybody is let in
	procs    []*process
	light    bool // too slow for the full load: fewer sessions
}

// benchFigures are one subject's in one round; NaN-free: 0 where it was not measured.
type benchFigures struct {
	PerSecond        float64
	CPUMicros        float64 // per message
	P50Micros        float64 // at the fixed rate
	P99Micros        float64
	KiBPerSession    float64
	LoginsPerSecond  float64
	IdleCPUMicros    float64 // per session and second
	Failure          string
	Lost, Misordered uint64
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
	BytesPerSession int64
	CPUPerSecond    time.Duration
}

const benchRate = 500 // messages per second of the latency measurement

func TestBenchSystem(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv("E2E_BENCH_ROUNDS"))
	if err != nil || rounds < 1 {
		t.Skip("runs only by make bench-system, which sets E2E_BENCH_ROUNDS")
	}
	subjects := benchSubjects(t)
	all := make([][]benchFigures, len(subjects))
	for round := range rounds {
		for i, s := range subjects {
			f := measure(s)
			all[i] = append(all[i], f)
			t.Logf("round %d, %s: %+v", round+1, s.name, f)
		}
	}
	fmt.Print(benchTable(subjects, all))
	if file := os.Getenv("E2E_BENCH_JSON"); file != "" {
		byName := map[string][]benchFigures{}
		for i, s := range subjects {
			byName[s.name] = all[i]
		}
		b, err := json.MarshalIndent(byName, "", "  ")
		if err == nil {
			err = os.WriteFile(file, append(b, '\n'), 0o644)
		}
		if err != nil {
			t.Error(err)
		}
	}
	for i, s := range subjects {
		for _, f := range all[i] {
			if f.Lost+f.Misordered > 0 {
				t.Errorf("%s lost or misplaced messages: %+v", s.name, f)
			}
		}
	}
}

// benchProcess starts a helper of the bench command on a free port.
func benchProcess(t *testing.T, name string, args ...string) (*process, int) {
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

func benchSubjects(t *testing.T) []subject {
	const domain = "stub.test"
	_, stub := benchProcess(t, "stub", "--domain", domain)
	relay, relayPort := benchProcess(t, "relay", "--to", fmt.Sprintf("127.0.0.1:%d", stub))
	list := []subject{{name: "TCP relay", url: fmt.Sprintf("tcp://127.0.0.1:%d", relayPort), domain: domain, procs: []*process{relay}}}
	// The same gateway process twice: its transports do not disturb each other between measurements.
	for _, kind := range []string{"WebSocket", "BOSH"} {
		ep, p, err := startGateway("--domain", fmt.Sprintf("%s=xmpp://127.0.0.1:%d?tls=none", domain, stub),
			"--limit.sessions-per-address", "0", "--limit.creations-per-address", "0", "--log.level", "warn")
		if err != nil {
			t.Fatal(err)
		}
		url := ep.websocket
		if kind == "BOSH" {
			url = ep.bosh
		}
		list = append(list, subject{name: "stanzagate, " + kind, url: url, domain: domain, procs: []*process{p}})
	}
	if os.Getenv("E2E_BENCH_OTHERS") == "" {
		return list
	}
	for _, name := range []string{"prosody", "ejabberd"} {
		s := getServer(t, name)
		for _, kind := range transports {
			list = append(list, subject{
				name: name + "'s own " + kind, url: s.native[kind], domain: s.domain, accounts: accountsPerServer, procs: s.procs, light: true,
			})
		}
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
	var chat chatResult
	if err := bench(s, &chat, "chat", "--pairs", fmt.Sprint(pairs), "--warmup", "1s", "--duration", "4s"); err != nil {
		f.Failure = err.Error()
		return f
	}
	f.PerSecond, f.CPUMicros = chat.PerSecond, micros(chat.CPUPerMessage)
	f.Lost, f.Misordered = chat.Lost, chat.Doubled+chat.Reordered
	chat = chatResult{}
	if err := bench(s, &chat, "chat", "--pairs", fmt.Sprint(pairs), "--warmup", "1s", "--duration", "4s", "--rate", fmt.Sprint(benchRate)); err != nil {
		f.Failure = err.Error()
		return f
	}
	f.P50Micros, f.P99Micros = micros(chat.Latency.P50), micros(chat.Latency.P99)
	f.Lost += chat.Lost
	f.Misordered += chat.Doubled + chat.Reordered
	var idle idleResult
	if err := bench(s, &idle, "idle", "--sessions", fmt.Sprint(sessions), "--settle", "3s", "--hold", "3s"); err != nil {
		f.Failure = err.Error()
		return f
	}
	f.KiBPerSession, f.LoginsPerSecond = float64(idle.BytesPerSession)/1024, idle.LoginsPerSecond
	f.IdleCPUMicros = micros(idle.CPUPerSecond) / float64(sessions)
	return f
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// bench runs the generator in a process of its own.
func bench(s subject, result any, what string, args ...string) error {
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

// benchTable prints medians. The first subject is the yardstick.
func benchTable(subjects []subject, all [][]benchFigures) string {
	var b strings.Builder
	b.WriteString("| subject | messages/s | × | CPU µs per message | p50 µs at 500/s | × | p99 µs | × | KiB per idle session | logins/s | × |\n")
	b.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for i, s := range subjects {
		med := func(get func(benchFigures) float64) float64 { return median(all[i], nil, get) }
		rel := func(get func(benchFigures) float64) float64 { return median(all[i], all[0], get) }
		perSecond := func(f benchFigures) float64 { return f.PerSecond }
		p50 := func(f benchFigures) float64 { return f.P50Micros }
		p99 := func(f benchFigures) float64 { return f.P99Micros }
		logins := func(f benchFigures) float64 { return f.LoginsPerSecond }
		fmt.Fprintf(&b, "| %s | %.0f | %.2f | %.1f | %.0f | %.2f | %.0f | %.2f | %.1f | %.0f | %.2f |\n", s.name,
			med(perSecond), rel(perSecond), med(func(f benchFigures) float64 { return f.CPUMicros }),
			med(p50), rel(p50), med(p99), rel(p99),
			med(func(f benchFigures) float64 { return f.KiBPerSession }), med(logins), rel(logins))
	}
	return b.String()
}

// median of a figure over the rounds, or of its ratio to another subject's in the same round. Failed rounds do not count.
func median(rounds, to []benchFigures, get func(benchFigures) float64) float64 {
	var v []float64
	for i, f := range rounds {
		x := get(f)
		if f.Failure != "" || x == 0 {
			continue
		}
		if to != nil {
			if x /= get(to[i]); to[i].Failure != "" {
				continue
			}
		}
		v = append(v, x)
	}
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return v[len(v)/2]
}
