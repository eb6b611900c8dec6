package bosh

import "time"

// What a simClient sends, and when: its login, its messages, its polls.

// act does what the client does about an element from the server.
func (c *simClient) act(stream int, name string) {
	switch name {
	case simFeatures:
		if c.truth.stream(stream).upSent == 0 {
			c.errands(simErrand{name: simAuth, count: 1, stream: stream})
		} else {
			c.errands(simErrand{name: simBind, count: 1, stream: stream})
		}
	case simSuccess:
		c.errands(simErrand{restart: true, stream: stream})
	case simBound:
		c.bound = append(c.bound, stream)
		if len(c.bound) < c.traits.streams {
			c.errands(simErrand{add: true})
		}
	}
}

func (c *simClient) errands(e simErrand) {
	if n := len(c.errand); n > 0 && !e.terminate && e.name == simMessage && c.errand[n-1].name == simMessage && c.errand[n-1].stream == e.stream {
		c.errand[n-1].count += e.count
		return
	}
	c.errand = append(c.errand, e)
}

// pump sends what can be sent. A background tab gets to it only when its timer fires.
func (c *simClient) pump() {
	if c.over || c.pumping {
		return
	}
	if c.traits.quantum == 0 {
		c.pumpNow()
		return
	}
	c.pumping = true
	c.later(0, func() {
		c.pumping = false
		c.pumpNow()
	})
}

func (c *simClient) pumpNow() {
	if c.made == nil || c.paused || c.terminating {
		return
	}
	for len(c.errand) > 0 && c.free(c.errand[0]) {
		c.run()
		if c.paused || c.terminating {
			return
		}
	}
	wanted := 1
	if c.traits.polls {
		wanted = max(1, c.made.hold)
	}
	for len(c.errand) == 0 && len(c.open) < wanted && c.free(simErrand{}) {
		if c.isPolling() && c.pollAt > c.w.clock {
			c.pollLater()
			return
		}
		c.pollAt = c.w.clock + c.made.polling + c.w.between(0, time.Second)
		c.post(c.enqueue(c.dress(request{})))
	}
}

func (c *simClient) isPolling() bool { return c.made.hold == 0 || c.made.wait == 0 }

func (c *simClient) pollLater() {
	if c.pumpAt > c.w.clock {
		return
	}
	c.pumpAt = c.pollAt
	c.later(c.pollAt-c.w.clock, c.pumpNow)
}

// free says whether one more request may be in flight: pause and terminate may use one place more. The span of rids is
// limited too, because answers are only kept for so many.
func (c *simClient) free(e simErrand) bool {
	slots := c.made.requests
	if c.traits.slots > 0 {
		slots = min(slots, c.traits.slots)
	}
	if e.pause > 0 || e.terminate {
		slots++
	}
	if len(c.open) == 0 {
		return true
	}
	return len(c.open) < slots && c.next-c.open[0].rid < uint64(slots)
}

// run sends the first errand.
func (c *simClient) run() {
	e := c.errand[0]
	c.errand = c.errand[1:]
	r := request{restart: e.restart, terminate: e.terminate}
	if c.traits.streams > 1 && !e.add && (!e.terminate || e.close) && e.name != simToAll {
		r.stream = c.streamName(e.stream)
	}
	if e.restart || e.add {
		r.to = "localhost"
	}
	if e.pause > 0 {
		r.hasPause, r.pause = true, e.pause
	}
	if n := min(e.count, 1+c.w.rng.IntN(20)); e.name != "" {
		s := c.truth.stream(e.stream)
		number := &s.upSent
		if e.name == simToAll {
			number = &c.truth.toAll
		}
		for range n {
			*number++
			r.payload = append(r.payload, simPayload(e.name, *number, c.padding()))
		}
		if e.name == simMessage && c.w.chance(0.1) {
			r.payload = append(r.payload, simActivePayload())
		}
		if rest := e.count - n; rest > 0 {
			e.count = rest
			c.errand = append([]simErrand{e}, c.errand...)
		}
	}
	p := c.enqueue(c.dress(r))
	if c.terminating = e.terminate && !e.close; e.close {
		c.closeStream(e.stream)
	}
	if e.pause > 0 {
		c.rest(e.pause)
	}
	c.post(p)
}

func (c *simClient) padding() int {
	if c.w.plan.padding == 0 || c.w.chance(0.7) {
		return 0
	}
	return c.w.rng.IntN(c.w.plan.padding)
}

// dress adds what every request of the session carries: acknowledgement and key.
func (c *simClient) dress(r request) request {
	if c.traits.acks && c.read != c.next-1 {
		r.hasAck, r.ack = true, c.read
	}
	if c.traits.keys {
		r.key, r.newkey = c.key.next(c.w)
	}
	return r
}

// rest is a pause: nothing is sent until it is over (XEP-0124 §10).
func (c *simClient) rest(seconds int) {
	c.paused = true
	page := c.page
	c.w.after(c.w.between(0, time.Duration(seconds)*time.Second*7/10), func() {
		if c.page != page || c.over {
			return
		}
		c.paused = false
		c.w.trace.add(c.w.clock, c.traits.name, "resumes after the pause")
		for _, p := range c.open {
			p.try.abort()
			c.post(p)
		}
		if len(c.open) == 0 {
			c.post(c.enqueue(c.dress(request{})))
		}
	})
}

// reload loads the page anew: requests in flight are aborted, and the next rid is all that the new page knows.
func (c *simClient) reload() {
	if c.over || c.made == nil || c.terminating || c.paused {
		return
	}
	w := c.w
	w.trace.add(w.clock, c.traits.name, "reloads the page, next rid %d", c.next)
	for _, p := range c.open {
		if !p.try.arrived || w.plan.replicas > 0 { // what a dead replica held nobody sends again
			c.truth.mayDie = "a request was lost with the page"
		}
		p.try.abort()
		c.truth.skip(p.rid)
	}
	c.open = nil
	c.page++
	c.pumping = false
	c.read = c.next - 1
	d := w.between(20*time.Millisecond, 3*time.Second)
	if c.isPolling() {
		d += c.made.polling
	}
	c.paused = true // until the new page is there
	c.later(d, func() {
		c.paused = false
		if len(c.errand) > 0 && !c.isPolling() {
			c.pumpNow()
			return
		}
		c.post(c.enqueue(c.dress(request{})))
	})
}

// streamOf and streamName translate stream names (XEP-0124 §16).
func (c *simClient) streamOf(r response) int {
	if r.stream == "" {
		return 0
	}
	for i, name := range c.w.plan.streamNames(c.sid) {
		if name == r.stream {
			return i
		}
	}
	return 0
}

func (c *simClient) streamName(i int) string { return c.w.plan.streamNames(c.sid)[i] }
