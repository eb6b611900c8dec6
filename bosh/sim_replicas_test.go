package bosh

import (
	"math/rand/v2"
	"testing"
	"time"
)

// replicaPlanFor is a plan with several replicas that are killed, frozen and drained, on a server that resumes.
func replicaPlanFor(seed uint64, profile string) simPlan {
	p := planFor(seed, profile)
	r := rand.New(rand.NewPCG(seed, 0x6a09e667f3bcc908))
	p.replicas = 2 + r.IntN(2)
	p.config.managed, p.config.shared, p.enables, p.resumable, p.openFails, p.slowOpen = true, true, true, true, 0, 0
	p.config.inactivity = pick[time.Duration](r, 60, 120) * time.Second
	p.hostile, p.offered, p.traits.streams = false, 0, 0
	if p.traits.giveUp > 0 {
		p.traits.giveUp = 20
	}
	p.relayLatency = pick[time.Duration](r, 0, time.Millisecond, 30*time.Millisecond)
	p.lateHandling = r.IntN(2) == 0
	if p.lateHandling { // less than the pause of a takeover, else nothing helps
		p.serverLatency = min(p.serverLatency, 20*time.Millisecond)
	}
	p.kills, p.freezes, p.drains = r.IntN(8), r.IntN(4), pick(r, 0, 0, 1, 2)
	p.moments = pick(r, 0, 0, 0.02, 0.1)
	p.drops, p.losses = pick(r, 0, 0, 1, 3), pick(r, 0, 0, 0, 0, 1)
	p.faultBudget += p.drops + p.losses + p.kills + p.freezes + p.drains
	return p
}

// TestSimulatorReplicas runs sessions over replicas that are killed, frozen and drained at any moment, with a store that goes
// away and forgets, and a server that resumes (failover-design 13). The environment is that of TestSimulator.
//
// Covers: BOSH-136, BOSH-141, BOSH-151, UP-123, UP-124, UP-125.
func TestSimulatorReplicas(t *testing.T) {
	runSimulator(t, "TestSimulatorReplicas", 5000, replicaPlanFor)
}

// TestSimulatorMissesRules leaves one rule of failover-design out at a time: each time some run must fail that does not
// fail with the rule.
func TestSimulatorMissesRules(t *testing.T) {
	for rule := allRules + 1; rule < simRules; rule++ {
		t.Run(rule.String(), func(t *testing.T) {
			const enough = 10000
			for seed := uint64(1); seed <= enough; seed++ {
				plan := replicaPlanFor(seed, "")
				rule.aim(&plan)
				plan.removed = rule
				w := runPlan(plan, nil)
				if w.failure == nil {
					continue
				}
				if plan.removed = allRules; runPlan(plan, nil).failure == nil {
					t.Logf("seed %d: %v", seed, w.failure)
					return
				}
			}
			t.Errorf("%d runs without the rule, and none failed", enough)
		})
	}
}
