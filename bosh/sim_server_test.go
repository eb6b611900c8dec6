package bosh

import (
	"fmt"
	"time"
)

// simServer is the XMPP server of a world: it authenticates, binds, numbers and counts stanzas, floods, stalls, and ends
// streams in every way. It knows XEP-0198.
type simServer struct {
	w       *simWorld
	streams []*simStream // every one that was ever opened
}

type simPhase uint8

const (
	phaseFresh  simPhase = iota // header answered, features sent
	phaseAuthed                 // success sent, restart expected
	phaseReborn                 // restarted, features sent
	phaseOnline                 // bound
	phaseOver
)

// simStream is one session at the server. It outlives its connection while it can be resumed.
type simStream struct {
	server *simServer
	truth  *simTruthStream
	conn   *simConn // nil: hibernating
	phase  simPhase

	smOn      bool // <enable/> succeeded: both directions are counted
	resumable bool
	handled   uint32       // stanzas of the browser since <enable/>
	sent      []simCounted // counted stanzas to the browser, all of them
	acked     uint32       // highest <a h/> of the gateway

	cleanly bool // ended by </stream:stream> from the gateway
	stalled bool
	held    []func() // what arrives during a stall
}

// simCounted is a stanza to the browser that XEP-0198 counts.
type simCounted struct {
	el     element
	number int // among all elements of the stream
}

// simUpward is one write of the gateway on its way to the server.
type simUpward struct {
	payload []payload
	header  bool
	sync    bool
	enable  bool
	ack     bool
	h       uint32
	close   bool
	resume  bool
}

// arrives handles one write of the gateway.
func (s *simStream) arrives(c *simConn, u simUpward) {
	if u.resume {
		s.resumes(c, u.h)
		return
	}
	if s.conn != c && c.lingers > s.server.w.clock && !s.stalled && s.phase != phaseOver && !u.header && !u.ack && !u.close {
		s.handle(c, u) // ejabberd: what was in flight on the replaced connection is handled after h was told (11)
		return
	}
	if s.conn != c || s.phase == phaseOver {
		return // an old connection: the server has let go of it (7.4)
	}
	if s.stalled {
		s.held = append(s.held, func() { s.arrives(c, u) })
		return
	}
	switch {
	case u.header:
		s.header(c)
	case u.ack:
		s.acknowledged(u.h)
	case u.close:
		s.cleanly = true
		s.finish()
		c.push(simDownward{kind: downEnded, cause: cause{kind: causeClean}})
	default:
		s.handle(c, u)
	}
}

func (s *simStream) header(c *simConn) {
	switch s.phase {
	case phaseAuthed:
		s.phase = phaseReborn
	case phaseFresh:
	default:
		if s.truth.truth.honest {
			s.server.w.fail("upstream/restart", "stream header in phase %d", s.phase)
		}
		s.endWith(causeError)
		return
	}
	w := s.server.w
	think := w.plan.serverThink
	if w.chance(w.plan.slowOpen) {
		think += w.between(0, 3*time.Minute/2)
	}
	w.after(w.between(0, think), func() {
		c.push(simDownward{kind: downHeader})
		s.say(simFeatures, 0)
	})
}

// handle takes the browser's elements: each must be the next one of its stream.
func (s *simStream) handle(c *simConn, u simUpward) {
	w := s.server.w
	for _, p := range u.payload {
		name := simName(p.frame.Raw)
		if name == simActive {
			continue
		}
		if !s.truth.truth.honest {
			if s.smOn && p.stanza {
				s.handled++
			}
			s.react(c, name, u.enable)
			continue
		}
		n, ok := simNumber(p.frame.Raw)
		if !ok {
			w.fail("upstream/garbled", "server got %q", p.frame.Raw)
			return
		}
		next := &s.truth.upNext
		if name == simToAll {
			if next = &s.truth.toAllNext; *next == 0 {
				*next = n
			}
		}
		if n != *next {
			w.fail("upstream/order", "server got %s#%d of stream %d, expected #%d", name, n, s.truth.index, *next)
			return
		}
		*next++
		if s.smOn && p.stanza {
			s.handled++
		}
		s.react(c, name, u.enable)
	}
	if s.smOn && (u.sync || w.chance(0.1)) {
		s.acknowledge(c)
	}
}

