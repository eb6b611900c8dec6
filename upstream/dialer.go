package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"stanzagate/internal/xmlframe"
)

const (
	defaultConnectTimeout = 10 * time.Second
	defaultElementBytes   = 1 << 20
	defaultDepth          = 64
	defaultAttributes     = 256
	ticketSessions        = 256 // TLS tickets kept, over all domains
	defaultResumptions    = 64  // at once for each server address
)

// Config is all that a Dialer needs to know. The zero value serves no domain.
type Config struct {
	Domains        []string        // settings `domain`, as written: see ParseDomain
	Open           bool            // serve any domain, found by SRV, public addresses only
	Limits         xmlframe.Limits // of elements from the server; zero fields get defaults: 1 MiB, depth 64, 256 attributes
	ConnectTimeout time.Duration   // resolving, connecting, TLS and negotiation together; 0 means 10 s
	Metrics        Metrics         // nil for none
	Resolver       *net.Resolver   // nil means the system's
	Failover       *Failover       // of managed streams; nil means that none is resumable

	// Dial opens the TCP connection to host:port; nil means net.Dialer with keep-alive and the address rules of
	// Domains and Open, which another Dial must apply itself. It must honour its context.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Metrics receives what operators count. Its methods must not block.
type Metrics interface {
	Connected(seconds float64) // a stream is open, features seen; or a session was resumed from elsewhere
	ConnectFailed(op string)   // one of the Op constants
	StreamEnded()              // pairs with Connected
}

// SecurityMetrics is what a Metrics may implement besides (UP-022).
type SecurityMetrics interface {
	// Secured is called after Connected. version and cipher are as crypto/tls names them, "none" in the clear; trust says
	// what the certificate was verified against: "system", "ca" (?ca=), or "none" in the clear.
	Secured(version, cipher, trust string)
}

// FailoverMetrics is what a Metrics may implement besides.
type FailoverMetrics interface {
	Classified(c Class)                         // a managed stream is bound
	Resumption(seconds float64, outcome string) // one of the Outcome constants; all attempts, pauses included
}

// Outcomes of an attempt to resume a session.
const (
	OutcomeResumed     = "resumed"
	OutcomeLost        = "lost"        // the server does not have it any more, or does not let us in
	OutcomeUnreachable = "unreachable" // another attempt may follow
	OutcomeRefused     = "refused"     // by the session's owner: it is another replica's
)

// Dialer opens streams to the servers of the domains that it serves. Safe for concurrent use.
type Dialer struct {
	// immutable after NewDialer
	cfg     Config
	tickets tls.ClientSessionCache
	offers  offers
	gates   gates

	served atomic.Pointer[served]
}

// served is what SetDomains replaces as a whole.
type served struct {
	names   []string
	domains map[string]*Domain
	gone    map[string]bool // served before, not any more
}

// NewDialer checks cfg. Its errors name the offending domain setting and what would be right.
func NewDialer(cfg Config) (*Dialer, error) {
	if cfg.ConnectTimeout < 0 {
		return nil, fmt.Errorf("connect timeout %v is negative", cfg.ConnectTimeout)
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = defaultConnectTimeout
	}
	// UP-038: a server is bounded too, whatever the caller left out.
	if cfg.Limits.ElementBytes == 0 {
		cfg.Limits.ElementBytes = defaultElementBytes
	}
	if cfg.Limits.Depth == 0 {
		cfg.Limits.Depth = defaultDepth
	}
	if cfg.Limits.Attributes == 0 {
		cfg.Limits.Attributes = defaultAttributes
	}
	d := &Dialer{cfg: cfg, tickets: tls.NewLRUClientSessionCache(ticketSessions), gates: gates{each: defaultResumptions}}
	if f := cfg.Failover; f != nil && f.Resumptions > 0 {
		d.gates.each = f.Resumptions
	}
	d.served.Store(&served{})
	if err := d.SetDomains(cfg.Domains); err != nil {
		return nil, err
	}
	return d, nil
}

// SetDomains replaces the configured domains, reading their CA files anew. Those that are missing from then on are
// ErrHostGone. Streams that are open stay. On an error nothing changes.
func (d *Dialer) SetDomains(settings []string) error {
	old := d.served.Load()
	s := &served{domains: make(map[string]*Domain, len(settings)), gone: map[string]bool{}}
	for _, setting := range settings {
		dom, err := ParseDomain(setting)
		if err != nil {
			return err
		}
		if s.domains[dom.Name] != nil {
			return fmt.Errorf("domain %q: %s is configured twice; remove one", setting, dom.Name)
		}
		dom.prepare(d.tickets)
		dom.greetings = &greetings{}
		s.domains[dom.Name] = &dom
		s.names = append(s.names, dom.Name)
	}
	for name := range old.domains {
		s.gone[name] = s.domains[name] == nil
	}
	for name, gone := range old.gone {
		if gone && s.domains[name] == nil {
			s.gone[name] = true
		}
	}
	d.served.Store(s)
	return nil
}

// Serves returns the domain in normalised form, or ErrHostUnknown or ErrHostGone. It makes no connection.
func (d *Dialer) Serves(domain string) (string, error) {
	dom, err := d.domain(domain)
	if err != nil {
		return "", err
	}
	return dom.Name, nil
}

// Domains returns the configured domains in normalised form.
func (d *Dialer) Domains() []string {
	return append([]string(nil), d.served.Load().names...)
}

func (d *Dialer) domain(name string) (*Domain, error) {
	name, err := Normalise(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHostUnknown, err)
	}
	s := d.served.Load()
	switch {
	case s.domains[name] != nil:
		return s.domains[name], nil
	case d.cfg.Open:
		return &Domain{Name: name, wild: true}, nil
	case s.gone[name]:
		return nil, fmt.Errorf("%w: %s", ErrHostGone, name)
	}
	return nil, fmt.Errorf("%w: %s", ErrHostUnknown, name)
}

