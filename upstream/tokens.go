package upstream

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// What is done with a token beside signing in by it (XEP-0484 §3.5, §3.6).

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
	waiting, cancel := context.WithTimeout(ctx, s.d.cfg.ConnectTimeout) // while the session is being resumed it may take long
	defer cancel()
	done, err := s.change(waiting)
	if err != nil {
		return err
	}
	defer done()
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
