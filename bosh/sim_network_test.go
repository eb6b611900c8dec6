package bosh

import (
	"fmt"
	"time"
)

// simSite is everything on the far side of the network: replicas, store and server.
type simSite struct {
	w        *simWorld
	server   *simServer
	store    *simStore
	replicas []*simReplica
	truths   map[string]*simTruth
	sessions []*simSession // every one that was ever made
	lastSID  int
	tries    []*simTry // not answered, perhaps
}

func newSimSite(w *simWorld, replicas int) *simSite {
	site := &simSite{w: w, server: &simServer{w: w}, store: newSimStore(w), truths: map[string]*simTruth{}}
	for i := range replicas {
		site.replicas = append(site.replicas, newSimReplica(site, fmt.Sprintf("gw%d", i+1)))
	}
	if w.plan.replicas > 0 {
		for _, r := range site.replicas {
			r.renew()
		}
	}
	return site
}

// simTry is one HTTP request on its way, and its response.
type simTry struct {
	w       *simWorld
	site    *simSite
	name    string          // of the browser
	make    func() *request // a fresh one: the machine owns what it gets
	honest  bool
	refuse  string // the body cannot be read: the condition for it
	orderly bool   // the browser takes type=error for an answer: no copy may overtake the last one

	onAnswer func(a answer)
	onError  func() // the browser notices that the connection broke

	closed   bool // the browser's end is closed
	ghost    bool // a copy that something on the way made; nobody reads its response
	settled  bool // the browser has heard of it
	answered bool // the shell has answered
	lossy    bool // the response will be cut
	arrived  bool
	doomed   bool // it will never arrive

	at        *simReplica // where the browser's connection ends
	relay     *simReplica // that handed the request on
	hop       *simHop     // nil: no session has it
	withdrawn bool        // gone before a session had it
}

// simHop is a try in the hands of a session.
type simHop struct {
	t       *simTry
	session *simSession
	x       exchange
}

// respond answers, unless the request has been given to another session meanwhile.
func (h *simHop) respond(a answer) {
	if h.t.hop == h {
		h.t.respond(a)
	}
}

// send puts a request on its way and decides what will happen to it.
func (t *simTry) send() {
	w := t.w
	p := &w.plan
	there := w.latency()
	if w.fault(p.lost) {
		t.doomed = true
		w.after(there, func() { t.breaks("lost before it arrived") })
		return
	}
	t.lossy = w.fault(p.cutResponse)
	if (!t.orderly || p.replicas == 0) && w.fault(p.duplicate) {
		t.copies(there)
	}
	w.after(there, func() { t.arrive() })
	if w.fault(p.cutHeld) {
		w.after(there+w.between(0, 3*w.plan.config.wait/4), func() {
			if !t.answered && !t.closed {
				t.breaks("connection cut")
				t.hangUp()
			}
		})
	}
}

// copies sends the same request a second time, as balancers do; its response goes nowhere. For a browser that acts on
// type=error the copy may come later than the original, for others not.
func (t *simTry) copies(there time.Duration) {
	w := t.w
	ghost := &simTry{w: w, site: t.site, name: t.name + "'", make: t.make, honest: t.honest, ghost: true, closed: true}
	at := w.between(0, there)
	if !t.orderly {
		at = w.between(0, 2*there)
	}
	w.after(at, func() {
		ghost.arrive()
		w.after(w.between(0, w.plan.detection), ghost.tellGone)
	})
}

// breaks tells the browser that nothing will come; sometimes it is not told and has to find out by its own patience.
func (t *simTry) breaks(how string) {
	w := t.w
	if w.trace != nil {
		w.trace.add(w.clock, "network", "%s: %s", t.name, how)
	}
	if t.closed || t.settled || w.chance(w.plan.silent) {
		return
	}
	t.settled = true
	w.after(w.latency(), t.onError)
}

// arrive hands the request to a replica.
func (t *simTry) arrive() {
	t.arrived = true
	gone := t.closed && !t.ghost
	if gone && t.w.chance(0.5) {
		return // the connection was closed before the request was read
	}
	r := t.make()
	t.site.route(t, r)
	if gone {
		t.tellGone() // the request and the end of the connection came together
	}
}

// abort is the browser closing its connection.
func (t *simTry) abort() {
	if t.closed {
		return
	}
	t.closed, t.settled = true, true
	t.hangUp()
}

// hangUp lets the gateway notice that the connection is gone: soon, late, or never.
func (t *simTry) hangUp() {
	t.closed = true
	w := t.w
	if w.fault(w.plan.unnoticed) {
		return
	}
	w.after(w.between(0, w.plan.detection), t.tellGone)
}

func (t *simTry) tellGone() {
	h := t.hop
	if h == nil {
		t.withdrawn = true
		return
	}
	if t.answered && !t.w.chance(0.2) {
		return
	}
	delete(h.session.tries, h.x)
	h.session.gone(h.x)
}

// respond carries the answer back to the browser.
func (t *simTry) respond(a answer) {
	t.answered = true
	w := t.w
	if t.at != nil && t.at.dead {
		return
	}
	if t.at != nil && t.at.frozen {
		t.at.do(func() { t.respond(a) })
		return
	}
	if t.ghost || t.closed || t.settled {
		return
	}
	if a.kind == answerNothing || t.lossy {
		w.after(w.latency(), func() { t.breaks("response lost") })
		return
	}
	w.after(w.latency(), func() {
		if t.closed || t.settled {
			return
		}
		t.settled = true
		t.onAnswer(a)
	})
}

// route is the balancer: any replica may get any request. A dead one refuses the connection and the next is tried; one that
// does not move is found out after a while.
func (site *simSite) route(t *simTry, r *request) {
	w := site.w
	for range 10 {
		host := site.replicas[w.rng.IntN(len(site.replicas))]
		if host.dead || host.leaving && w.chance(0.8) || host.frozen && w.chance(0.7) {
			continue
		}
		t.at = host
		if len(site.replicas) > 1 {
			site.note(t)
		}
		host.do(func() { host.serve(t, r) })
		return
	}
	t.respond(answer{kind: answerUnavailable})
}

// owner is the newest session with that sid: older ones may not have noticed yet that they are not.
func (site *simSite) owner(sid string) *simSession {
	for i := len(site.sessions) - 1; i >= 0; i-- {
		if s := site.sessions[i]; s.sid == sid {
			return s
		}
	}
	return nil
}

// note remembers a try, for the death of the replica that has it.
func (site *simSite) note(t *simTry) {
	kept := site.tries[:0]
	for _, o := range site.tries {
		if !o.answered && !o.settled {
			kept = append(kept, o)
		}
	}
	site.tries = append(kept, t)
}

// ownerDied: the owner of a session is gone. A replica that handed the request on takes over itself (7.1).
func (t *simTry) ownerDied(w *simWorld) {
	r, front, owner := t.make(), t.relay, t.hop.session.host
	if front == nil || front.dead || front == owner || t.answered {
		return
	}
	inc := owner.incarnation
	t.release()
	front.later(w.between(0, w.plan.relayLatency), func() { front.lookUp(t, r, owner, inc, false) })
}

// release takes a request back from a session, which then sees its connection break.
func (t *simTry) release() {
	h := t.hop
	t.hop, t.relay = nil, nil
	if h != nil {
		t.w.after(t.w.between(0, t.w.plan.detection), func() {
			delete(h.session.tries, h.x)
			h.session.gone(h.x)
		})
	}
}
