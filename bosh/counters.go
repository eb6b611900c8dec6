package bosh

// counters are what XEP-0198 §4 counts on the one stream that the gateway manages, in both directions, and what may be
// said about it. They know nothing of BOSH: any transport that keeps a session alive needs the same. All arithmetic is
// modulo 2^32.
type counters struct {
	on        bool // the server counts: nothing is confirmed upward before its <a/>
	resumable bool // and another connection may go on with the stream

	up      uint32 // stanzas written, or left out because the server had them
	upAcked uint32 // of those, handled by the server
	skip    uint32 // stanzas in front of what is still to be written that the server has (failover-design 7.3)

	down     uint32 // stanzas received
	seen     uint32 // number of the last one on this connection: below down while the server repeats itself
	resuming bool   // <resume/> is on its way: no <a/> may overtake it
	from     uint32 // h of the last <resume/>

	proved  uint32 // stanzas that the browser has
	safe    uint32 // stanzas that the server may forget: the browser has them, and the store knows that
	told    uint32 // last h sent
	asked   bool   // the server wants to know h
	ahead   uint32 // acknowledged although the browser does not have them; void once it has
	isAhead bool
}

// unackedMax is how many stanzas a server is left to remember. Beyond it servers drop the stream or refuse to resume it
// (failover-design 6, "Limits of the servers' queues").
const unackedMax = 4000

// beyond says whether count a comes after count b.
func beyond(a, b uint32) bool { return int32(a-b) > 0 }

func (c *counters) enable(resumable bool) { c.on, c.resumable = true, resumable }

// acked takes the server's h. It may come before the write that it covers is reported.
func (c *counters) acked(h uint32) bool {
	if !c.on || !beyond(h, c.upAcked) {
		return false
	}
	c.upAcked = h
	return true
}

// has says whether the server has handled the first u stanzas.
func (c *counters) has(u uint32) bool { return !c.on || !beyond(u, c.upAcked) }

// received counts a stanza; false: it came before, on the connection that was lost.
func (c *counters) received() bool {
	c.seen++
	if !beyond(c.seen, c.down) {
		return false
	}
	c.down = c.seen
	return true
}

// resumed starts over on a new connection: the server has handled h stanzas, we had those up to u confirmed or written.
func (c *counters) resumed(h, u uint32) {
	c.on = true
	c.acked(h)
	c.up, c.skip = u, 0
	if beyond(h, u) {
		c.skip = h - u
	}
	c.seen, c.told, c.resuming = c.from, c.from, false
}

// resume returns the h for <resume/>.
func (c *counters) resume() uint32 {
	c.from, c.resuming = c.safe, true
	return c.from
}

// wrote counts k stanzas of one request. Those that the server had before are among them.
func (c *counters) wrote(k int) {
	c.up += uint32(k)
	c.skip -= min(c.skip, uint32(k))
}

// confirm lets the server forget up to d.
func (c *counters) confirm(d uint32) {
	if beyond(d, c.safe) {
		c.safe = d
	}
}

// crowded says whether the server remembers too much for us.
func (c *counters) crowded() bool {
	base := c.safe
	if c.isAhead {
		base = c.ahead
	}
	return c.on && c.down-base >= unackedMax
}

// due returns the h to send, if one is to be sent now. <r/> is answered at once, also with the old h (UP-060).
func (c *counters) due() (uint32, bool) {
	grown := beyond(c.safe, c.told)
	if !c.on || c.resuming || !grown && !c.asked {
		return 0, false
	}
	c.asked = false
	if grown {
		c.told = c.safe
	}
	return c.told, true
}
