package upstream

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"
)

// Resuming a session of a server on another connection (XEP-0198 §5, failover design §7), of this replica or of another.

// Resumed is what both sides said when a session was resumed.
type Resumed struct {
	H    uint32 // of our stanzas that the server has handled
	Told uint32 // of the server's stanzas that we told it the browser has; it sends the following ones again
}

// resumption is one session to be resumed.
type resumption struct {
	dom *Domain
	st  *state
	id  identity
	o   Opening // Client and Local; the rest is in st
}

// resumedLink is a connection on which a session goes on.
type resumedLink struct {
	*link
	Resumed
	token *token // in place of the old one; nil if that stays
}

// Resume resumes a session whose stream was opened elsewhere, from what State gave there. Of o only Client, Local and Owner
// count. Owner.Resuming is called in between; its error is returned as it is. Errors that match ErrSessionLost are final;
// with ErrUnreachable another try may help.
//
// The stream starts as after KindResumed: the server's stanzas from Told on come again, counted, and Send works.
func (d *Dialer) Resume(ctx context.Context, stored []byte, o Opening) (*Stream, Resumed, error) {
	if d.cfg.Failover == nil || o.Owner == nil || o.Owner.Resuming == nil {
		return nil, Resumed{}, errNotResumable
	}
	st, cred, err := decodeState(stored, o.Owner.Sealer)
	if err != nil {
		return nil, Resumed{}, err
	}
	dom, err := d.domain(st.Domain)
	if err != nil {
		return nil, Resumed{}, err
	}
	if dom.wild {
		dom.prepare(d.tickets)
	}
	o.Domain, o.From, o.Lang, o.Managed = dom.Name, st.Bare, st.Lang, true
	r := &resumption{dom: dom, st: st, o: o, id: identity{bare: st.Bare, agent: st.Agent, cred: cred}}
	l, err := d.resume(ctx, r)
	if err != nil {
		return nil, Resumed{}, err
	}
	return d.adopted(r, l), l.Resumed, nil
}

// adopted makes the stream of a session that was opened elsewhere.
func (d *Dialer) adopted(r *resumption, l *resumedLink) *Stream {
	s := newStream(d, r.dom, r.o, l.link, nil)
	s.p = progress{begun: true, authenticated: true, bound: true, jid: r.st.JID}
	m := s.m
	m.bare, m.agent, m.cred = r.st.Bare, Agent{ID: r.st.Agent, Slot: r.st.Slot}, r.id.cred
	if l.token != nil {
		m.cred.token = l.token
	}
	m.sm = management{
		offered: true, phase: smResumable, id: r.st.SMID, max: r.st.Max, where: r.st.Location,
		sent: l.H, acked: l.H, told: l.Told,
	}
	s.probed()
	return s
}

// probed starts the watch for the answer to the <r/> that resume has sent.
func (s *Stream) probed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.m.asked, s.m.probe = time.Time{}, true
	s.askedLocked()
}

// resume connects, signs in, asks the owner, and resumes.
func (d *Dialer) resume(ctx context.Context, r *resumption) (*resumedLink, error) {
	begin := time.Now()
	leave, err := d.gates.enter(ctx, net.JoinHostPort(r.st.Host, r.st.Port))
	if err != nil {
		return nil, unreachable(r.dom.Name, err)
	}
	defer leave()
	l, err := d.resumeOnce(ctx, r)
	if mm, ok := d.cfg.Metrics.(FailoverMetrics); ok {
		mm.Resumption(time.Since(begin).Seconds(), outcome(err))
	}
	return l, err
}

func outcome(err error) string {
	switch {
	case err == nil:
		return OutcomeResumed
	case errors.Is(err, ErrSessionLost):
		return OutcomeLost
	case errors.Is(err, ErrUnreachable):
		return OutcomeUnreachable
	}
	return OutcomeRefused
}

func (d *Dialer) resumeOnce(ctx context.Context, r *resumption) (*resumedLink, error) {
	dialling, cancel := context.WithTimeout(ctx, d.cfg.ConnectTimeout)
	defer cancel()
	l, err := d.reconnect(dialling, r)
	if err != nil {
		if errors.Is(err, ErrSessionLost) {
			return nil, err
		}
		d.failed(opOf(err))
		return nil, unreachable(r.dom.Name, err)
	}
	n := &negotiation{d: d, dom: r.dom, o: r.o, w: way{from: r.st.Bare}, l: l}
	out := &resumedLink{link: l}
	// The owner may pause for as long as it likes, so only what goes over the wire is bounded by the time for connecting.
	err = converse(dialling, l, func() (err error) {
		out.token, err = n.signIn(r.id, tokenUse)
		return err
	})
	if err == nil && out.token != nil {
		err = d.renewed(ctx, r, l, out.token)
	}
	if err == nil {
		out.Told, err = r.o.Owner.Resuming(ctx)
	}
	if err == nil {
		resuming, cancel := context.WithTimeout(ctx, d.cfg.ConnectTimeout)
		defer cancel()
		err = converse(resuming, l, func() (err error) {
			if out.H, err = n.resume(r.st.SMID, out.Told); err != nil {
				return err
			}
			// Failover design §11: on one server the bytes of the new stream may become part of a stanza that the old
			// connection left unfinished. Only an answer proves that it listens.
			return n.write([]byte(ackRequest))
		})
	}
	if err != nil {
		l.cut()
		var e *Error
		var se *StreamError
		if errors.As(err, &e) || errors.As(err, &se) && passing[se.Condition] {
			return nil, unreachable(r.dom.Name, err)
		}
		return nil, err
	}
	l.greeting = nil
	return out, nil
}