// react answers what a login consists of.
func (s *simStream) react(c *simConn, name string, enable bool) {
	switch {
	case name == simAuth && s.phase == phaseFresh:
		s.phase = phaseAuthed
		s.say(simSuccess, 0)
	case name == simBind && s.phase == phaseReborn:
		s.phase = phaseOnline
		if s.server.w.plan.early {
			s.say(simMessage, 0)
		}
		if enable && s.server.w.plan.enables {
			s.smOn, s.resumable = true, s.server.w.plan.resumable
			// The shell reads the bind result first and keeps it until <enabled/> has come.
			c.push(simDownward{kind: downEnabled, resumable: s.resumable, el: s.next(simBound, 0)})
		} else {
			s.say(simBound, 0)
		}
		s.truth.online()
	}
}

// acknowledge sends <a/>.
func (s *simStream) acknowledge(c *simConn) {
	c.push(simDownward{kind: downAcked, h: s.handled})
}

// acknowledged checks an <a/> of the gateway: never more than was sent, never back, and never more than the browser has
// (failover-design 2.2).
func (s *simStream) acknowledged(h uint32) {
	w := s.server.w
	if w.trace != nil {
		w.trace.add(w.clock, "server", "stream %d acked h=%d of %d", s.truth.index, h, len(s.sent))
	}
	switch {
	case !s.smOn:
		w.fail("upstream/ack-unmanaged", "<a h=%d/> on a stream without stream management", h)
	case int(h) > len(s.sent):
		w.fail("upstream/ack-too-high", "<a h=%d/>, but only %d stanzas were sent", h, len(s.sent))
	case h < s.acked:
		w.fail("upstream/ack-back", "<a h=%d/> after %d", h, s.acked)
	case h > 0 && s.sent[h-1].number > s.truth.has:
		w.fail("invariant-2/ack-ahead", "<a h=%d/> covers element %d, but the browser surely has only those up to %d",
			h, s.sent[h-1].number, s.truth.has)
	}
	s.acked = max(s.acked, h)
}

// say sends the next element to the browser.
func (s *simStream) say(name string, padding int) {
	if s.phase == phaseOver {
		return
	}
	el := s.next(name, padding)
	if s.conn != nil {
		s.conn.push(simDownward{kind: downElement, el: el})
		if s.smOn && s.server.w.chance(0.05) {
			s.conn.push(simDownward{kind: downAckRequested})
		}
	}
}

// next makes the next element to the browser, and counts it.
func (s *simStream) next(name string, padding int) element {
	s.truth.downSent++
	el := element{raw: simMarkup(name, s.truth.downSent, padding), prefix: name == simFeatures}
	if name == simBound {
		el.raw = fmt.Appendf(nil, "<iq n='%d' type='result' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>u@localhost/r</jid></bind></iq>",
			s.truth.downSent)
	}
	if s.smOn && name == simMessage {
		el.stanza = true
		s.sent = append(s.sent, simCounted{el, s.truth.downSent})
	}
	return el
}

// burst sends n messages.
func (s *simStream) burst(n, padding int) {
	for range n {
		size := 0
		if padding > 0 {
			size = s.server.w.rng.IntN(padding)
		}
		s.say(simMessage, size)
	}
}

// stall stops the handling of what the gateway sends, for d.
func (s *simStream) stall(d time.Duration) {
	if s.stalled || s.phase == phaseOver {
		return
	}
	s.stalled = true
	w := s.server.w
	w.trace.add(w.clock, "server", "stream %d stalls for %v", s.truth.index, d)
	w.after(d, func() {
		s.stalled = false
		held := s.held
		s.held = nil
		for _, arrival := range held {
			arrival()
		}
	})
}

// endWith ends the stream from the server's side.
func (s *simStream) endWith(kind causeKind) {
	if s.phase == phaseOver {
		return
	}
	w := s.server.w
	w.trace.add(w.clock, "server", "stream %d ends: %s", s.truth.index, []string{"clean", "error", "lost", "refused"}[kind])
	c := s.conn
	s.truth.serverEnded = true
	s.truth.endKind = kind
	s.finish()
	if c == nil {
		return
	}
	end := cause{kind: kind}
	if kind == causeError {
		s.truth.errorRaw = fmt.Sprintf("<stream:error m='%d'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>", s.truth.index)
		end.raw, end.condition = []byte(s.truth.errorRaw), "conflict"
	}
	if kind == causeLost {
		c.lose()
	}
	c.push(simDownward{kind: downEnded, cause: end})
}

func (s *simStream) finish() {
	s.phase = phaseOver
	s.resumable = false
	s.held = nil
}
