//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The system benchmark: `make bench-system`. It starts a stub server, a plain TCP relay, HAProxy and the gateway, and takes
// the same load over each in turn, round after round, so that a machine whose speed drifts does not favour anybody. After the
// first round it takes a fixed load over more and more sessions. Figures are medians over the rounds; × is the median of the
// rounds' ratios to the relay. A subject that fails does not keep the others from being measured: its row says why, and the
// test fails when all is done. Settings, all with the prefix E2E_BENCH_:
//
//	ROUNDS    rounds; without it the test is skipped
//	MINUTES   time for everything (28): rounds that do not fit into it are left out
//	SECONDS   one measurement (4)
//	SESSIONS  idle sessions (2000); a twentieth as many pairs chat
//	ONLY      measure only subjects whose name matches the expression; the relay always is
//	OTHERS    1: measure the servers' own endpoints too
//	GROWTH    sizes for how cost grows with sessions, as in 200,1000
//	OUT       write OUT.md, OUT.json and OUT.svg
type benchPlan struct {
	ctx      context.Context // ends when the time is over
	rounds   int
	seconds  int
	sessions int
	only     *regexp.Regexp
	others   bool
	growth   []int
	repeated []string // attempts that failed and were made again
}

const benchRate = 500 // messages, or requests, per second where latency is measured

// benchPatience bounds one run of the generator.
const benchPatience = 2 * time.Minute

func TestBenchSystem(t *testing.T) {
	if os.Getenv("E2E_BENCH_ROUNDS") == "" {
		t.Skip("runs only by make bench-system, which sets E2E_BENCH_ROUNDS")
	}
	plan := readBenchPlan(t)
	report := benchReport{Machine: describeMachine(), Seconds: plan.seconds}
	began := time.Now()
	subjects := benchSubjects(t, plan)
	t.Logf("everything is up after %v", time.Since(began).Round(time.Second))
	rows := make([]benchRow, len(subjects))
	for i, s := range subjects {
		rows[i].Name = s.name
	}
	for round := range plan.rounds {
		for i, s := range subjects {
			start := time.Now()
			f := plan.measure(s)
			if plan.over() {
				break
			}
			rows[i].Rounds = append(rows[i].Rounds, f)
			t.Logf("round %d, %s, %v: %s", round+1, s.name, time.Since(start).Round(time.Second), f)
		}
		if plan.over() {
			break
		}
		report.Rounds++
		if round == 0 {
			report.Growth = plan.growAll(t, subjects)
		}
	}
	if report.Rounds < plan.rounds {
		report.Notes = append(report.Notes, fmt.Sprintf("time was over after %d of %d rounds (BENCH_MINUTES)", report.Rounds, plan.rounds))
	}
	report.Notes = append(append(report.Notes, plan.fileLimits()...), plan.repeated...)
	report.take(rows)
	report.Took = time.Since(began).Round(time.Second).String()
	fmt.Print(report.text())
	if out := os.Getenv("E2E_BENCH_OUT"); out != "" {
		if err := report.write(out); err != nil {
			t.Error(err)
		}
	}
	for _, failure := range report.failures() {
		t.Error(failure)
	}
	if report.Rounds == 0 {
		t.Error("not one round has ended")
	}
}

func readBenchPlan(t *testing.T) *benchPlan {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(number(t, "E2E_BENCH_MINUTES", 28))*time.Minute)
	t.Cleanup(cancel)
	only, err := regexp.Compile(os.Getenv("E2E_BENCH_ONLY"))
	if err != nil {
		t.Fatalf("E2E_BENCH_ONLY: %v", err)
	}
	return &benchPlan{
		ctx: ctx, rounds: number(t, "E2E_BENCH_ROUNDS", 1), seconds: number(t, "E2E_BENCH_SECONDS", 4),
		sessions: number(t, "E2E_BENCH_SESSIONS", 2000), only: only, others: os.Getenv("E2E_BENCH_OTHERS") != "",
		growth: growthSizes(t, os.Getenv("E2E_BENCH_GROWTH")),
	}
}

func (b *benchPlan) over() bool { return b.ctx.Err() != nil }

// span is a duration as the generator wants it, in units of one measurement.
func (b *benchPlan) span(measurements float64) string {
	return time.Duration(measurements * float64(b.seconds) * float64(time.Second)).String()
}

// chatResult, idleResult, pollResult and detourResult are what `gateway bench --json` prints.
type chatResult struct {
	PerSecond                float64
	CPUPerMessage            time.Duration
	Latency                  benchLatency
	Lost, Doubled, Reordered uint64
}

type benchLatency struct{ P50, P99 time.Duration }

