package bosh

import (
	"math/rand/v2"
	"strconv"
	"time"
)

// simPlan is everything about a run that is decided beforehand. A seed gives a plan; the shrinker makes plans with less.
type simPlan struct {
	seed    uint64
	profile string
	traits  simTraits
	hostile bool // another session is held by somebody who keeps no rules
	offered int  // streams that a session may have; 0: not offered
	config  machineConfig

	// network between browser and gateway
	latency     time.Duration
	spikes      float64
	detection   time.Duration // until the gateway notices a broken connection
	faultBudget int
	lost        float64 // request never arrives
	cutHeld     float64 // connection breaks while the request is held
	cutResponse float64
	duplicate   float64
	silent      float64 // the browser is not told of a break
	unnoticed   float64 // nor is the gateway

	// shell and store
	tickLate   time.Duration
	pokes      time.Duration // needless ticks; 0: none
	writeDelay time.Duration
	storeDelay time.Duration
	outages    int

	// server
	serverLatency time.Duration
	serverThink   time.Duration
	slowOpen      float64
	openFails     float64
	blockedWrite  float64
	stalls        int
	enables       bool
	early         bool // the server says something between bind and <enabled/>
	resumable     bool

	// work
	duration time.Duration
	up       int // messages of the browser, for each stream
	down     int // messages of the server
	burst    int // at most that many at once
	padding  int
	reloads  int
	pauses   int
	closes   int // streams that the browser closes, one of several
	ending   simEnding
	abrupt   bool // the end comes in the middle of the work

	// replicas; 0: one, that lives for ever
	replicas     int
	relayLatency time.Duration
	lateHandling bool // the server handles what was in flight on a replaced connection (ejabberd)
	kills        int
	moments      float64 // chance of a death at each step whose place matters
	freezes      int
	drains       int
	drops        int     // connections to the server that break while the replica lives
	losses       int     // records that the store forgets (failover-design 12)
	removed      simRule // a rule that is left out, to see that it is missed

	maxEvents int
}

type simEnding uint8

const (
	endTerminate simEnding = iota
	endVanish
	endServerClean
	endServerError
	endServerLost
	endShutdown
)

const simEndings = int(endShutdown) + 1

// simLargest is the largest element of a run.
const simLargest = 8 << 10

func (p *simPlan) without(rule simRule) bool { return p.removed == rule }

func (p *simPlan) streamNames(sid string) []string {
	if p.offered <= 1 {
		return nil
	}
	names := make([]string, p.offered)
	for i := range names {
		names[i] = sid + "-stream" + strconv.Itoa(i)
	}
	return names
}

// simProfile makes one kind of plan out of the dice.
type simProfile struct {
	name string
	make func(p *simPlan, r *rand.Rand)
}

var simProfiles = []simProfile{
	{"strophe", func(p *simPlan, r *rand.Rand) {
		p.traits = stropheTraits()
		if r.IntN(3) == 0 {
			p.reloads = 1 + r.IntN(3)
		}
	}},
	{"jbosh", func(p *simPlan, r *rand.Rand) {
		p.traits = simTraits{
			name: "jbosh", ver: version{1, 10}, acks: true, heeds: true, wait: pick(r, 5, 30, 60, 120),
			hold: pick(r, 1, 1, 2, 3), polls: r.IntN(2) == 0, keys: r.IntN(2) == 0,
		}
	}},
	{"implied", func(p *simPlan, r *rand.Rand) {
		p.traits = simTraits{
			name: "implied", ver: version{1, 6}, heeds: r.IntN(2) == 0, wait: pick(r, -1, 1, 20, 60),
			hold: pick(r, -1, 1, 2, 3), polls: r.IntN(2) == 0, keys: r.IntN(3) == 0,
		}
		p.reloads = pick(r, 0, 0, 0, 1)
	}},
	{"polling", func(p *simPlan, r *rand.Rand) {
		p.traits = simTraits{name: "polling", ver: version{1, 6}, acks: r.IntN(2) == 0, heeds: r.IntN(2) == 0, wait: 60, hold: 0}
		if r.IntN(2) == 0 {
			p.traits.wait, p.traits.hold = 0, 1
		}
	}},
	{"legacy", func(p *simPlan, r *rand.Rand) {
		p.traits = simTraits{name: "legacy", wait: 60, hold: pick(r, 0, 1, 1, 2)}
	}},
	{"pauser", func(p *simPlan, r *rand.Rand) {
		p.traits = simTraits{name: "pauser", ver: version{1, 10}, acks: r.IntN(2) == 0, heeds: true, wait: 60, hold: 1, pauses: true}
		p.pauses = 1 + r.IntN(4)
	}},
	{"throttled", func(p *simPlan, r *rand.Rand) {
		p.traits = stropheTraits()
		p.traits.name, p.traits.quantum = "throttled", pick(r, time.Second, time.Second, 10*time.Second, 30*time.Second)
		p.config.inactivity = 120 * time.Second
	}},
	{"streams", func(p *simPlan, r *rand.Rand) {
		p.traits = simTraits{
			name: "streams", ver: version{1, 10}, acks: r.IntN(2) == 0, heeds: true, wait: 60, hold: pick(r, 1, 2),
			streams: 2 + r.IntN(2),
		}
		p.offered = p.traits.streams + r.IntN(2)
		p.closes = r.IntN(2)
		p.config.managed = false
	}},
	{"flood", func(p *simPlan, r *rand.Rand) {
		p.traits = simTraits{name: "flooded", ver: version{1, 10}, acks: r.IntN(2) == 0, heeds: r.IntN(2) == 0, wait: 60, hold: pick(r, 1, 2)}
		p.down, p.burst, p.padding = 200+r.IntN(400), 200, pick(r, 0, 300, 2000)
		p.config.queueBytes = pick(r, 4<<10, 16<<10, 64<<10)
	}},
	{"hostile", func(p *simPlan, r *rand.Rand) {
		p.traits = stropheTraits()
		p.hostile = true
		p.up, p.down = 5, 5
	}},
}

