package upstream

import (
	"context"
	"errors"
	"slices"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmlframe"
)

// Where and how a login attempt is made (failover design §4.1). It runs in Send, under the writing token: another connection
// may be needed, since servers offer tokens only on a stream whose header says who is coming, and a browser says so no
// earlier than in its attempt.

// begin starts a login attempt: it finds the connection and the way, and writes. before is what was admitted ahead of it.
func (s *Stream) begin(a *attempt, before []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.d.cfg.ConnectTimeout)
	defer cancel()
	s.mu.Lock()
	s.cancelLogin = cancel
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return s.closedError()
	}
	if len(before) > 0 {
		if err := s.put(before, writeTimeout); err != nil {
			return err
		}
	}
	if err := s.relocate(ctx, a); err != nil {
		return err
	}
	return s.put(s.compose(ctx, a), writeTimeout)
}

// wantsLocked reports whether a token is to be had for the attempt, and the account to ask for it; "" for one that is not
// known before it has signed in.
func (s *Stream) wantsLocked(a *attempt) (bare string, wants bool) {
	m := s.m
	if m.owner == nil || m.owner.Agent == nil || m.owner.Resuming == nil || m.login.classic || !s.dom.trusts(s.link) {
		return "", false
	}
	if a.mechanism == anonymous {
		return "", true
	}
	bare = a.account(s.dom.Name)
	return bare, bare != "" && bare != m.login.refused
}

// fitsLocked reports whether the attempt is best made on the present connection.
func (s *Stream) fitsLocked(bare string, wants bool) bool {
	l := s.link
	switch {
	case s.m.login.spoiled:
		return false
	case !wants, bare == "":
		return !l.guessed // UP-105: a wrong guess in `from` would keep the user out
	case l.from != "":
		return l.from == bare
	}
	fast, known := s.d.offers.fast(s.dom.Name)
	return known && (len(fast) == 0 || l.offer.sasl2)
}

var errOtherMechanisms = errors.New("server offers other mechanisms than before")

// relocate moves to another connection where the attempt needs one (UP-104).
func (s *Stream) relocate(ctx context.Context, a *attempt) error {
	s.mu.Lock()
	bare, wants := s.wantsLocked(a)
	fits, must := s.fitsLocked(bare, wants), s.m.login.spoiled || !wants
	o, old := s.client, s.link
	s.mu.Unlock()
	if fits {
		return nil
	}
	w := way{}
	if wants {
		w.from = bare
	}
	o.From = ""
	fresh, _, err := s.d.establish(ctx, s.dom, o, w)
	if err == nil && !s.likens(old, fresh, a) {
		s.d.offers.remember(s.dom.Name, nil)
		fresh.close()
		err = errOtherMechanisms
	}
	switch {
	case err != nil && must:
		s.d.failed(opOf(err))
		old.cut()
		return &Error{Op: OpNegotiate, Addr: old.addr, Err: err}
	case err != nil:
		return nil // the attempt can still be made here, without a token
	}
	fresh.guessed = w.from != ""
	return s.replace(fresh)
}

// likens reports whether the attempt can be made on fresh as well as on old. UP-103, UP-104: if the browser was shown another
// list it cannot, as the server may have put its list into a hash; unless there is no old connection.
func (s *Stream) likens(old, fresh *link, a *attempt) bool {
	list := s.list(fresh)
	if sameSet(list, s.m.login.shown) {
		return true
	}
	_, none := old.conn.(*pending)
	return none && slices.Contains(list, a.mechanism)
}

// replace makes fresh the connection of the stream and leaves the old one. Recv notices by the end of the old one.
func (s *Stream) replace(fresh *link) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		fresh.cut()
		return s.closedError()
	}
	old := s.link
	s.link, s.m.login.spoiled = fresh, false
	fresh.arm()
	s.mu.Unlock()
	_ = old.write([]byte(closingTag), byeTimeout)
	old.close()
	return nil
}

// compose writes the attempt in the way that the present connection takes: row 2, or as the browser wrote it.
func (s *Stream) compose(ctx context.Context, a *attempt) []byte {
	s.mu.Lock()
	lg, l := s.m.login, s.link
	bare, wants := s.wantsLocked(a)
	refused := bare != "" && bare == lg.refused && slices.Contains(l.mechanisms, a.mechanism)
	// UP-074: only what SASL2 lists is done by SASL2.
	sasl2 := s.d.translates(s.dom, l) && !lg.classic && !refused && slices.Contains(l.offer.mechanisms, a.mechanism)
	lg.sasl2, lg.asked, lg.candidate = sasl2, "", ""
	if a.mechanism == plain && s.dom.reauth == reauthPassword && s.m.owner != nil {
		lg.candidate = a.data
	}
	s.mu.Unlock()
	if !sasl2 {
		return a.raw
	}
	x := authenticate{mechanism: a.mechanism, software: s.d.software()}
	x.initial, x.present = octets(a.data)
	if ht := s.tokenMechanism(l, bare); wants && ht != "" {
		if agent, err := s.m.owner.Agent(ctx, bare); err == nil {
			x.agent, x.request = agent.ID, ht
			s.mu.Lock()
			lg.asked, s.m.agent = ht, agent
			s.mu.Unlock()
		}
	}
	return x.appendTo(nil)
}

// tokenMechanism chooses what the token is to be for; "" for no token.
func (s *Stream) tokenMechanism(l *link, bare string) string {
	offered := l.offer.fast
	if len(offered) == 0 {
		// One server lists them only where it sees `from`, and gives tokens all the same (failover design §4.1).
		offered, _ = s.d.offers.fast(s.dom.Name)
	}
	if len(offered) == 0 && bare == "" {
		return htNone // ANONYMOUS: there never is a `from` to see them by
	}
	return chooseHT(offered, l.tls)
}

// translates reports whether the browser's classic SASL becomes SASL2 on that connection: for tokens, or because the server
// speaks nothing else.
func (d *Dialer) translates(dom *Domain, l *link) bool {
	return l.offer.sasl2 && dom.trusts(l) && (d.cfg.Failover != nil || len(l.mechanisms) == 0)
}

// list returns the mechanisms that the browser is shown on that connection. UP-103: those of SASL2 if that is what is spoken.
func (s *Stream) list(l *link) []string {
	if s.d.translates(s.dom, l) {
		return l.offer.mechanisms
	}
	return l.mechanisms
}

func sameSet(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}

// appendClassicList is row 1: the mechanisms of SASL2 as a classic server would list them, same set and order.
func appendClassicList(b []byte, mechanisms []string) []byte {
	b = append(b, "<mechanisms xmlns='"+ns.SASL+"'>"...)
	for _, m := range mechanisms {
		b = append(b, "<mechanism>"...)
		b = append(xmlframe.AppendEscaped(b, m), "</mechanism>"...)
	}
	return append(b, "</mechanisms>"...)
}