// renewed has the owner store the state with a new token, before the connection is used (UP-091).
func (d *Dialer) renewed(ctx context.Context, r *resumption, l *link, t *token) error {
	r.id.cred.token = t
	owner := r.o.Owner
	if owner.Renewed == nil {
		return nil
	}
	st := *r.st
	st.Host, st.Port, st.Direct = l.target.host, l.target.port, l.target.direct
	b, err := st.encode(r.id.cred, owner.Sealer)
	if err != nil {
		return err
	}
	return owner.Renewed(ctx, b)
}

// reconnect finds the server of a session again: where it wants to be found, where it was, or wherever the domain is now
// (UP-056). Which names a certificate must carry is the domain's as ever.
func (d *Dialer) reconnect(ctx context.Context, r *resumption) (*link, error) {
	w := way{from: r.st.Bare, secured: r.st.Secured}
	if r.id.cred.class == ClassExternal {
		if r.dom.issuer == nil {
			return nil, refused("?reauth=external is off")
		}
		var err error
		if w.cert, err = r.dom.issuer.mint(r.st.Bare, time.Now()); err != nil {
			return nil, err
		}
	}
	was := target{host: r.st.Host, port: r.st.Port, direct: r.st.Direct}
	var errs error
	for _, t := range []target{located(r.st.Location, r.st.Direct), was} {
		if t.host == "" {
			continue
		}
		w.at = []target{t}
		l, _, err := d.establish(ctx, r.dom, r.o, w)
		if err == nil {
			return l, nil
		}
		errs = errors.Join(errs, err)
	}
	if r.dom.host != "" && (target{host: r.dom.host, port: r.dom.port, direct: r.dom.direct}) == was {
		return nil, errs // that is where the domain is
	}
	w.at = nil
	l, _, err := d.establish(ctx, r.dom, r.o, w)
	if err != nil {
		return nil, errors.Join(errs, err)
	}
	return l, nil
}

// located reads the location of <enabled/> (XEP-0198 §3): host:port, IPv6 in brackets. It is a hint: what cannot be read
// is no target.
func located(where string, direct bool) target {
	if where == "" {
		return target{}
	}
	host, port, err := splitRedirect(where)
	if err != nil {
		return target{}
	}
	if ip, ok := literal(host); ok {
		host = ip.String()
	}
	return target{host: host, port: orDefault(port, directPort(direct)), direct: direct}
}

// revivable are the stream errors after which one resumption is tried, once the owner knows that it still is the owner
// (AMB-2, failover design §6): conflict may be the echo of a race that we won.
var revivable = map[string]bool{"conflict": true, "connection-timeout": true, "reset": true, "system-shutdown": true}

// revive resumes the session of a stream whose connection has ended for cause. ok is false if that is not to be tried, or
// has failed: the stream then ends with the error returned.
func (s *Stream) revive(cause error) (ev Event, err error, ok bool) {
	var se *StreamError
	var high *tooHigh
	once := errors.As(cause, &se)
	switch {
	case s.m == nil, once && !revivable[se.Condition], errors.Is(cause, io.EOF), errors.As(cause, &high):
		return Event{}, cause, false
	case conditionOf(cause) != "" && !errors.Is(cause, errExpired) && !errors.Is(cause, errNoAnswer):
		return Event{}, cause, false // a fault in what the server sent
	}
	r, probe, alive := s.interrupt()
	if !alive {
		return Event{}, cause, false
	}
	if probe && errors.Is(cause, errNoAnswer) {
		return Event{}, &Error{Op: OpRead, Addr: r.o.Domain, Err: &LostError{Stage: "probe", Condition: errNoAnswer.Error()}}, false
	}
	l, err := s.reviveWithin(r, once)
	if err != nil {
		if once {
			err = cause
		}
		return Event{}, err, false
	}
	if !s.continueOn(l) {
		l.cut()
		return Event{}, cause, false
	}
	s.probed()
	return Event{Kind: KindResumed, H: l.H, Told: l.Told}, nil, true
}

// interrupt stops writing and gives up the broken connection. alive is false if the stream has been closed or is not
// resumable.
func (s *Stream) interrupt() (r *resumption, probe, alive bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, cred, owner := s.stateLocked()
	if st == nil || s.closed {
		return nil, false, false
	}
	s.m.gap, s.m.down = true, true
	s.link.cut()
	o := s.client
	o.Owner, o.From, o.Lang = owner, s.m.bare, s.out.Lang
	id := identity{bare: s.m.bare, agent: s.m.agent.ID, cred: cred}
	return &resumption{dom: s.dom, st: st, o: o, id: id}, s.m.probe, true
}

