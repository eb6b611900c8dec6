package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	portClient = "5222" // RFC 6120 §14.7
	portDirect = "5223" // by convention, as XEP-0368 has no port of its own
)

// target is one server endpoint to try.
type target struct {
	host   string
	port   string
	direct bool // TLS from the first byte (XEP-0368 §3)
	public bool // the name stands in the public tree of DNS: search lists are not for it
}

func (t target) addr() string { return net.JoinHostPort(t.host, t.port) }

func (t target) dialAddr() string {
	if t.public {
		return net.JoinHostPort(absolute(t.host), t.port)
	}
	return t.addr()
}

// absolute makes the resolver ask for that very name first and last. Names without a dot stay, as they are local by nature.
func absolute(host string) string {
	if strings.Contains(host, ".") {
		return host + "."
	}
	return host
}

// srv is one SRV record with the service it belongs to.
type srv struct {
	target
	priority, weight uint16
}

// targets returns what to try for a domain, best first.
func (d *Dialer) targets(ctx context.Context, dom *Domain) ([]target, error) {
	if dom.host != "" {
		// UP-001: explicit configuration wins over DNS.
		return []target{{host: dom.host, port: dom.port, direct: dom.direct}}, nil
	}
	return d.discover(ctx, dom.Name, dom.security)
}

// discover resolves a host name as RFC 6120 §3.2 and XEP-0368 §3 say: both SRV services merged, else A/AAAA.
func (d *Dialer) discover(ctx context.Context, name string, sec security) ([]target, error) {
	if ip, ok := literal(name); ok {
		return []target{{host: ip.String(), port: portClient}}, nil
	}
	host := asciiDomain(name)
	if host == "" {
		return nil, errors.New("name has no DNS form")
	}
	plain, direct := d.lookupBoth(ctx, host, sec)
	return arrange(host, plain, direct)
}

// arrange makes targets of what was found about a host, best first.
func arrange(host string, plain, direct answer) ([]target, error) {
	if !plain.exists && !direct.exists {
		// RFC 6120 §3.2.1, UP-005: no answer, be it that there is no record or that DNS fails, leads to the domain itself.
		return []target{{host: host, port: portClient, public: true}}, nil
	}
	for i := range direct.records {
		direct.records[i].direct = true
	}
	records := append(plain.records, direct.records...)
	if len(records) == 0 {
		return nil, errors.Join(errors.New("domain offers no client service"), plain.err, direct.err)
	}
	order(records, rand.Uint64N)
	out := make([]target, len(records))
	for i, r := range records {
		out[i] = r.target
	}
	return out, nil
}

// lookupBoth asks for both services at once, in at most half of the time that is left (UP-009): a name server that is
// silent on one of them must not use the time for all else.
func (d *Dialer) lookupBoth(ctx context.Context, host string, sec security) (plain, direct answer) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	var wg sync.WaitGroup
	if sec != tlsNone {
		wg.Go(func() { direct = d.lookupSRV(ctx, "xmpps-client", host) })
	}
	plain = d.lookupSRV(ctx, "xmpp-client", host)
	wg.Wait()
	return plain, direct
}

// answer is what a lookup of one SRV name found.
type answer struct {
	exists  bool // the name has SRV records, be it only "."
	records []srv
	err     error
}

// maxTargets bounds how many records of one service are used.
const maxTargets = 16

func (d *Dialer) lookupSRV(ctx context.Context, service, host string) answer {
	_, found, err := d.resolver().LookupSRV(ctx, service, "tcp", absolute(host))
	var dns *net.DNSError
	if len(found) == 0 {
		if err == nil || errors.As(err, &dns) && dns.IsNotFound {
			return answer{}
		}
		return answer{err: fmt.Errorf("SRV %s: %w", service, err)}
	}
	// The resolver returns good records together with an error when some are malformed: the good ones count.
	a := answer{exists: true}
	for _, r := range found[:min(len(found), maxTargets)] {
		name := strings.TrimSuffix(r.Target, ".")
		if name == "" {
			continue // RFC 6120 §3.2.1, UP-004: "." means that the service is not offered
		}
		a.records = append(a.records, srv{
			target:   target{host: name, port: strconv.Itoa(int(r.Port)), public: true},
			priority: r.Priority, weight: r.Weight,
		})
	}
	return a
}

// order sorts records by priority and shuffles equal priorities by weight (RFC 2782). UP-003: the records of both
// services are one set. random returns a number in [0, n).
func order(records []srv, random func(n uint64) uint64) {
	slices.SortStableFunc(records, func(a, b srv) int { return cmp.Compare(a.priority, b.priority) })
	for start := 0; start < len(records); {
		end := start + 1
		for end < len(records) && records[end].priority == records[start].priority {
			end++
		}
		shuffle(records[start:end], random)
		start = end
	}
}

func shuffle(rs []srv, random func(n uint64) uint64) {
	// RFC 2782 wants records of weight 0 to have a small chance; they stand first when the running sum is drawn.
	slices.SortStableFunc(rs, func(a, b srv) int {
		return cmp.Compare(min(a.weight, 1), min(b.weight, 1))
	})
	for len(rs) > 1 {
		var sum uint64
		for _, r := range rs {
			sum += uint64(r.weight)
		}
		pick := random(sum + 1)
		i, run := 0, uint64(rs[0].weight)
		for run < pick {
			i++
			run += uint64(rs[i].weight)
		}
		chosen := rs[i]
		copy(rs[1:i+1], rs[:i])
		rs[0] = chosen
		rs = rs[1:]
	}
}
