package bosh

import (
	"fmt"
	"slices"
	"time"
)

// simRun is one run of one plan.
type simRun struct {
	w        *simWorld
	site     *simSite
	client   *simClient
	hostile  *simHostile
	started  bool
	finished bool // the work is done and the end has begun
	deadline time.Duration
}

// runPlan runs a plan to its end and returns what it found.
func runPlan(plan simPlan, trace *simTrace) *simWorld {
	w := newSimWorld(plan, trace)
	run := &simRun{w: w, site: newSimSite(w, max(1, plan.replicas))}
	run.client = newSimClient(run.site, plan.traits)
	w.after(0, func() {
		run.client.start()
		if plan.hostile {
			run.hostile = newSimHostile(run.site)
			run.hostile.start()
		}
		run.watch()
	})
	w.run(24*time.Hour, run.over)
	if w.failure == nil && !run.over() {
		w.fail("liveness/no-end", "nothing happens any more, and %d sessions are there", run.alive())
	}
	if w.failure == nil {
		run.aftermath()
	}
	return w
}

// alive counts the sessions that are not forgotten.
func (run *simRun) alive() int {
	n := 0
	for _, s := range run.site.sessions {
		if s.running() {
			n++
		}
	}
	return n
}

func (run *simRun) over() bool {
	return run.finished && run.alive() == 0 && (run.hostile == nil || run.hostile.over)
}

// watch starts the work once the client is logged in, and the end once the work is done.
func (run *simRun) watch() {
	w, c := run.w, run.client
	if c.truth != nil && c.truth.online == nil {
		c.truth.online = func(stream int) { run.work(stream) }
		for _, st := range run.site.server.streams {
			if st.truth.truth == c.truth && st.phase == phaseOnline {
				run.work(st.truth.index)
			}
		}
	}
	switch {
	case run.finished:
		return
	case c.over:
		run.finish()
		return
	case w.clock >= 10*time.Minute && !run.started && c.truth == nil:
		c.vanish()
	case run.deadline > 0 && w.clock >= run.deadline:
		run.settle()
	}
	if w.clock > 4*time.Hour {
		w.fail("liveness/unfinished", "work is not done after %v: %s", w.clock, run.progress())
		return
	}
	w.after(time.Second, run.watch)
}

// work plans what server and browser have to say on a stream, and what goes wrong meanwhile.
func (run *simRun) work(stream int) {
	w, p := run.w, &run.w.plan
	if !run.started {
		run.started = true
		run.deadline = w.clock + p.duration
		run.troubles()
		if p.abrupt {
			w.after(w.between(0, p.duration), func() {
				if !run.finished {
					w.faults = 0
					run.finish()
				}
			})
		}
	}
	st := run.serverStream(stream)
	for left := p.down; left > 0; {
		n := min(left, 1+w.rng.IntN(p.burst))
		left -= n
		w.after(w.between(0, p.duration), func() { st.burst(n, p.padding) })
	}
	for left := p.up; left > 0; {
		n := min(left, 1+w.rng.IntN(p.burst))
		left -= n
		run.says(w.between(0, p.duration), stream, n)
	}
}

// says lets the browser send n messages at a time.
func (run *simRun) says(d time.Duration, stream, n int) {
	c := run.client
	run.w.after(d, func() {
		if !c.over && !run.finished && !slices.Contains(c.closed, stream) {
			if len(c.bound) > 1 && len(c.bound) == c.traits.streams && run.w.chance(0.2) {
				c.errands(simErrand{name: simToAll, count: 1})
			}
			c.errands(simErrand{name: simMessage, count: n, stream: stream})
			c.pump()
		}
	})
}

func (run *simRun) serverStream(stream int) *simStream {
	for _, st := range run.site.server.streams {
		if st.truth.truth == run.client.truth && st.truth.index == stream {
			return st
		}
	}
	return nil
}

// troubles plans stalls, outages, page loads and pauses.
func (run *simRun) troubles() {
	w, p, c := run.w, &run.w.plan, run.client
	for range p.stalls {
		w.after(w.between(0, p.duration), func() {
			if w.fault(1) {
				run.serverStream(0).stall(w.between(0, 12*time.Second))
			}
		})
	}
	for range p.outages {
		w.after(w.between(0, p.duration), func() {
			if w.fault(1) {
				run.site.store.outage(w.between(0, 20*time.Second))
			}
		})
	}
	for range p.closes {
		w.after(w.between(0, p.duration), func() {
			if i := len(c.bound) - 1; i > 0 && !c.over && !run.finished && len(c.bound) == c.traits.streams && c.others(i) > 0 {
				c.errands(simErrand{terminate: true, close: true, stream: c.bound[i], name: pickClosing(w), count: 1})
				c.pump()
			}
		})
	}
	run.deaths()
	for range p.reloads {
		w.after(w.between(0, p.duration), func() {
			if w.fault(1) {
				c.reload()
			}
		})
	}
	for range p.pauses {
		w.after(w.between(0, p.duration), func() {
			if !c.over && c.made != nil && c.made.maxpause >= 20*time.Second {
				seconds := 20 + w.rng.IntN(int(c.made.maxpause/time.Second)-19)
				c.errands(simErrand{pause: seconds})
				c.pump()
			}
		})
	}
}

