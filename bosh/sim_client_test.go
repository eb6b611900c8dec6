package bosh

import (
	"slices"
	"time"
)

// simTraits is what makes one kind of browser client differ from another.
type simTraits struct {
	name    string
	ver     version // zero: a legacy client
	acks    bool    // acknowledges responses (XEP-0124 §9.2)
	heeds   bool    // repeats on type=error; others take it for an empty answer
	slots   int     // requests in flight; 0: as many as the session allows
	polls   bool    // keeps as many empty requests open as may be held, not just one
	wait    int     // -1: does not say
	hold    int     // -1: does not say
	keys    bool
	giveUp  int // tries of one request; 0: never
	pauses  bool
	quantum time.Duration // background tab: timers only fire at multiples
	streams int
}

// simClient is a browser that keeps the rules.
type simClient struct {
	w      *simWorld
	site   *simSite
	traits simTraits
	truth  *simTruth // once a session is there

	page      int // counts page loads: what belongs to an old page is void
	sid       string
	made      *creation
	next      uint64
	open      []*simPost // unanswered, by rid
	done      map[uint64]bool
	read      uint64 // all answers up to here are read, or will never be
	accounted uint64 // and compared with what the server sent
	key       simKeys
	errand    []simErrand
	bound     []int // streams that are logged in
	named     []int // streams that answers have named
	closed    []int // streams that are over

	pollAt      time.Duration // polling sessions: no empty request before that
	pumpAt      time.Duration
	pumping     bool
	paused      bool
	terminating bool
	over        bool
	terminal    *response
	creations   int
}

// simErrand is something that the client wants to send.
type simErrand struct {
	name      string // of the element; "" for an empty request
	count     int
	stream    int
	restart   bool
	pause     int
	terminate bool
	close     bool // terminate for this stream alone (XEP-0124 §16.5)
	add       bool // open another stream
}

// simPost is one rid of the client, over all its tries.
type simPost struct {
	rid   uint64
	body  request // template
	try   *simTry
	tries int
	page  int
	empty bool
}

func newSimClient(site *simSite, traits simTraits) *simClient {
	return &simClient{w: site.w, site: site, traits: traits}
}

// start sends the creation request.
func (c *simClient) start() {
	w := c.w
	c.page++
	c.open, c.done, c.errand = nil, map[uint64]bool{}, nil
	c.next = 1 + w.rng.Uint64N(1<<20)
	if w.chance(0.01) {
		c.next = 1<<53 - 1<<16
	}
	c.read, c.accounted = c.next-1, c.next-1
	c.creations++
	r := request{to: "localhost", xmppVersion: "1.0", hasVer: c.traits.ver != version{}, ver: c.traits.ver}
	if c.traits.wait >= 0 {
		r.hasWait, r.wait = true, c.traits.wait
	}
	if c.traits.hold >= 0 {
		r.hasHold, r.hold = true, c.traits.hold
	}
	if c.traits.acks {
		r.hasAck, r.ack = true, 1
	}
	if c.traits.keys {
		c.key = newSimKeys(w, 3+w.rng.IntN(12))
		r.newkey = c.key.first()
	}
	c.post(c.enqueue(r))
}

// enqueue gives a request the next rid.
func (c *simClient) enqueue(r request) *simPost {
	r.rid, r.sid = c.next, c.sid
	r.bytes = 100
	for _, p := range r.payload {
		r.bytes += len(p.frame.Raw)
	}
	r.hash = r.rid * 0x9e3779b97f4a7c15
	p := &simPost{rid: c.next, body: r, page: c.page, empty: len(r.payload) == 0}
	c.next++
	c.open = append(c.open, p)
	return p
}

// post sends a request, or sends it again.
func (c *simClient) post(p *simPost) {
	w := c.w
	t := &simTry{w: w, site: c.site, name: c.traits.name, honest: true, orderly: !c.traits.heeds}
	t.make = func() *request {
		r := p.body
		return &r
	}
	t.onAnswer = func(a answer) { c.answered(p, t, a) }
	t.onError = func() { c.failed(p, t, 0) }
	p.try = t
	p.tries++
	if w.trace != nil {
		w.trace.add(w.clock, c.traits.name, "sends %s, try %d", traceRequest(&p.body), p.tries)
	}
	t.send()
	patience := 70 * time.Second
	if c.made != nil {
		patience = c.made.wait*11/10 + 5*time.Second
	}
	w.after(patience, func() {
		if p.try == t && c.waitsFor(p) {
			t.abort()
			c.failed(p, t, 0)
		}
	})
}