func stropheTraits() simTraits {
	return simTraits{name: "strophe", ver: version{1, 6}, slots: 2, wait: 60, hold: 1, giveUp: 6}
}

func pick[T any](r *rand.Rand, choices ...T) T { return choices[r.IntN(len(choices))] }

// planFor is the plan of a seed. The profile is the seed's own unless one is named.
func planFor(seed uint64, profile string) simPlan {
	r := rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))
	which := simProfiles[r.IntN(len(simProfiles))]
	for _, candidate := range simProfiles {
		if candidate.name == profile {
			which = candidate
		}
	}
	p := simPlan{seed: seed, profile: which.name, maxEvents: 200_000}
	p.config = machineConfig{
		wait: 60 * time.Second, inactivity: pick[time.Duration](r, 30, 60, 120) * time.Second, polling: 5 * time.Second,
		maxpause: pick[time.Duration](r, 0, 120, 300, 300) * time.Second, hold: pick(r, 1, 2, 2, 3), acks: r.IntN(4) > 0, keys: r.IntN(4) > 0,
		managed: r.IntN(2) == 0, featuresWait: pick[time.Duration](r, 1, 5) * time.Second, gapWait: 3 * time.Second, stuckWait: 10 * time.Second,
		grace: 30 * time.Second, ackTimeout: 5 * time.Second, lastWords: 30 * time.Second, queueBytes: 64 << 10, responseBytes: pick(r, 1<<10, 8<<10, 32<<10),
		responseMax: pick(r, 3, 20, 100),
	}
	p.offered = pick(r, 0, 0, 0, 3)
	p.network(r)
	p.work(r)
	which.make(&p, r)
	if p.pauses > 0 && p.config.maxpause == 0 {
		p.config.maxpause = 120 * time.Second
	}
	return p
}

func (p *simPlan) network(r *rand.Rand) {
	p.latency = time.Duration(500+r.IntN(100_000)) * time.Microsecond
	p.spikes = pick(r, 0, 0, 0.02)
	p.detection = pick[time.Duration](r, 0, 10*time.Millisecond, 2*time.Second)
	p.faultBudget = pick(r, 0, 3, 10, 30)
	rate := pick(r, 0.01, 0.05, 0.15)
	p.lost, p.cutHeld, p.cutResponse, p.duplicate = rate*r.Float64(), rate*r.Float64(), rate*r.Float64(), rate*r.Float64()
	p.silent, p.unnoticed = pick(r, 0, 0.1), pick(r, 0, 0.2)
	p.tickLate = pick[time.Duration](r, 0, time.Millisecond, 20*time.Millisecond)
	p.pokes = pick[time.Duration](r, 0, 0, 3*time.Second)
	p.writeDelay = pick[time.Duration](r, 0, time.Millisecond, 30*time.Millisecond)
	p.storeDelay = pick[time.Duration](r, 0, time.Millisecond, 50*time.Millisecond)
	p.outages = pick(r, 0, 0, 0, 1)
	p.serverLatency = pick[time.Duration](r, 0, time.Millisecond, 20*time.Millisecond, 200*time.Millisecond)
	p.serverThink = pick[time.Duration](r, 0, 10*time.Millisecond, 500*time.Millisecond)
	p.slowOpen = pick(r, 0, 0, 0, 0.5)
	p.openFails = pick(r, 0, 0.02)
	p.blockedWrite = pick(r, 0, 0, 0.02)
	p.stalls = pick(r, 0, 0, 0, 2)
	p.enables = r.IntN(6) > 0
	p.resumable = r.IntN(4) > 0
	p.early = r.IntN(5) == 0
}

func (p *simPlan) work(r *rand.Rand) {
	p.duration = time.Duration(5+r.IntN(120)) * time.Second
	p.up, p.down = r.IntN(40), r.IntN(60)
	p.burst = pick(r, 1, 3, 20)
	p.padding = pick(r, 0, 0, 500)
	p.ending = simEnding(r.IntN(simEndings))
	p.abrupt = r.IntN(4) == 0
}