// deaths plans kills, freezes and drains of replicas.
func (run *simRun) deaths() {
	w, p := run.w, &run.w.plan
	victim := func(what func(r *simReplica)) func() {
		return func() {
			r := run.site.replicas[w.rng.IntN(len(run.site.replicas))]
			if !run.finished && !r.dead && w.fault(1) {
				what(r)
			}
		}
	}
	for range p.kills {
		w.after(w.between(0, p.duration), victim(func(r *simReplica) { r.kill(w.between(300*time.Millisecond, 5*time.Second)) }))
	}
	for range p.freezes {
		w.after(w.between(0, p.duration), victim(func(r *simReplica) { r.freeze(w.between(0, 12*time.Second)) }))
	}
	for range p.drops {
		w.after(w.between(0, p.duration), func() {
			if st := run.serverStream(0); !run.finished && st != nil && st.conn != nil && st.resumable && w.fault(1) {
				st.conn.drop()
			}
		})
	}
	for range p.losses {
		w.after(w.between(0, p.duration), func() {
			if !run.finished && w.fault(1) {
				run.site.store.lose(run.client.sid, run.client.truth)
			}
		})
	}
	for range p.drains {
		w.after(w.between(0, p.duration), victim(func(r *simReplica) { r.drain() }))
	}
}

// settle: no more faults; once everything has arrived on both sides the end begins.
func (run *simRun) settle() {
	w := run.w
	w.faults = 0
	w.plan.silent, w.plan.unnoticed, w.plan.spikes = 0, 0, 0
	if run.settled() {
		run.finish()
		return
	}
	if w.clock > run.deadline+30*time.Minute {
		w.fail("liveness/undelivered", "%s", run.progress())
	}
}

func (run *simRun) settled() bool {
	c := run.client
	if len(c.bound) < c.traits.streams {
		return false
	}
	for _, s := range c.truth.streams {
		if s.toAllNext > 0 && !slices.Contains(c.closed, s.index) && s.toAllNext != c.truth.toAll+1 {
			return false
		}
		if slices.Contains(c.closed, s.index) {
			if s.upNext != s.upSent+1 {
				return false
			}
			continue
		}
		if s.upNext != s.upSent+1 || s.read != s.downSent {
			return false
		}
	}
	return len(c.errand) == 0 && !c.paused
}

func (run *simRun) progress() string {
	c := run.client
	if c.truth == nil {
		return "no session"
	}
	text := ""
	for _, s := range c.truth.streams {
		text += fmt.Sprintf("stream %d: %d sent by the browser, %d at the server; %d sent by the server, %d at the gateway, %d read; ",
			s.index, s.upSent, s.upNext-1, s.downSent, s.delivered, s.read)
	}
	return fmt.Sprintf("%s%d errands, %d requests open, paused %v", text, len(c.errand), len(c.open), c.paused)
}

// finish begins the end.
func (run *simRun) finish() {
	w, c := run.w, run.client
	run.finished = true
	if run.hostile != nil {
		run.hostile.stop()
	}
	if c.over || c.truth == nil {
		return
	}
	w.trace.add(w.clock, "world", "everything has arrived; ending %d", w.plan.ending)
	var endAll func(kind causeKind)
	endAll = func(kind causeKind) {
		w.after(time.Second, func() { // also those that were just being opened
			if !c.over {
				endAll(kind)
			}
		})
		for i := range c.truth.streams {
			if st := run.serverStream(i); st != nil {
				st.endWith(kind)
			}
		}
	}
	switch w.plan.ending {
	case endTerminate:
		c.errands(simErrand{terminate: true, name: pickName(w), count: 1})
		c.pump()
	case endVanish:
		c.vanish()
	case endServerClean:
		endAll(causeClean)
	case endServerError:
		endAll(causeError)
	case endServerLost:
		endAll(causeLost)
	case endShutdown:
		run.shutDown()
	}
}

// shutDown ends the whole service: also what a replica takes over meanwhile.
func (run *simRun) shutDown() {
	for _, s := range run.site.sessions {
		if s.running() && s.m != nil {
			s.shutdown()
		}
	}
	run.w.after(time.Second, func() {
		if !run.client.over {
			run.shutDown()
		}
	})
}

// pickClosing: so may one that closes a stream.
func pickClosing(w *simWorld) string {
	if w.chance(0.5) {
		return simMessage
	}
	return ""
}

// pickName: a terminate request may carry a last stanza.
func pickName(w *simWorld) string {
	switch {
	case w.chance(0.5):
		return ""
	case w.plan.traits.streams > 1:
		return simToAll // without a stream's name it goes to all of them
	}
	return simMessage
}

// aftermath looks at what is left when every session is gone.
func (run *simRun) aftermath() {
	w, c := run.w, run.client
	for _, s := range run.site.sessions {
		if s.m == nil || !s.over {
			continue
		}
		now := w.now().Add(time.Second)
		for _, e := range []effects{
			s.m.tick(now), s.m.gone(now, s.last), s.m.delivered(now, 0, []element{{raw: []byte("<late/>")}}),
			s.m.acked(now, 1), s.m.ended(now, 0, cause{}), s.m.saved(now, 1, true), s.m.shutdown(now), s.m.drain(now),
		} {
			s.o.afterForget(e)
		}
	}
	if c.truth == nil || c.terminal == nil || !c.terminating || c.truth.mayDie != "" {
		return
	}
	for _, s := range c.truth.streams {
		if !s.serverEnded && s.upNext != s.upSent+1 {
			w.fail("BOSH-119/lost", "terminated, but the server has only %d of %d stanzas of stream %d", s.upNext-1, s.upSent, s.index)
		}
	}
}
