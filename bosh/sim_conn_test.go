package bosh

import "time"

// simConn is one TCP connection between a shell and a stream at the server. Both directions keep their order.
type simConn struct {
	w       *simWorld
	stream  *simStream
	index   int // of the stream in its session
	session *simSession

	upUntil  time.Duration // arrival of the last write
	wrote    int           // writes so far
	arrived  int           // of them, at the server
	cutAfter int           // writes that still get through once the process is dead
	lingers  time.Duration // until then the server handles what comes although the stream was resumed elsewhere
	down     []simDownward // on the way to the gateway or waiting for it to read
	broken   bool          // nothing gets through any more
	closed   bool          // the gateway gave it up: nothing is reported from it
	counting bool          // <enable/> was written: stanzas count from here
	ended    bool          // reported
}

type simDownKind uint8

const (
	downElement simDownKind = iota
	downHeader
	downAcked
	downAckRequested
	downEnabled
	downEnded
	downResumed
	downNotResumed
)

// simDownward is one thing from the server.
type simDownward struct {
	at        time.Duration // when it can be read
	kind      simDownKind
	el        element
	h         uint32
	resumable bool
	cause     cause
}

// send carries one write to the server.
func (c *simConn) send(u simUpward) {
	if c.broken {
		return
	}
	w := c.w
	at := max(c.upUntil, w.clock+w.between(0, w.plan.serverLatency))
	c.upUntil = at
	c.wrote++
	number := c.wrote
	w.after(at-w.clock, func() {
		c.arrived = number
		if c.cutAfter > 0 && number >= c.cutAfter {
			if number > c.cutAfter || len(u.payload) == 0 {
				return
			}
			u.payload, u.sync = u.payload[:w.rng.IntN(len(u.payload)+1)], false // torn between two stanzas
		}
		c.stream.arrives(c, u)
	})
}

// push carries one thing to the gateway.
func (c *simConn) push(d simDownward) {
	if c.ended || c.broken && d.kind != downEnded {
		return
	}
	d.at = c.w.clock + c.w.between(0, c.w.plan.serverLatency)
	if n := len(c.down); n > 0 {
		d.at = max(d.at, c.down[n-1].at)
	}
	c.down = append(c.down, d)
	c.w.after(d.at-c.w.clock, c.session.readAll)
}

// lose drops everything that is on its way.
func (c *simConn) lose() {
	c.broken = true
	c.down = nil
}

// die is the end of the gateway's process: a part of what it wrote still arrives, the server notices some time later.
func (c *simConn) die() {
	w := c.w
	c.lose()
	c.cutAfter = c.arrived + 1 + w.rng.IntN(c.wrote-c.arrived+1)
	w.after(w.between(time.Millisecond, 5*time.Second), func() {
		st := c.stream
		if st.conn != c {
			return
		}
		st.conn = nil
		if !st.resumable {
			st.finish()
		}
	})
}

// drop is the loss of the connection while both ends live.
func (c *simConn) drop() {
	w := c.w
	if c.broken || c.closed {
		return
	}
	w.trace.add(w.clock, "network", "connection to the server breaks")
	c.die()
	c.push(simDownward{kind: downEnded, cause: cause{kind: causeLost, condition: "reset"}})
}

// read hands on what has arrived, one thing at a time, as long as the machine wants more (BOSH-080).
func (c *simConn) read() {
	s := c.session
	for s.reads(c) && len(c.down) > 0 && c.down[0].at <= c.w.clock && s.running() && c.w.failure == nil {
		if !s.m.wantsMore() {
			s.o.pushedBack++
			return
		}
		d := c.down[0]
		c.down = c.down[1:]
		c.report(d)
	}
}

func (c *simConn) report(d simDownward) {
	s := c.session
	switch d.kind {
	case downHeader:
		s.opened(c)
	case downElement:
		els := []element{d.el}
		for len(els) < 4 && len(c.down) > 0 && c.down[0].kind == downElement && c.down[0].at <= c.w.clock && c.w.chance(0.3) {
			els = append(els, c.down[0].el)
			c.down = c.down[1:]
		}
		s.delivered(c, els)
	case downAcked:
		s.acked(d.h)
	case downAckRequested:
		s.ackRequested()
	case downEnabled:
		s.enabled(d.resumable)
		s.delivered(c, []element{d.el})
	case downEnded:
		c.ended = true
		s.ended(c, d.cause)
	case downResumed:
		s.attach(c, d.h)
	case downNotResumed:
		s.notResumed()
	}
}
