package upstream

import (
	"errors"
	"time"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmlframe"
)

var errNotRestartable = errors.New("stream cannot be restarted now")

const (
	maxID     = 1024 // bytes of the id of a bind request, which is remembered
	maxLegacy = 8192 // bytes of a login by XEP-0078, parts of which are remembered
)

// progress is how far a stream has come, read off the elements in both directions.
type progress struct {
	begun         bool // the browser has begun to log in
	authenticated bool // SASL has succeeded
	restartable   bool // and no restart has followed yet
	local         bool // which the server must not see
	binding       bool // a bind request is on its way
	bound         bool // negotiation is complete (UP-029)
	resumable     bool // the browser holds a resumable XEP-0198 session
	register      bool // the server offers XEP-0077 before login
	legacy        bool // and XEP-0078
	bindID        string
	legacyJID     string // what the XEP-0078 login in flight will bind
	jid           string // full JID, from the bind result
	maxBytes      int64
	idle          time.Duration
}

// maxIdleSeconds bounds what XEP-0478 may claim, so that the duration cannot overflow.
const maxIdleSeconds = 1 << 31

func (p *progress) learn(f features) {
	p.register = f.register && !p.authenticated
	p.legacy = f.legacy && !p.authenticated
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

// legacyLogin notes a login by XEP-0078 §3, which authenticates and binds at once. It returns the condition of a refusal.
func (p *progress) legacyLogin(el xmlframe.Element, domain string) string {
	if typ, _ := el.Attr("", "type"); typ != "set" {
		return ""
	}
	id, _ := el.Attr("", "id")
	if len(id) > maxID || len(el.Raw) > maxLegacy {
		return "policy-violation"
	}
	var user, resource string
	for q := range el.Children() {
		for c := range q.Children() {
			switch string(c.Local) {
			case "username":
				user = c.Text()
			case "resource":
				resource = c.Text()
			}
		}
	}
	p.binding, p.bindID, p.legacyJID = true, id, user+"@"+domain+"/"+resource
	return ""
}

// sawBind reads the answer to a bind request (RFC 6120 §7.6), or to a login by XEP-0078.
func (p *progress) sawBind(el xmlframe.Element) {
	if id, _ := el.Attr("", "id"); id != p.bindID {
		return
	}
	p.binding = false
	if typ, _ := el.Attr("", "type"); typ != "result" {
		return
	}
	p.bound, p.authenticated = true, true
	p.jid, p.legacyJID = p.legacyJID, ""
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
