package bosh

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// The simulator runs one or more session machines against models of browsers, network, shell, store and server, in
// virtual time and from one seed. Everything random comes from simWorld.rng, everything that happens is an event of
// simWorld's queue, so a seed always gives the same run.

// simEpoch is the virtual clock's zero. It is not the zero time, so that a forgotten time.Time shows.
var simEpoch = time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)

type simEvent struct {
	at  time.Duration
	seq uint64 // events of the same instant happen in the order in which they were planned
	run func()
}

// simWorld is the clock, the event queue and the dice.
type simWorld struct {
	plan    simPlan
	rng     *rand.Rand
	clock   time.Duration
	queue   []simEvent // heap by at, seq
	seq     uint64
	events  int // carried out so far
	faults  int // how many more the plan allows
	failure *simFailure
	trace   *simTrace // nil: not recorded
	calls   int       // machine events, for the runner's figures

	kills, freezes, drains, takeovers int
}

// simFailure is a broken rule.
type simFailure struct {
	rule string // short and stable: two runs that break the same rule are the same finding
	text string
	at   time.Duration
}

func (f *simFailure) Error() string {
	return fmt.Sprintf("%s: %s (at %v)", f.rule, f.text, f.at)
}

func newSimWorld(plan simPlan, trace *simTrace) *simWorld {
	return &simWorld{
		plan:   plan,
		rng:    rand.New(rand.NewPCG(plan.seed, 0x5851f42d4c957f2d)),
		faults: plan.faultBudget,
		trace:  trace,
	}
}

func (w *simWorld) now() time.Time { return simEpoch.Add(w.clock) }

// after plans run for d from now.
func (w *simWorld) after(d time.Duration, run func()) {
	if d < 0 {
		d = 0
	}
	w.seq++
	w.queue = append(w.queue, simEvent{at: w.clock + d, seq: w.seq, run: run})
	for i := len(w.queue) - 1; i > 0; {
		parent := (i - 1) / 2
		if !w.earlier(i, parent) {
			break
		}
		w.queue[i], w.queue[parent] = w.queue[parent], w.queue[i]
		i = parent
	}
}

func (w *simWorld) earlier(i, j int) bool {
	a, b := &w.queue[i], &w.queue[j]
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

func (w *simWorld) pop() simEvent {
	top := w.queue[0]
	last := len(w.queue) - 1
	w.queue[0] = w.queue[last]
	w.queue[last] = simEvent{}
	w.queue = w.queue[:last]
	for i := 0; ; {
		least := i
		if l := 2*i + 1; l < last && w.earlier(l, least) {
			least = l
		}
		if r := 2*i + 2; r < last && w.earlier(r, least) {
			least = r
		}
		if least == i {
			return top
		}
		w.queue[i], w.queue[least] = w.queue[least], w.queue[i]
		i = least
	}
}

// run carries out events until done says so, nothing is left, a rule is broken, or the virtual time is over.
func (w *simWorld) run(until time.Duration, done func() bool) {
	defer func() {
		if p := recover(); p != nil {
			w.panicked(p)
		}
	}()
	for len(w.queue) > 0 && w.failure == nil && !done() {
		e := w.pop()
		if e.at > until {
			w.clock = until
			return
		}
		w.clock = e.at
		w.events++
		if w.events > w.plan.maxEvents {
			w.fail("world/too-many-events", "%d events and no end", w.events)
			return
		}
		e.run()
	}
}

// fail records the first broken rule; the run stops after the current event.
func (w *simWorld) fail(rule, format string, args ...any) {
	if w.failure != nil {
		return
	}
	w.failure = &simFailure{rule: rule, text: fmt.Sprintf(format, args...), at: w.clock}
	w.trace.add(w.clock, "ORACLE", "%s: %s", rule, w.failure.text)
}

func (w *simWorld) chance(p float64) bool { return p > 0 && w.rng.Float64() < p }

// fault says whether a fault of probability p strikes, and counts it against the plan's budget.
func (w *simWorld) fault(p float64) bool {
	if w.faults <= 0 || !w.chance(p) {
		return false
	}
	w.faults--
	return true
}

// between is a duration in [lo, hi].
func (w *simWorld) between(lo, hi time.Duration) time.Duration {
	if hi <= lo {
		return lo
	}
	return lo + time.Duration(w.rng.Int64N(int64(hi-lo)+1))
}

// latency is one trip over the plan's network, now and then a much longer one.
func (w *simWorld) latency() time.Duration {
	d := time.Duration(float64(w.plan.latency) * (0.5 + w.rng.Float64()))
	if w.plan.spikes > 0 && w.chance(w.plan.spikes) {
		d += w.between(0, 4*time.Second)
	}
	return d
}