func (c *simClient) waitsFor(p *simPost) bool {
	if c.over || p.page != c.page {
		return false
	}
	for _, o := range c.open {
		if o == p {
			return true
		}
	}
	return false
}

// failed is a try that came to nothing: 5xx, a broken connection, or no patience. The same rid is sent again, later.
func (c *simClient) failed(p *simPost, t *simTry, pause time.Duration) {
	if p.try != t || !c.waitsFor(p) {
		return
	}
	t.abort()
	w := c.w
	w.trace.add(w.clock, c.traits.name, "try %d of rid %d failed", p.tries, p.rid)
	if c.traits.giveUp > 0 && p.tries >= c.traits.giveUp {
		c.vanish()
		return
	}
	backOff := w.between(50*time.Millisecond, time.Second)
	if c.traits.giveUp > 0 { // as Strophe: the cube of the tries
		backOff = min(time.Duration(p.tries*p.tries*p.tries)*time.Second, 30*time.Second)
	}
	c.later(max(backOff, pause), func() {
		if p.try == t && c.waitsFor(p) && !c.paused {
			c.again(p)
		}
	})
}

// again sends a request another time. A lost creation request makes a new session.
func (c *simClient) again(p *simPost) {
	if c.made == nil {
		c.start()
		return
	}
	c.post(p)
}

// later runs f after d, or in a background tab later.
func (c *simClient) later(d time.Duration, f func()) {
	page := c.page
	if q := c.traits.quantum; q > 0 {
		d = (c.w.clock+d+q)/q*q - c.w.clock
	}
	c.w.after(d, func() {
		if page == c.page && !c.over {
			f()
		}
	})
}

// vanish ends the client without a word.
func (c *simClient) vanish() {
	w := c.w
	w.trace.add(w.clock, c.traits.name, "vanishes")
	c.over = true
	if c.truth != nil {
		c.truth.forgiven = true
	}
	for _, p := range c.open {
		p.try.abort()
	}
}

// answered handles a response.
func (c *simClient) answered(p *simPost, t *simTry, a answer) {
	if p.try != t || !c.waitsFor(p) {
		return
	}
	w := c.w
	if w.trace != nil {
		w.trace.add(w.clock, c.traits.name, "gets for rid %d: %s", p.rid, traceAnswer(a))
	}
	r := a.response
	switch {
	case a.kind != answerBody:
		c.failed(p, t, w.between(time.Second, 2*time.Second))
	case r.terminate && r.stream != "" && c.others(c.streamOf(r)) > 0:
		c.closeStream(c.streamOf(r))
		c.truth.received(p.rid, r.payload)
		c.finish(p, r)
	case r.status != 0 || r.terminate:
		c.ended(p, r)
	case r.failed && c.traits.heeds:
		c.repeat(p)
	case r.failed:
		if c.w.plan.replicas > 0 {
			// Its payload is parked in one replica alone, and will not be sent again.
			c.truth.mayDie = "the browser took type=error for an answer"
		}
		c.finish(p, response{})
	default:
		if c.made == nil {
			c.created(r)
		}
		c.truth.received(p.rid, r.payload)
		c.finish(p, r)
	}
}

// others counts the streams that stay when one is over.
func (c *simClient) others(over int) int {
	n := 0
	for _, p := range c.open {
		if p.body.to != "" && !p.body.restart && p.body.sid != "" {
			n++ // it asks for another one
		}
	}
	for _, i := range c.named {
		if i != over && !slices.Contains(c.closed, i) {
			n++
		}
	}
	return n
}

// closeStream notes the end of one stream of several (XEP-0124 §16.6).
func (c *simClient) closeStream(i int) {
	c.closed = append(c.closed, i)
	if !slices.Contains(c.bound, i) {
		c.traits.streams--
	}
	kept := c.errand[:0]
	for _, e := range c.errand {
		if e.stream != i {
			kept = append(kept, e)
		}
	}
	c.errand = kept
	if len(c.bound) < c.traits.streams {
		c.errands(simErrand{add: true})
	}
}

