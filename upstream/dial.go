package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// stagger is how long a target may stay silent before the next one is tried beside it (after RFC 8305 §5; longer than its
// 250 ms, since lower-priority servers are meant as spares).
const stagger = 500 * time.Millisecond

// keepAlive finds dead connections without help of the server (UP-112); userTimeout does so while data is in flight.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 4}

const userTimeout = time.Minute

// race connects to the first of targets that answers: each gets a head start of stagger over the next, a failure starts
// the next at once. It returns the connection, the target, and the targets that have not failed or won, in order.
func (d *Dialer) race(ctx context.Context, dom *Domain, targets []target) (net.Conn, target, []target, error) {
	type result struct {
		i    int
		conn net.Conn
		err  error
	}
	ctx, cancel := context.WithCancel(ctx)
	results := make(chan result, len(targets)) // one slot per attempt: no attempt ever blocks on it
	started, pending := 0, 0
	defer func() {
		cancel()
		for ; pending > 0; pending-- {
			if r := <-results; r.conn != nil {
				_ = r.conn.Close()
			}
		}
	}()
	failed := make([]bool, len(targets))
	var errs error
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-next.C:
			i := started
			started++
			pending++
			go func() {
				conn, err := d.connect(ctx, dom, targets[i])
				results <- result{i, conn, err}
			}()
			if started < len(targets) {
				next.Reset(stagger)
			}
		case r := <-results:
			pending--
			if r.err == nil {
				var rest []target
				for i, t := range targets {
					if i != r.i && !failed[i] {
						rest = append(rest, t)
					}
				}
				return r.conn, targets[r.i], rest, nil
			}
			failed[r.i] = true
			errs = errors.Join(errs, r.err)
			if started < len(targets) {
				next.Reset(0)
			} else if pending == 0 {
				return nil, target{}, nil, errs
			}
		}
	}
}

// connect opens TCP to one target: all its addresses, both families (RFC 8305), before it gives up (UP-002).
func (d *Dialer) connect(ctx context.Context, dom *Domain, t target) (net.Conn, error) {
	dial := d.cfg.Dial
	if dial == nil {
		nd := net.Dialer{
			Resolver:        d.cfg.Resolver,
			KeepAliveConfig: keepAlive,
			ControlContext: func(_ context.Context, _, address string, raw syscall.RawConn) error {
				if err := dom.allows(address); err != nil {
					return err
				}
				return setUserTimeout(raw, userTimeout)
			},
		}
		dial = nd.DialContext
	}
	conn, err := dial(ctx, "tcp", t.dialAddr())
	if err != nil {
		return nil, &Error{Op: connectOp(err), Addr: t.addr(), Err: err}
	}
	return conn, nil
}

// connectOp tells a host that could not be resolved from one that could not be reached.
func connectOp(err error) string {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return OpResolve
	}
	return OpConnect
}

// allows checks the very address that is about to be connected, so that DNS cannot change its mind in between.
func (dom *Domain) allows(address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	public := isPublic(ap.Addr())
	switch {
	case dom.wild && !public:
		// UP-010: what strangers' DNS says never leads into the operator's own network.
		return fmt.Errorf("%s: %w: it is not public", ap.Addr(), ErrAddressRefused)
	case dom.security == tlsNone && dom.host == "" && public:
		// UP-011: plaintext only on loopback or private links, unless the operator named the host.
		return fmt.Errorf("%s: %w: ?tls=none and a public address", ap.Addr(), ErrAddressRefused)
	}
	return nil
}

// reserved are the ranges beyond netip's own predicates that are not reached over the public internet (RFC 6890).
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"),          // IPv4-compatible
	netip.MustParsePrefix("64:ff9b::/96"),   // NAT64: hides an IPv4 address
	netip.MustParsePrefix("64:ff9b:1::/48"), // local NAT64
	netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"),
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), // 6to4: hides an IPv4 address
	netip.MustParsePrefix("fec0::/10"),
}

func isPublic(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return false
	}
	for _, p := range reserved {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}
