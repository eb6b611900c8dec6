package bosh

import (
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// simSeeds is how many seeds TestSimulator runs when nothing else is asked for.
const simSeeds = 20_000

// TestSimulator runs the session machine against the models from many seeds.
//
//	SIM_SEEDS=n     so many seeds
//	SIM_START=n     from that seed on
//	SIM_SEED=n      only that seed, with its whole trace
//	SIM_PROFILE=p   that profile for every seed
//	SIM_MINUTES=n   for so long, from a start that differs from run to run
//
// Covers: BOSH-025, BOSH-063, BOSH-070, BOSH-072, BOSH-073, BOSH-075, BOSH-076, BOSH-079, BOSH-080, BOSH-082.
// Covers: BOSH-083, BOSH-084, BOSH-090, BOSH-091, BOSH-093, BOSH-101, BOSH-102, BOSH-103, BOSH-113, BOSH-124.
// Covers: BOSH-129, BOSH-133, BOSH-134, BOSH-136, BOSH-137, BOSH-150, BOSH-156, BOSH-168, BOSH-182, XBOSH-014.
// Covers: XBOSH-018, XBOSH-019, XBOSH-020, XBOSH-021, UP-060.
func TestSimulator(t *testing.T) {
	runSimulator(t, "TestSimulator", simSeeds, planFor)
}

// runSimulator runs the seeds that the environment asks for.
func runSimulator(t *testing.T, test string, count uint64, planner func(seed uint64, profile string) simPlan) {
	profile := os.Getenv("SIM_PROFILE")
	plan := func(seed uint64) simPlan { return planner(seed, profile) }
	if seed, ok := simEnv(t, "SIM_SEED"); ok {
		replaySeed(t, plan(seed))
		return
	}
	start, _ := simEnv(t, "SIM_START")
	if n, ok := simEnv(t, "SIM_SEEDS"); ok {
		count = n
	}
	var until time.Time
	if minutes, ok := simEnv(t, "SIM_MINUTES"); ok {
		until = time.Now().Add(time.Duration(minutes) * time.Minute)
		start, count = uint64(time.Now().UnixNano())>>8, 1<<62
	}
	findings := runSeeds(start, count, until, func(seed uint64) *simWorld { return runPlan(plan(seed), nil) })
	t.Logf("%d seeds, %d events, %d machine calls, %d kills, %d freezes, %d takeovers; %.0f events per second", findings.seeds,
		findings.events, findings.calls, findings.kills, findings.freezes, findings.takeovers,
		float64(findings.events)/findings.took.Seconds())
	findings.report(t, test, plan)
}

func simEnv(t *testing.T, name string) (uint64, bool) {
	text := os.Getenv(name)
	if text == "" {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s=%q: not a number", name, text)
	}
	return n, true
}

// simFindings is what many runs found.
type simFindings struct {
	seeds, events, calls      int
	kills, freezes, takeovers int
	took                      time.Duration

	mu     sync.Mutex
	broken map[string][]uint64 // seeds by rule
}

// runSeeds runs seeds on all processors until they are through, the time is over, or enough is broken.
func runSeeds(start, count uint64, until time.Time, run func(seed uint64) *simWorld) *simFindings {
	f := &simFindings{broken: map[string][]uint64{}}
	began := time.Now()
	var next, bad atomic.Uint64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= count || bad.Load() > 200 || !until.IsZero() && time.Now().After(until) {
					return
				}
				w := run(start + i)
				f.mu.Lock()
				f.seeds++
				f.events += w.events
				f.calls += w.calls
				f.kills += w.kills
				f.freezes += w.freezes
				f.takeovers += w.takeovers
				if w.failure != nil {
					bad.Add(1)
					f.broken[w.failure.rule] = append(f.broken[w.failure.rule], start+i)
				}
				f.mu.Unlock()
			}
		})
	}
	workers.Wait()
	f.took = time.Since(began)
	return f
}

// report fails the test with one seed for each broken rule, made small, and its trace.
func (f *simFindings) report(t *testing.T, test string, plan func(seed uint64) simPlan) {
	for rule, seeds := range f.broken {
		seed := seeds[0]
		small := shrink(plan(seed), rule)
		trace := &simTrace{}
		w := runPlan(small, trace)
		t.Errorf("%s broken by %d of %d seeds, e.g. seed %d, profile %s\n%v\n%s\nAgain: SIM_SEED=%d go test -run '^%s$' -v ./bosh",
			rule, len(seeds), f.seeds, seed, small.profile, w.failure, trace.tail(60), seed, test)
	}
}

func replaySeed(t *testing.T, plan simPlan) {
	trace := &simTrace{}
	w := runPlan(plan, trace)
	t.Logf("profile %s, %+v\n%s", plan.profile, plan, trace.tail(1<<20))
	if w.failure != nil {
		t.Errorf("seed %d, profile %s: %v", plan.seed, plan.profile, w.failure)
	}
}

// shrink looks for a plan with less in it that breaks the same rule.
func shrink(plan simPlan, rule string) simPlan {
	breaks := func(p simPlan) bool {
		w := runPlan(p, nil)
		return w.failure != nil && w.failure.rule == rule
	}
	less := []func(p *simPlan){
		func(p *simPlan) { p.hostile = false }, func(p *simPlan) { p.kills /= 2 },
		func(p *simPlan) { p.freezes /= 2 }, func(p *simPlan) { p.drains = 0 }, func(p *simPlan) { p.lost = 0 }, func(p *simPlan) { p.cutHeld = 0 },
		func(p *simPlan) { p.cutResponse = 0 }, func(p *simPlan) { p.duplicate = 0 }, func(p *simPlan) { p.silent = 0 },
		func(p *simPlan) { p.unnoticed = 0 }, func(p *simPlan) { p.spikes = 0 }, func(p *simPlan) { p.outages = 0 },
		func(p *simPlan) { p.stalls = 0 }, func(p *simPlan) { p.blockedWrite = 0 }, func(p *simPlan) { p.slowOpen = 0 },
		func(p *simPlan) { p.reloads /= 2 }, func(p *simPlan) { p.pauses /= 2 }, func(p *simPlan) { p.pokes = 0 },
		func(p *simPlan) { p.tickLate = 0 }, func(p *simPlan) { p.writeDelay = 0 }, func(p *simPlan) { p.storeDelay = 0 },
		func(p *simPlan) { p.serverLatency = 0 }, func(p *simPlan) { p.serverThink = 0 }, func(p *simPlan) { p.padding = 0 },
		func(p *simPlan) { p.up /= 2 }, func(p *simPlan) { p.down /= 2 }, func(p *simPlan) { p.burst = 1 },
		func(p *simPlan) { p.faultBudget /= 2 }, func(p *simPlan) { p.faultBudget-- }, func(p *simPlan) { p.up-- },
		func(p *simPlan) { p.down-- }, func(p *simPlan) { p.config.managed = false }, func(p *simPlan) { p.duration /= 2 },
	}
	for progress := true; progress; {
		progress = false
		for _, change := range less {
			smaller := plan
			change(&smaller)
			if smaller == plan || smaller.up < 0 || smaller.down < 0 || smaller.faultBudget < 0 || !breaks(smaller) {
				continue
			}
			plan, progress = smaller, true
		}
	}
	return plan
}