func (c *simClient) created(r response) {
	if r.created == nil {
		c.w.fail("BOSH-055/created", "first response without creation attributes")
		return
	}
	c.made, c.sid = r.created, r.created.sid
	c.truth = c.site.truths[c.sid]
	if c.truth == nil {
		c.w.fail("BOSH-054/sid", "sid %q is nobody's", c.sid)
	}
}

// repeat is what type=error asks for: this request and all unanswered earlier ones again (XEP-0124 §17.3).
func (c *simClient) repeat(p *simPost) {
	t := p.try
	c.later(c.w.between(0, 300*time.Millisecond), func() {
		if p.try != t || !c.waitsFor(p) || c.paused {
			return
		}
		for _, o := range c.open {
			if o.rid <= p.rid {
				o.try.abort()
				c.post(o)
			}
		}
	})
}

// finish takes a request as answered, and acts on what the answer holds, in the order in which answers come.
func (c *simClient) finish(p *simPost, r response) {
	c.drop(p)
	c.done[p.rid] = true
	for c.done[c.read+1] {
		c.read++
	}
	if c.read > c.accounted {
		c.truth.advance(c.accounted+1, c.read)
		c.accounted = c.read
	}
	stream := c.streamOf(r)
	if !r.terminate && !slices.Contains(c.named, stream) {
		c.named = append(c.named, stream)
	}
	for _, el := range r.payload {
		c.act(stream, simName(el.raw))
	}
	if len(r.payload) > 0 {
		c.pollAt = c.w.clock
	} else {
		c.pollAt = c.w.clock + c.made.polling + c.w.between(0, time.Second)
	}
	if r.report != 0 {
		c.reported(r)
	}
	c.pump()
}

func (c *simClient) drop(p *simPost) {
	for i, o := range c.open {
		if o == p {
			c.open = append(c.open[:i:i], c.open[i+1:]...)
			return
		}
	}
}

// ended handles a terminate body or a 4xx: the session is over for the client.
func (c *simClient) ended(p *simPost, r response) {
	w := c.w
	c.over = true
	c.terminal = &r
	for _, o := range c.open {
		if o != p {
			o.try.abort()
		}
	}
	if c.truth == nil {
		return
	}
	if len(r.payload) > 0 {
		c.truth.received(p.rid, r.payload)
	}
	// With a stream's own end the session is over for a browser whose request to end the other streams is still on its way.
	if s := c.site.owner(c.sid); r.stream == "" && s != nil && s.running() && !s.o.ended && c.truth.mayDie == "" {
		w.fail("terminate/alive", "browser got terminate %q, but its session goes on", r.condition)
	}
	c.judge(p, r)
}

// judge checks the last answer: all that the server said before must have come before it.
func (c *simClient) judge(p *simPost, r response) {
	if c.truth.mayDie != "" || p.rid != c.read+1 || p.try.hop == nil || c.terminating {
		return
	}
	c.done[p.rid] = true
	for c.done[c.read+1] {
		c.read++
	}
	c.truth.advance(c.accounted+1, c.read)
	c.accounted = c.read
	if c.w.plan.replicas > 0 && r.condition == "item-not-found" {
		return // a replica that takes over does not hear how the stream ended, and has not what came before
	}
	for _, s := range c.truth.streams {
		if s.serverEnded && s.read != s.delivered && !slices.Contains(c.closed, s.index) {
			c.w.fail("BOSH-124/undelivered", "session over with element %d of stream %d read, the gateway has %d", s.read,
				s.index, s.delivered)
		}
		want, known := map[causeKind]string{
			causeClean: "", causeError: "remote-stream-error",
			causeLost: "item-not-found",
		}[s.endKind]
		if s.serverEnded && known && len(c.truth.streams) == 1 && r.condition != want {
			c.w.fail("XBOSH-019/condition", "stream ended (%d), browser got condition %q, right is %q", s.endKind, r.condition, want)
		}
	}
}

// reported repeats the request whose response did not arrive (XEP-0124 §9.2).
func (c *simClient) reported(r response) {
	for _, p := range c.open {
		if p.rid == r.report {
			p.try.abort()
			c.post(p)
		}
	}
}