func (d *Dialer) resolver() *net.Resolver {
	if d.cfg.Resolver != nil {
		return d.cfg.Resolver
	}
	return net.DefaultResolver
}

// Open connects to a server of o.Domain, secures the connection, opens the stream and returns once its features are
// there. Where a managed stream logs in over another connection anyway, they may be those of a moment ago. Errors wrap ErrHostUnknown, ErrHostGone or ErrUnreachable; a stream error of the server is a *StreamError.
func (d *Dialer) Open(ctx context.Context, o Opening) (*Stream, error) {
	dom, err := d.domain(o.Domain)
	if err != nil {
		return nil, err
	}
	if dom.wild {
		dom.prepare(d.tickets)
	}
	o.Domain = dom.Name
	if s := d.defers(dom, o); s != nil {
		return s, nil
	}
	ctx, cancel := context.WithTimeout(ctx, d.cfg.ConnectTimeout)
	defer cancel()
	begin := time.Now()
	l, el, err := d.establish(ctx, dom, o, way{})
	if err != nil {
		d.failed(opOf(err))
		var se *StreamError
		if errors.As(err, &se) {
			return nil, fmt.Errorf("domain %s: %w", dom.Name, err)
		}
		return nil, unreachable(dom.Name, err)
	}
	d.connected(dom, l, time.Since(begin))
	if o.Managed && d.cfg.Failover != nil {
		dom.greetings.note(o, l, el)
	}
	return newStream(d, dom, o, l, &el), nil
}

func (d *Dialer) connected(dom *Domain, l *link, took time.Duration) {
	if d.cfg.Metrics == nil {
		return
	}
	d.cfg.Metrics.Connected(took.Seconds())
	m, ok := d.cfg.Metrics.(SecurityMetrics)
	switch {
	case !ok:
	case l.tls == nil:
		m.Secured("none", "none", dom.trust(nil))
	default:
		m.Secured(tls.VersionName(l.tls.Version), tls.CipherSuiteName(l.tls.CipherSuite), dom.trust(l.tls))
	}
}

func (d *Dialer) failed(op string) {
	if d.cfg.Metrics != nil {
		d.cfg.Metrics.ConnectFailed(op)
	}
}

func (d *Dialer) software() string {
	if d.cfg.Failover != nil && d.cfg.Failover.Software != "" {
		return d.cfg.Failover.Software
	}
	return "stanzagate"
}
