package upstream

import (
	"context"
	"errors"
	"net"
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
	token   *token   // in place of the old one; nil if that stays
	offered features // of the new connection
	took    time.Duration
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
	begin := time.Now()
	l, err := d.resume(ctx, r)
	if err != nil {
		return nil, Resumed{}, err
	}
	d.connected(dom, l.link, time.Since(begin))
	return d.adopted(r, l), l.Resumed, nil
}

// adopted makes the stream of a session that was opened elsewhere.
func (d *Dialer) adopted(r *resumption, l *resumedLink) *Stream {
	s := newStream(d, r.dom, r.o, l.link, nil)
	s.p = progress{begun: true, authenticated: true, bound: true, jid: r.st.JID}
	s.p.learn(l.offered)
	m := s.m
	m.bare, m.agent, m.cred = r.st.Bare, Agent{ID: r.st.Agent, Slot: r.st.Slot}, r.id.cred
	if l.token != nil {
		m.cred.token = l.token
	}
	m.sm = management{
		offered: true, phase: smResumable, id: r.st.SMID, max: r.st.Max, where: r.st.Location,
		sent: l.H, acked: l.H, told: l.Told,
	}
	s.probed(l.took)
	return s
}

// probed starts the watch for the answer to the <r/> that resume has sent after a resumption that took so long.
func (s *Stream) probed(took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.m.asked, s.m.probe, s.m.slow = time.Time{}, true, took
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
	begin := time.Now()
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
	l.greeting, out.offered, out.took = nil, n.offered, time.Since(begin)
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
