package websocket

import (
	"errors"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmlframe"
	"stanzagate/upstream"
)

// batchBytes is sent to the server at once, more or less; it bounds what waits in that direction.
const batchBytes = 64 << 10

// upstate is what the goroutine `up` owns: from the browser to the server.
type upstate struct {
	server  *upstream.Stream // session.stream, without its lock
	library *library         // nil where it is not needed (yet); with compression, down writes through it
	big     *[]byte          // borrowed for a message that is not in one piece
	batch   *[]byte          // borrowed: admitted, not sent
	batched int              // how many elements
	bytes   int              // and what they had as received
	deaf    bool             // nothing from the browser is forwarded any more

	browserGone bool // the WebSocket is closed, or lost

	resting bool  // up goes on after a pause
	restErr error // what rest came to
}

// up reads the browser until it has nothing more to say, or nothing for the moment.
func (s *session) up() {
	err := s.restErr
	for err == nil {
		var msg []byte
		switch msg, err = s.next(); {
		case err == nil:
			if s.message(msg) {
				return
			}
		case errors.Is(err, errNothing):
			if err = s.sock.fillWithin(restAfter); errors.Is(err, errQuiet) {
				s.resting = true
				return
			}
		}
	}
	s.lost(err)
}

// beforeWait is called before up waits for more from the browser.
func (s *session) beforeWait() {
	s.sendBatch()
	_ = s.sock.flush() // a failure reaches up through the read that follows
}

// message deals with one message. It reports whether it is the last.
func (s *session) message(msg []byte) (last bool) {
	el, condition, err := s.parse(msg)
	switch {
	case err != nil:
		s.lost(err)
		return true
	case condition == "" && el.Raw == nil:
		return false // white space
	case condition == "" && el.IsStanza() && s.server != nil && !s.deaf:
		s.forward(el)
		return false
	}
	s.heard()
	framing := string(el.Local) == "open" || string(el.Local) == "close"
	switch {
	case condition == "" && el.Is(ns.Framing, "close"):
		return s.closeHeard()
	case s.deaf:
	case condition != "" && s.server == nil && !looksLikeXML(msg):
		s.fault("not-well-formed") // WS-027: garbage is not a frame with something in front of it
	case condition != "":
		s.fault(condition)
	case framing && string(el.Space) != ns.Framing:
		s.fault("invalid-namespace") // RFC 7395 §3.3.2
	case framing:
		s.openHeard(el)
	case s.server == nil && el.Is(ns.Stream, "stream"):
		s.fault("bad-format") // the framing of the drafts before RFC 7395
	case s.server == nil:
		s.fault("not-authorized") // RFC 7395 §3.4: <open/> comes first
	default:
		s.forward(el)
	}
	return false
}

// heard notes that the browser has spoken: it may be spoken to.
func (s *session) heard() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == silent {
		s.phase = opening
	}
}

// forward asks upstream what becomes of an element, and does it.
func (s *session) forward(el xmlframe.Element) {
	if s.batch == nil {
		s.batch = buffers.Get().(*[]byte)
	}
	before := len(*s.batch)
	a, err := s.server.Admit(*s.batch, el)
	if err != nil {
		s.fault(internalError)
		return
	}
	switch a.Action {
	case upstream.Forward:
		*s.batch = a.Bytes
		s.batched++
		s.bytes += len(el.Raw)
		if len(a.Bytes) >= batchBytes {
			s.sendBatch()
		}
	case upstream.Answer:
		s.sock.out.text(a.Bytes[before:])
	case upstream.Refuse:
		s.fault(a.Condition)
	case upstream.Drop:
	}
}

// sendBatch sends what waits for the server.
func (s *session) sendBatch() {
	if s.batch == nil {
		return
	}
	b := s.batch
	s.batch = nil
	if len(*b) > 0 && !s.deaf {
		s.sending.Store(true)
		err := s.server.Send(*b)
		s.lastSent.Store(int64(s.h.now()))
		s.sending.Store(false)
		if err != nil {
			s.deaf = true // down learns of it too, and tells the browser
		} else {
			s.h.cfg.Metrics.FromBrowser(s.batched, s.bytes)
		}
	}
	s.batched, s.bytes = 0, 0
	giveBack(b)
}
