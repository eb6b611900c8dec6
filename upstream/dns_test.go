package upstream

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// zone is a name server on loopback. Names without records do not exist.
type zone struct {
	resolver *net.Resolver

	mu      sync.Mutex
	records map[string][]dns.RR // by lower-case name
	mute    map[string]bool     // names that get no answer
	broken  map[string]bool     // names that get SERVFAIL
	asked   []string            // "TYPE name", in order
	owed    []func()            // answers to names that were to get none
}

func newZone(t testing.TB, records ...string) *zone {
	t.Helper()
	z := &zone{records: map[string][]dns.RR{}, mute: map[string]bool{}, broken: map[string]bool{}}
	for _, r := range records {
		rr, err := dns.NewRR(r)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.ToLower(rr.Header().Name)
		z.records[name] = append(z.records[name], rr)
	}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	srv := &dns.Server{PacketConn: pc, Handler: z, NotifyStartedFunc: func() { close(ready) }}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.ActivateAndServe()
	}()
	<-ready
	t.Cleanup(func() {
		z.relent() // net.Resolver waits for answers longer than for its callers
		_ = srv.Shutdown()
		<-done
	})
	z.resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var nd net.Dialer
		return nd.DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
	return z
}

func (z *zone) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	z.mu.Lock()
	defer z.mu.Unlock()
	name := strings.ToLower(q.Question[0].Name)
	z.asked = append(z.asked, dns.TypeToString[q.Question[0].Qtype]+" "+name)
	m := new(dns.Msg)
	m.SetReply(q)
	switch {
	case z.mute[name]:
		m.Rcode = dns.RcodeNameError
		z.owed = append(z.owed, func() { _ = w.WriteMsg(m) })
		return
	case z.broken[name]:
		m.Rcode = dns.RcodeServerFailure
	case z.records[name] == nil:
		m.Rcode = dns.RcodeNameError
	}
	for _, rr := range z.records[name] {
		if rr.Header().Rrtype == q.Question[0].Qtype {
			m.Answer = append(m.Answer, rr)
		}
	}
	_ = w.WriteMsg(m)
}

// silence makes names go without an answer.
func (z *zone) silence(names ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, n := range names {
		z.mute[n] = true
	}
}

// relent answers all that was not answered.
func (z *zone) relent() {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, answer := range z.owed {
		answer()
	}
	clear(z.mute)
	z.owed = nil
}

// fail makes a name get SERVFAIL.
func (z *zone) fail(name string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.broken[name] = true
}

// queries returns what was asked, of one type.
func (z *zone) queries(typ string) []string {
	z.mu.Lock()
	defer z.mu.Unlock()
	var out []string
	for _, q := range z.asked {
		if t, name, _ := strings.Cut(q, " "); t == typ {
			out = append(out, name)
		}
	}
	return out
}
