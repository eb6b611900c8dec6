package xmpptest

import (
	"errors"
	"strconv"
	"strings"
	"sync"
)

// Stream management by the server (XEP-0198), of connections that the default script serves.

// session is what a stream with <enable/> leaves on the server when its connection is lost.
type session struct {
	id, jid   string
	resumable bool

	mu      sync.Mutex
	conn    *Conn // nil: hibernating
	handled uint32
	acked   uint32
	queue   []string // sent and not acknowledged: stanza acked+1 and on
}

// deliver sends a stanza, or keeps it for a connection to come.
func (x *session) deliver(raw string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.queue = append(x.queue, raw)
	if x.conn != nil {
		x.conn.Send(raw)
	}
}

func (x *session) ack(h uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := min(int(h-x.acked), len(x.queue))
	x.queue = x.queue[n:]
	x.acked += uint32(n)
}

// Count is what a session counts.
type Count struct {
	Handled uint32 // stanzas of the client
	Acked   uint32 // stanzas that the client acknowledged
	Queued  int    // stanzas that it did not
}

// Count returns the counters of the session that bound the full JID; the zero Count if there is none.
func (s *Server) Count(full string) Count {
	s.mu.Lock()
	x := s.managed[full]
	s.mu.Unlock()
	if x == nil {
		return Count{}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return Count{Handled: x.handled, Acked: x.acked, Queued: len(x.queue)}
}

// Managed reports whether a session with stream management exists for the full JID, connected or not.
func (s *Server) Managed(full string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.managed[full] != nil
}

// Deliver sends a stanza to the session of a full JID, counting it.
func (s *Server) Deliver(full, raw string) {
	s.tb.Helper()
	s.mu.Lock()
	x := s.managed[full]
	s.mu.Unlock()
	if x == nil {
		s.tb.Errorf("xmpptest: %s has no stream management", full)
		return
	}
	x.deliver(raw)
}

// Forget drops the session of a full JID: resuming it fails.
func (s *Server) Forget(full string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.managed, full)
}

// SetCounters makes both counters of a session start elsewhere, as after very many stanzas.
func (s *Server) SetCounters(full string, handled, acked uint32) {
	s.mu.Lock()
	x := s.managed[full]
	s.mu.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.handled, x.acked = handled, acked
}

// enable answers <enable/>.
func (c *Conn) enable(n Node) {
	f := c.srv.faults()
	if !c.srv.opt.Resumable || c.JID() == "" || c.managed != nil || f.RefuseEnable {
		c.Send("<failed xmlns='urn:xmpp:sm:3'><unexpected-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>")
		return
	}
	resume := n.Attr("resume") == "true" || n.Attr("resume") == "1"
	x := &session{id: fresh("sm"), jid: c.JID(), conn: c, resumable: resume}
	c.srv.mu.Lock()
	c.srv.managed[x.jid] = x
	c.srv.mu.Unlock()
	c.managed = x
	attrs := " id='" + x.id + "'"
	if resume {
		attrs += " resume='" + c.srv.opt.spelling() + "'"
	}
	if m := n.Attr("max"); m != "" {
		attrs += " max='" + m + "'"
	}
	if c.srv.opt.Location != "" {
		attrs += " location='" + c.srv.opt.Location + "'"
	}
	x.mu.Lock() // nothing is delivered before <enabled/>
	defer x.mu.Unlock()
	c.Send("<enabled xmlns='urn:xmpp:sm:3'" + attrs + "/>")
}

func (o Options) spelling() string {
	if o.ResumeSpelling != "" {
		return o.ResumeSpelling
	}
	return "true"
}

// resume answers <resume/> and reports whether the session goes on here.
func (c *Conn) resume(n Node) bool {
	f := c.srv.faults()
	var x *session
	c.srv.mu.Lock()
	for _, m := range c.srv.managed {
		if m.id == n.Attr("previd") && m.resumable && strings.HasPrefix(m.jid, c.user()+"@") {
			x = m
		}
	}
	c.srv.mu.Unlock()
	h, err := strconv.ParseUint(n.Attr("h"), 10, 32)
	if x == nil || err != nil || f.RefuseResume != "" {
		condition := f.RefuseResume
		if condition == "" {
			condition = "<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
		}
		c.Send("<failed xmlns='urn:xmpp:sm:3'" + f.FailedAttrs + ">" + condition + "</failed>")
		return false
	}
	x.mu.Lock()
	old := x.conn
	x.conn = nil
	x.mu.Unlock()
	if old != nil {
		old.replaced()
	}
	x.ack(uint32(h))
	c.mu.Lock()
	c.jid = x.jid
	c.mu.Unlock()
	c.managed = x
	c.srv.bind(c, x.jid)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.conn = c
	c.Send("<resumed xmlns='urn:xmpp:sm:3' previd='" + x.id + "' h='" + strconv.FormatUint(uint64(x.handled), 10) + "'/>")
	for _, raw := range x.queue {
		c.Send(delayed(raw))
	}
	return true
}

// replaced ends a connection whose session is resumed on another, as the server that is imitated does.
func (c *Conn) replaced() {
	if c.srv.opt.ConflictOnResume {
		c.StreamError("conflict")
	}
	c.Cut()
}

// delayed adds what servers add to stanzas that they send again.
func delayed(raw string) string {
	i := strings.LastIndex(raw, "</")
	if i < 0 {
		return raw
	}
	return raw[:i] + "<delay xmlns='urn:xmpp:delay' stamp='2026-01-01T00:00:00Z'/>" + raw[i:]
}

// management deals with the elements of XEP-0198 and counts stanzas. It reports whether n is dealt with.
func (c *Conn) management(n Node) bool {
	x := c.managed
	switch n.Name.Local {
	case "enable":
		c.enable(n)
	case "r":
		f := c.srv.faults()
		if x == nil || f.NoAcks {
			return true
		}
		x.mu.Lock()
		h := x.handled + f.TooMuch
		x.mu.Unlock()
		c.Send("<a xmlns='urn:xmpp:sm:3' h='" + strconv.FormatUint(uint64(h), 10) + "'/>")
	case "a":
		if h, err := strconv.ParseUint(n.Attr("h"), 10, 32); err == nil && x != nil {
			x.ack(uint32(h))
		}
	case "message", "presence", "iq":
		if x != nil {
			x.mu.Lock()
			x.handled++
			x.mu.Unlock()
		}
		return false
	default:
		return false
	}
	return true
}

// lost is called when the connection is over: a session that was not ended hibernates.
func (c *Conn) lost(err error) {
	x := c.managed
	if x == nil {
		return
	}
	x.mu.Lock()
	mine := x.conn == c // else it was resumed elsewhere
	if mine {
		x.conn = nil
	}
	x.mu.Unlock()
	if !mine || x.resumable && !errors.Is(err, errStreamEnd) {
		return
	}
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	if c.srv.managed[x.jid] == x {
		delete(c.srv.managed, x.jid)
	}
}
