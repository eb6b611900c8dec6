package bosh

import "time"

// simRule is one rule of failover-design that the simulator can leave out, always in its own shell, store or network,
// never in the machine: without it runs must fail, else the simulator would not prove that the rule is kept.
type simRule uint8

const (
	allRules        simRule = iota
	ruleRelease             // 2.1: the server's <a/> is awaited before an answer
	ruleAckDown             // 2.2: the server is told only of what the browser has
	ruleStoreFirst          // 2.3: save, then answer
	ruleEpoch               // 2.3: a write counts only under the owner's epoch
	ruleRefused             // 7.4: a refused write silences the replica
	rulePause               // 7.2: a takeover waits for what the dead owner's kernel still delivers
	ruleCheckResume         // 7.2: ownership is checked immediately before <resume/>
	ruleResumeAt            // 7.3: the resumption starts from what the browser has, as the store says
	ruleSkip                // 7.3: stanzas that the server has are left out
	ruleTerminal            // 6: no terminal answer without a check
	ruleLane                // forwardings that were not written are dropped at a resumption
	simRules
)

// aim makes a plan in which the lack of a rule is likely to show.
func (r simRule) aim(p *simPlan) {
	p.moments, p.faultBudget = 0.1, p.faultBudget+20
	if r == rulePause {
		p.lateHandling, p.serverLatency, p.relayLatency, p.storeDelay = true, 20*time.Millisecond, 0, 0
	}
}

func (r simRule) String() string {
	return [...]string{
		"none", "release", "ack-down", "store-first", "epoch", "refused", "pause", "check-resume", "resume-at",
		"skip", "terminal", "lane",
	}[r]
}
