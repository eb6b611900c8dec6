package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
)

// Finding is what Probe found out about a domain.
type Finding struct {
	Domain  string
	Targets []Attempt // in the order in which sessions try them

	// Of the first target that answered.
	Addr       string
	TLS        *tls.ConnectionState // nil in the clear
	Header     Header
	Mechanisms []string // of classic SASL
	SASL2      []string // as offered to who names itself
	FAST       []string // likewise

	// Class is the best that sessions can get, provided that the server does stream management: most say so only after login.
	Class Class
}

// Attempt is one target of a domain, and what came of trying it.
type Attempt struct {
	Addr   string
	Direct bool // TLS from the first byte
	Err    error
}

// prober is who Probe claims to be where servers want to know. It signs nobody in.
const prober = "probe"

// Probe finds out what sessions of a domain would meet, for an operator. It tries all targets, signs nobody in, and counts in
// no metric. If no target answers the error says why, and the Finding what was tried.
func (d *Dialer) Probe(ctx context.Context, domain string) (*Finding, error) {
	dom, err := d.domain(domain)
	if err != nil {
		return nil, err
	}
	if dom.wild {
		dom.prepare(d.tickets)
	}
	ctx, cancel := context.WithTimeout(ctx, d.cfg.ConnectTimeout)
	defer cancel()
	f := &Finding{Domain: dom.Name, Class: ClassNone}
	targets, err := d.targets(ctx, dom)
	if err != nil {
		return f, unreachable(dom.Name, &Error{Op: OpResolve, Err: err})
	}
	var errs error
	for _, t := range targets {
		l, err := d.knock(ctx, dom, t, "")
		f.Targets = append(f.Targets, Attempt{Addr: t.addr(), Direct: t.direct, Err: err})
		switch {
		case err != nil:
			errs = errors.Join(errs, err)
		case f.Addr == "":
			f.Addr, f.TLS, f.Header, f.Mechanisms = l.addr, l.tls, l.header, l.mechanisms
			if named, err := d.knock(ctx, dom, t, prober+"@"+dom.Name); err == nil {
				l.offer = named.offer
			}
			f.SASL2, f.FAST = l.offer.mechanisms, l.offer.fast
			f.Class = d.best(dom, l)
		}
	}
	if f.Addr == "" {
		return f, unreachable(dom.Name, errs)
	}
	return f, nil
}

// knock opens a stream to one target and leaves again.
func (d *Dialer) knock(ctx context.Context, dom *Domain, t target, from string) (*link, error) {
	o := Opening{Domain: dom.Name, Managed: true}
	l, _, err := d.establish(ctx, dom, o, way{at: []target{t}, from: from})
	if err != nil {
		return nil, err
	}
	_ = l.write([]byte(closingTag), byeTimeout)
	l.close()
	return l, nil
}

// best returns the class that sessions over such a connection can get.
func (d *Dialer) best(dom *Domain, l *link) Class {
	switch {
	case d.cfg.Failover == nil || !dom.trusts(l):
	case l.offer.sasl2 && chooseHT(l.offer.fast, l.tls) != "":
		return ClassFAST
	case dom.reauth == reauthPassword && slices.Contains(l.mechanisms, plain):
		return ClassPassword
	case dom.reauth == reauthExternal && l.tls != nil:
		return ClassExternal
	}
	return ClassNone
}
