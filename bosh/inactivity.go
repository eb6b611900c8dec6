package bosh

import "time"

// idleState measures inactivity (XEP-0124 §10): from the last response, as long as no request waits for one. A request
// whose connection broke does not wait any more (AMB-1).
type idleState struct {
	normal time.Duration // advertised
	pause  time.Duration // in force instead
	paused bool
	idle   bool
	since  time.Duration // idle: the last response, or the end of the last connection
	gap    time.Duration // a request has waited for a missing lower one since then (AMB-16)
}

// request notes a new request in its turn: a pause puts its own period into force, the first one after it the normal one.
func (i *idleState) request(pause bool, period time.Duration) {
	i.paused, i.pause = pause, period
}

// period is the inactivity period in force.
func (i *idleState) period() time.Duration {
	if i.paused {
		return i.pause
	}
	return i.normal
}

// update notes whether somebody waits for an answer, and whether something came or was answered at this moment.
func (i *idleState) update(now time.Duration, waiting, touched bool) {
	if waiting {
		i.idle = false
		return
	}
	if !i.idle || touched {
		i.idle, i.since = true, now
	}
}

// deadline is when the session ends; ok is false while something is going on. A gap lasts for limit at least.
func (i *idleState) deadline(gap bool, limit time.Duration) (at time.Duration, ok bool) {
	switch {
	case gap && i.idle:
		return min(i.gap+max(i.period(), limit), i.since+i.period()), true
	case gap:
		return i.gap + max(i.period(), limit), true
	case i.idle:
		return i.since + i.period(), true
	}
	return 0, false
}
