package upstream

import (
	"errors"
	"time"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmlframe"
)

var errNotRestartable = errors.New("stream cannot be restarted now")

// maxID bounds the id of a bind request that is remembered.
const maxID = 1024

// progress is how far a stream has come, read off the elements in both directions.
type progress struct {
	begun         bool // the browser has begun to log in
	authenticated bool // SASL has succeeded
	restartable   bool // and no restart has followed yet
	binding       bool // a bind request is on its way
	bound         bool // negotiation is complete (UP-029)
	resumable     bool // the browser holds a resumable XEP-0198 session
	register      bool // the server offers XEP-0077 before login
	bindID        string
	jid           string // full JID, from the bind result
	maxBytes      int64
	idle          time.Duration
}

// maxIdleSeconds bounds what XEP-0478 may claim, so that the duration cannot overflow.
const maxIdleSeconds = 1 << 31

func (p *progress) learn(f features) {
	p.register = f.register && !p.authenticated
	p.maxBytes = f.maxBytes
	p.idle = time.Duration(min(f.idleSeconds, maxIdleSeconds)) * time.Second
}

// saw notes an element from the server. It reports whether the server expects a stream restart next.
func (p *progress) saw(el xmlframe.Element) (restarts bool) {
	switch string(el.Space) {
	case ns.Client:
		if p.binding && !p.bound && string(el.Local) == "iq" {
			p.sawBind(el)
		}
	case ns.SASL:
		if string(el.Local) == "success" && !p.authenticated {
			// RFC 6120 §6.4.6: both sides forget the stream; the browser restarts it.
			p.authenticated, p.restartable = true, true
			return true
		}
	case ns.SASL2:
		if string(el.Local) == "success" {
			p.authenticated = true // XEP-0388 §3.6.1: no restart follows
			p.sawSuccess2(el)
		}
	case ns.SM:
		p.sawSM(el)
	}
	return false
}

// sawBind reads the answer to a bind request (RFC 6120 §7.6).
func (p *progress) sawBind(el xmlframe.Element) {
	if id, _ := el.Attr("", "id"); id != p.bindID {
		return
	}
	p.binding = false
	if typ, _ := el.Attr("", "type"); typ != "result" {
		return
	}
	p.bound = true
	for c := range el.Children() {
		if !c.Is(ns.Bind, "bind") {
			continue
		}
		for j := range c.Children() {
			if j.Is(ns.Bind, "jid") {
				p.jid = j.Text()
			}
		}
	}
}

// sawSuccess2 reads what SASL2 did inline: Bind 2, and stream management in it or beside it (XEP-0198 §9).
func (p *progress) sawSuccess2(el xmlframe.Element) {
	for c := range el.Children() {
		switch {
		case c.Is(ns.Bind2, "bound"):
			p.bound = true
			for in := range c.Children() {
				p.sawSM(in)
			}
		case c.Is(ns.SASL2, "authorization-identifier"):
			p.jid = c.Text()
		default:
			p.sawSM(c)
		}
	}
}

func (p *progress) sawSM(el xmlframe.Element) {
	switch {
	case el.Is(ns.SM, "enabled"):
		// UP-055: both spellings of an XML boolean.
		if v, _ := el.Attr("", "resume"); v == "true" || v == "1" {
			p.resumable = true
		}
	case el.Is(ns.SM, "resumed"):
		p.bound, p.resumable = true, true
	}
}

// Restartable reports whether SASL has succeeded and no restart has followed yet.
func (s *Stream) Restartable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.p.restartable
}

// Authenticated reports whether SASL has succeeded.
func (s *Stream) Authenticated() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.p.authenticated
}

// Resumable reports whether the browser itself holds a resumable XEP-0198 session: cut, never close, when it is lost.
func (s *Stream) Resumable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.p.resumable
}

// JID returns the JID that the server bound (UP-053), "" before.
func (s *Stream) JID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.p.jid
}

// MaxBytes returns the biggest element that the server takes (XEP-0478 §4); 0 if it does not say. Admit observes it.
func (s *Stream) MaxBytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.p.maxBytes
}

// Idle returns after how much silence the server may end the stream (XEP-0478 §4); 0 if it does not say. Calling
// KeepAlive more often prevents it.
func (s *Stream) Idle() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.p.idle
}
