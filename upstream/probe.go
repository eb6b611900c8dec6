package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// Finding is what Probe found out about a domain.
type Finding struct {
	Domain    string
	Reference string    // what certificates must name
	Services  []Service // that DNS was asked for; none where the settings have an address
	Targets   []Attempt // in the order in which sessions try them

	// Of the first target that answered.
	Addr       string
	TLS        *tls.ConnectionState // nil in the clear
	Trust      string               // see SecurityMetrics
	Header     Header
	Clear      []string // mechanisms of classic SASL that are offered before STARTTLS
	Mechanisms []string // of classic SASL
	SASL2      []string // as offered to who names itself
	FAST       []string // likewise
	Legacy     bool     // XEP-0078 is offered
	SM         bool     // XEP-0198 is offered; most servers say so only after login, or with SASL2

	Browser []string // mechanisms that a browser over TLS is shown

	// Class is the best that sessions can get, and Why says why. It supposes that the server does stream management.
	Class Class
	Why   string
}

// Service is what DNS says about one SRV name of a domain.
type Service struct {
	Name    string   // _xmpp-client._tcp.example.org
	Exists  bool     // without records it is explicitly not offered
	Records []Record // those that are used
	Err     error
}

// Record is one SRV record.
type Record struct {
	Addr             string // host:port
	Priority, Weight uint16
}

// Attempt is one target of a domain, and what came of trying it.
type Attempt struct {
	Addr      string
	Direct    bool         // TLS from the first byte
	Plain     bool         // no TLS at all, by ?tls=none
	Addresses []netip.Addr // of the host
	Remote    string       // the one that answered
	Err       error
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
	f := &Finding{Domain: dom.Name, Reference: dom.certified(), Class: ClassNone, Why: "no server answers"}
	targets, err := d.survey(ctx, dom, f)
	if err != nil {
		return f, unreachable(dom.Name, &Error{Op: OpResolve, Err: err})
	}
	// All at once: a target that is silent must not use the time of the others.
	f.Targets = make([]Attempt, len(targets))
	sights := make([]*sight, len(targets))
	var trying sync.WaitGroup
	for i, t := range targets {
		trying.Go(func() { f.Targets[i], sights[i] = d.try(ctx, dom, t) })
	}
	trying.Wait()
	first := slices.IndexFunc(sights, func(s *sight) bool { return s != nil })
	if first < 0 {
		var errs error
		for _, a := range f.Targets {
			errs = errors.Join(errs, a.Err)
		}
		return f, unreachable(dom.Name, errs)
	}
	d.describe(f, dom, sights[first])
	return f, nil
}

// survey asks DNS and returns what to try.
func (d *Dialer) survey(ctx context.Context, dom *Domain, f *Finding) ([]target, error) {
	host := asciiDomain(dom.Name)
	if dom.host != "" || host == "" {
		return d.targets(ctx, dom)
	}
	plain, direct := d.lookupBoth(ctx, host, dom.security)
	targets, err := arrange(host, plain, direct)
	if dom.security != tlsNone {
		f.Services = append(f.Services, direct.service("_xmpps-client._tcp."+host))
	}
	f.Services = append(f.Services, plain.service("_xmpp-client._tcp."+host))
	return targets, err
}

func (a answer) service(name string) Service {
	s := Service{Name: name, Exists: a.exists, Err: a.err}
	for _, r := range a.records {
		s.Records = append(s.Records, Record{Addr: r.addr(), Priority: r.priority, Weight: r.weight})
	}
	return s
}

// sight is what a target showed.
type sight struct {
	*link
	features features
	clear    []string
}

// try opens a stream to one target and leaves again. Where the server answers it does so a second time by name, since some
// show more then.
func (d *Dialer) try(ctx context.Context, dom *Domain, t target) (Attempt, *sight) {
	a := Attempt{Addr: t.addr(), Direct: t.direct, Plain: dom.security == tlsNone, Addresses: d.addresses(ctx, t)}
	s, err := d.knock(ctx, dom, t, "")
	if err != nil {
		a.Err = err
		return a, nil
	}
	a.Remote = s.conn.RemoteAddr().String()
	if named, err := d.knock(ctx, dom, t, prober+"@"+dom.Name); err == nil {
		s.offer = named.offer
	}
	return a, s
}

// addresses resolves a target's host. What goes wrong here goes wrong for the connection too, and is told there.
func (d *Dialer) addresses(ctx context.Context, t target) []netip.Addr {
	host, _, _ := net.SplitHostPort(t.dialAddr())
	found, _ := d.resolver().LookupNetIP(ctx, "ip", host)
	for i := range found {
		found[i] = found[i].Unmap()
	}
	return found[:min(len(found), maxTargets)]
}

// knock opens a stream to one target and leaves again.
func (d *Dialer) knock(ctx context.Context, dom *Domain, t target, from string) (*sight, error) {
	s := &sight{}
	o := Opening{Domain: dom.Name, Managed: true}
	l, el, err := d.establish(ctx, dom, o, way{at: []target{t}, from: from, clear: &s.clear})
	if err != nil {
		return nil, err
	}
	s.link, s.features = l, readFeatures(el)
	_ = l.write([]byte(closingTag), byeTimeout)
	l.close()
	return s, nil
}

// describe says in f what was seen.
func (d *Dialer) describe(f *Finding, dom *Domain, s *sight) {
	l := s.link
	f.Addr, f.TLS, f.Trust, f.Header = l.addr, l.tls, dom.trust(l.tls), l.header
	f.Clear, f.Mechanisms, f.SASL2, f.FAST = s.clear, l.mechanisms, l.offer.mechanisms, l.offer.fast
	f.SM = s.features.sm || l.offer.sm
	p := policy{noPlain: dom.exposes(l), noPlus: dom.noPlus}
	f.Legacy = s.features.legacy && !p.noPlain
	shown := l.mechanisms
	if d.translates(dom, l) {
		shown = l.offer.mechanisms
	}
	f.Browser = p.offered(shown)
	f.Class, f.Why = d.best(dom, l)
}

// best returns the class that sessions over such a connection can get, and why.
func (d *Dialer) best(dom *Domain, l *link) (Class, string) {
	switch ht := chooseHT(l.offer.fast, l.tls); {
	case d.cfg.Failover == nil:
		return ClassNone, "fail-over is off"
	case !dom.trusts(l):
		return ClassNone, "the connection is not encrypted"
	case l.offer.sasl2 && ht != "":
		return ClassFAST, "the server offers SASL2 with FAST (" + ht + ")"
	case dom.reauth == reauthPassword && slices.Contains(l.mechanisms, plain):
		return ClassPassword, "?reauth=password; sessions that sign in by another mechanism than PLAIN get none"
	case dom.reauth == reauthPassword:
		return ClassNone, "?reauth=password, but the server offers no PLAIN"
	case dom.reauth == reauthExternal && l.tls != nil:
		return ClassExternal, "?reauth=external; whether the server accepts certificates of that CA is not known before a login"
	case dom.reauth == reauthExternal:
		return ClassNone, "?reauth=external needs TLS"
	case !l.offer.sasl2:
		return ClassNone, "the server offers no SASL2 with FAST"
	case len(l.offer.fast) == 0:
		return ClassNone, "the server offers SASL2, but no FAST"
	}
	return ClassNone, "the server offers FAST, but only " + strings.Join(l.offer.fast, ", ")
}