type idleResult struct {
	Sessions        int
	LoginsPerSecond float64
	Bytes           int64 // of memory at the end
	BytesPerSession int64 // by how much that has grown
	CPUPerSecond    time.Duration
}

type pollResult struct{ CPUPerEmpty time.Duration }

type detourResult struct{ Direct, Detour benchLatency }

// measure takes one round of one subject. What fails does not keep the rest from being measured.
func (b *benchPlan) measure(s *subject) (f benchFigures) {
	if s.failure != nil {
		f.failed(s.failure)
		return f
	}
	sessions, pairs := b.sessions, max(1, b.sessions/20)
	if s.light {
		sessions, pairs = max(1, sessions/5), max(1, pairs*2/5)
	}
	f.failed(b.measureIdle(s, sessions, &f))
	var chat chatResult
	if !f.failed(b.chat(s, &chat, pairs, "1s", b.span(1), 0)) {
		f.PerSecond, f.CPUMicros = chat.PerSecond, micros(chat.CPUPerMessage)
	}
	f.count(chat)
	chat = chatResult{}
	if !f.failed(b.chat(s, &chat, pairs, "1s", b.span(1), benchRate)) {
		f.P50Micros, f.P99Micros = micros(chat.Latency.P50), micros(chat.Latency.P99)
	}
	f.count(chat)
	if s.polls {
		var poll pollResult
		if !f.failed(b.run(s, &poll, "poll", "--sessions", fmt.Sprint(sessions), "--wait", "1", "--duration", b.span(1))) {
			f.PollMicros = micros(poll.CPUPerEmpty)
		}
	}
	if s.other != "" {
		var d detourResult
		if !f.failed(b.run(s, &d, "detour", "--other", s.other, "--sessions", fmt.Sprint(pairs), "--rate", fmt.Sprint(benchRate), "--duration", b.span(2))) {
			f.AddedP50Micros, f.AddedP99Micros = micros(d.Detour.P50-d.Direct.P50), micros(d.Detour.P99-d.Direct.P99)
		}
	}
	if s.stored {
		f.failed(s.mustHaveStored())
	}
	return f
}

// measureIdle measures sessions that do nothing, in a process that no other load has touched, if one can be had.
func (b *benchPlan) measureIdle(s *subject, sessions int, f *benchFigures) error {
	on := *s
	if s.start != nil {
		fresh, err := s.start()
		defer fresh.stop()
		if err != nil {
			return err
		}
		on.instance = fresh
	}
	var idle idleResult
	if err := b.run(&on, &idle, "idle", "--sessions", fmt.Sprint(sessions), "--settle", b.span(1.5), "--hold", b.span(1)); err != nil {
		return err
	}
	f.KiBPerSession = float64(idle.Bytes-on.fresh) / 1024 / float64(sessions)
	if s.start == nil { // its memory has a history
		f.KiBPerSession = float64(max(0, idle.BytesPerSession)) / 1024
	}
	f.LoginsPerSecond, f.IdleCPUMicros = idle.LoginsPerSecond, micros(idle.CPUPerSecond)/float64(sessions)
	return nil
}

// chat has pairs talk, as fast as they can if rate is 0.
func (b *benchPlan) chat(s *subject, result *chatResult, pairs int, warmup, duration string, rate int) error {
	return b.run(s, result, "chat", "--pairs", fmt.Sprint(pairs), "--warmup", warmup, "--duration", duration, "--rate", fmt.Sprint(rate))
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

var errNoURL = errors.New("no endpoint")

// attempts is how often a server's own endpoint is tried: ejabberd lets a login by WebSocket hang now and then until it drops it.
const attempts = 3

// run runs the generator. What failed before an attempt that succeeded is in the report.
func (b *benchPlan) run(s *subject, result any, what string, args ...string) error {
	for n := 1; ; n++ {
		err := b.attempt(s, result, what, args...)
		if err == nil || !s.light || n == attempts || b.over() {
			return err
		}
		b.repeated = append(b.repeated, fmt.Sprintf("%s, tried again: %s", s.name, oneLine(err)))
	}
}

// attempt runs the generator once, in a process of its own.
func (b *benchPlan) attempt(s *subject, result any, what string, args ...string) error {
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
	if s.light {
		args = append(args, "--at-once", "8")
	}
	for _, p := range s.procs {
		args = append(args, "--pid", fmt.Sprint(p.cmd.Process.Pid))
	}
	ctx, cancel := context.WithTimeout(b.ctx, benchPatience)
	defer cancel()
	var errs strings.Builder
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, ctx.Err())
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %s", what, err, strings.TrimSpace(errs.String()))
	}
	return json.Unmarshal(out, result)
}