const (
	defaultWindow = 300 * time.Second      // how long a server keeps a session if it does not say (UP-070)
	firstPause    = 100 * time.Millisecond // between attempts; doubled each time
	longestPause  = 10 * time.Second
)

// reviveWithin tries until the server must have given the session up. UP-008: at once, then at growing, random intervals.
func (s *Stream) reviveWithin(r *resumption, once bool) (*resumedLink, error) {
	window := defaultWindow
	if r.st.Max > 0 {
		window = time.Duration(r.st.Max) * time.Second
	}
	ctx, cancel := context.WithTimeout(context.Background(), window)
	defer cancel()
	s.mu.Lock()
	s.cancel = cancel
	s.mu.Unlock()
	for wait := firstPause; ; wait = min(2*wait, longestPause) {
		l, err := s.d.resume(ctx, r)
		if err == nil || once || !errors.Is(err, ErrUnreachable) || ctx.Err() != nil {
			return l, err
		}
		if e := pause(ctx, wait/2+rand.N(wait)); e != nil {
			return nil, err
		}
	}
}

// continueOn makes a resumed connection the stream's.
func (s *Stream) continueOn(l *resumedLink) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel = nil
	if s.closed {
		return false
	}
	m := s.m
	if l.token != nil {
		m.cred.token = l.token
	}
	s.link, m.down = l.link, false
	l.arm()
	m.sm.acked = l.H
	if notAfter(m.sm.sent, l.H) {
		m.sm.sent = l.H
	}
	if notAfter(m.sm.told, l.Told) {
		m.sm.told = l.Told
	}
	return true
}

// TokenDue returns when RenewToken is to be called; zero for streams without a token.
func (s *Stream) TokenDue() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil || s.m.sm.phase != smResumable || s.m.cred.class != ClassFAST {
		return time.Time{}
	}
	return s.m.cred.token.due()
}

// RenewToken gets another token over a connection of its own; the stream is not disturbed (failover design §9.1). The owner
// then stores the new State, and only after that is the new token used.
func (s *Stream) RenewToken(ctx context.Context) error {
	t, err := s.tokenLogin(ctx, tokenRenew)
	if err != nil || t == nil {
		return err
	}
	s.mu.Lock()
	st, cred, owner := s.stateLocked()
	s.mu.Unlock()
	if st == nil {
		return errNotResumable
	}
	cred.token = t
	if owner.Renewed != nil {
		b, err := st.encode(cred, owner.Sealer)
		if err != nil {
			return err
		}
		if err := owner.Renewed(ctx, b); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.m.cred = cred
	s.mu.Unlock()
	return nil
}

// ForgetToken makes the token of a session that is over worthless (UP-094). It is called after Close, and is best effort.
func (s *Stream) ForgetToken(ctx context.Context) error {
	_, err := s.tokenLogin(ctx, tokenEnd)
	return err
}

func (s *Stream) tokenLogin(ctx context.Context, mode tokenMode) (*token, error) {
	s.mu.Lock()
	st, cred, owner := s.stateLocked()
	o := s.client
	s.mu.Unlock()
	if st == nil || cred.class != ClassFAST {
		return nil, nil
	}
	o.Owner, o.From = owner, st.Bare
	o.Client, o.Local = netip.AddrPort{}, netip.AddrPort{} // UP-120: no client is behind this
	return s.d.tokenLogin(ctx, &resumption{dom: s.dom, st: st, o: o, id: identity{bare: st.Bare, agent: st.Agent, cred: cred}}, mode)
}

// Forget is ForgetToken for a session whose stream is not here, from what State gave.
func (d *Dialer) Forget(ctx context.Context, stored []byte, sealer Sealer) error {
	st, cred, err := decodeState(stored, sealer)
	if err != nil || cred.class != ClassFAST {
		return err
	}
	dom, err := d.domain(st.Domain)
	if err != nil {
		return err
	}
	if dom.wild {
		dom.prepare(d.tickets)
	}
	o := Opening{Domain: dom.Name, From: st.Bare, Managed: true}
	_, err = d.tokenLogin(ctx, &resumption{dom: dom, st: st, o: o, id: identity{bare: st.Bare, agent: st.Agent, cred: cred}}, tokenEnd)
	return err
}

// tokenLogin signs in by token for the token's own sake, and leaves.
func (d *Dialer) tokenLogin(ctx context.Context, r *resumption, mode tokenMode) (*token, error) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.ConnectTimeout)
	defer cancel()
	leave, err := d.gates.enter(ctx, net.JoinHostPort(r.st.Host, r.st.Port))
	if err != nil {
		return nil, unreachable(r.dom.Name, err)
	}
	defer leave()
	l, err := d.reconnect(ctx, r)
	if err != nil {
		return nil, unreachable(r.dom.Name, err)
	}
	defer l.close()
	n := &negotiation{d: d, dom: r.dom, o: r.o, w: way{from: r.st.Bare}, l: l}
	var t *token
	err = converse(ctx, l, func() (err error) {
		if t, err = n.signIn(r.id, mode); err == nil {
			_ = n.write([]byte(closingTag))
		}
		return err
	})
	return t, err
}
