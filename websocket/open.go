package websocket

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"strconv"
	"strings"

	ws "github.com/coder/websocket"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmlframe"
	"stanzagate/upstream"
)

const (
	maxJID  = 3071 // RFC 7622 §3.1
	maxLang = 64   // no tag of BCP 47 comes near
)

// openHeard deals with an <open/> of the browser: the first message, or the one after SASL success (RFC 7395 §3.4, §3.7).
func (s *session) openHeard(el xmlframe.Element) {
	if s.server != nil && !s.server.Restartable() {
		s.fault("policy-violation") // RFC 7395 §3.4: one stream per WebSocket (AMB-2)
		return
	}
	to, _ := el.Attr("", "to")
	o := upstream.Opening{Client: s.remote, Local: s.local, Exposed: s.exposed}
	if from, ok := el.Attr("", "from"); ok && len(from) <= maxJID {
		o.From = from
	}
	if lang, ok := el.Attr(ns.XML, "lang"); ok && len(lang) <= maxLang {
		o.Lang = lang
	}
	version, _ := el.Attr("", "version")
	s.mu.Lock()
	s.from = o.From
	s.mu.Unlock()
	condition := ""
	if o.Domain, condition = s.addressed(to); condition == "" {
		condition = checkVersion(version)
	}
	switch {
	case condition != "":
		s.fault(condition)
	case s.server != nil:
		s.reopen(o)
	default:
		s.openFirst(o)
	}
}

// addressed returns the domain that `to` names, or the condition of the error that it deserves (RFC 6120 §4.9.1.3).
func (s *session) addressed(to string) (domain, condition string) {
	if to == "" {
		return "", "improper-addressing" // AMB-6
	}
	domain, err := s.h.cfg.Dialer.Serves(to)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case errors.Is(err, upstream.ErrHostGone):
		return "", "host-gone"
	case err != nil, s.server != nil && domain != s.domain:
		return "", "host-unknown" // RFC 6120 §4.9.3.6; on a restart the server is that of one domain
	}
	s.domain = domain
	return domain, ""
}

// checkVersion: RFC 6120 §4.7.5. The numbers are compared, not the text. Without a version the browser would have to be
// treated as one from before XMPP 1.0, which has no features and no SASL.
func checkVersion(version string) (condition string) {
	major, minor, _ := strings.Cut(version, ".")
	n, err := strconv.ParseUint(major, 10, 16)
	if err != nil || n != 1 {
		return "unsupported-version"
	}
	if _, err := strconv.ParseUint(minor, 10, 16); minor != "" && err != nil {
		return "unsupported-version"
	}
	return ""
}

// openFirst opens the stream to the server and answers with <open/>, or with <open/> and an error (RFC 7395 §3.5).
func (s *session) openFirst(o upstream.Opening) {
	if s.h.stageNow() != serving {
		s.turnAway()
		return
	}
	s.sock.in.Rest() // many may be here at once
	stream, err := s.h.cfg.Dialer.Open(s.h.dialing, o)
	if err != nil {
		s.unreachable(err)
		return
	}
	s.lastSent.Store(int64(s.h.now()))
	s.server = stream
	s.mu.Lock()
	s.stream = stream
	ended := s.ended // by the timer or by Shutdown, while the server was dialled; the browser has been told
	if !ended {
		s.phase = opened
		s.sock.out.text(s.openLocked(stream.Header().Lang))
	}
	s.mu.Unlock()
	if ended {
		s.deaf = true
	}
	go s.runDown(stream)
	s.log(slog.LevelInfo, "websocket session started", "")
	s.rearm()
}

// unreachable ends a session whose server could not be reached, or did not want it.
func (s *session) unreachable(err error) {
	s.log(slog.LevelWarn, "server not reached", err.Error())
	var se *upstream.StreamError
	switch {
	case errors.As(err, &se):
		s.finish(ending{condition: se.Condition, element: standaloneError(se.Raw), code: codeOf(se.Condition)})
	case errors.Is(err, upstream.ErrHostUnknown):
		s.finish(faultEnding("host-unknown"))
	case errors.Is(err, upstream.ErrHostGone):
		s.finish(faultEnding("host-gone"))
	case s.h.dialing.Err() != nil:
		s.finish(faultEnding(systemShutdown))
	default:
		s.finish(faultEnding("remote-connection-failed"))
	}
	s.deaf = true
}

// reopen is the restart after SASL: no <close/> from either side, a new <open/> with a new id, then the features of the
// server's new stream (RFC 7395 §3.7).
func (s *session) reopen(o upstream.Opening) {
	s.sendBatch()
	s.mu.Lock()
	if !s.ended {
		s.sock.out.text(s.openLocked(s.stream.Header().Lang))
	}
	s.mu.Unlock()
	if err := s.server.Restart(o); err != nil {
		s.deaf = true // lost; down tells
	}
	s.lastSent.Store(int64(s.h.now()))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reopened.happen()
	s.rearmLocked()
}

// turnAway answers an <open/> that came too late.
func (s *session) turnAway() {
	if s.h.cfg.SeeOther != "" {
		// RFC 7395 §3.6.1: instead of an <open/>.
		s.finish(ending{condition: systemShutdown, code: ws.StatusGoingAway, seeOther: true})
	} else {
		s.finish(faultEnding(systemShutdown))
	}
	s.deaf = true
}

// openLocked returns our <open/> (RFC 7395 §3.4). lang is the server's.
func (s *session) openLocked(lang string) []byte {
	if lang == "" {
		lang = defaultLang
	}
	from := s.domain
	if from == "" {
		// RFC 6120 §4.9.1.3: we do not know whom we are taken for; name one that we are, or none.
		if names := s.h.cfg.Dialer.Domains(); len(names) > 0 {
			from = names[0]
		}
	}
	return appendOpen(nil, from, s.from, rand.Text(), lang)
}
