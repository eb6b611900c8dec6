package upstream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stanzagate/internal/xmpptest"
)

// found returns what the domain setting resolves to, as "host:port" with a + for direct TLS.
func found(t *testing.T, z *zone, setting string) ([]string, error) {
	t.Helper()
	dom, err := ParseDomain(setting)
	if err != nil {
		t.Fatal(err)
	}
	d := newDialer(t, Config{Resolver: z.resolver})
	targets, err := d.targets(within(t), &dom)
	var out []string
	for _, x := range targets {
		s := x.addr()
		if x.direct {
			s += "+"
		}
		out = append(out, s)
	}
	return out, err
}

// Covers: UP-001, UP-002, UP-003, UP-004, UP-005.
func TestTargetsOfADomain(t *testing.T) {
	const plain, direct = "_xmpp-client._tcp.example.org. 60 IN SRV ", "_xmpps-client._tcp.example.org. 60 IN SRV "
	for _, c := range []struct {
		name    string
		records []string
		setting string
		want    string
	}{
		{"explicit address", []string{plain + "0 0 1 other."}, "example.org=xmpp://10.0.0.1:99", "10.0.0.1:99"},
		{"explicit direct", nil, "example.org=xmpps://h", "h:5223+"},
		{"none: the domain itself", nil, "example.org", "example.org:5222"},
		{"none, IDN", nil, "bücher.example", "xn--bcher-kva.example:5222"},
		{"address literal", nil, "127.0.0.1", "127.0.0.1:5222"},
		{"address literal v6", nil, "[::1]", "[::1]:5222"},
		{"priorities", []string{plain + "20 0 1 c.", plain + "10 0 2 b.", plain + "5 0 3 a."}, "example.org", "a:3 b:2 c:1"},
		{"both merged", []string{plain + "5 0 1 a.", direct + "6 0 2 b.", plain + "7 0 3 c.", direct + "1 0 4 d."}, "example.org", "d:4+ a:1 b:2+ c:3"},
		{"no direct for plaintext", []string{plain + "5 0 1 a.", direct + "1 0 2 b."}, "example.org?tls=none", "a:1"},
		{"direct not offered", []string{plain + "5 0 1 a.", direct + "0 0 0 ."}, "example.org", "a:1"},
		{"plain not offered", []string{plain + "0 0 0 .", direct + "0 0 2 b."}, "example.org", "b:2+"},
		{"neither offered", []string{plain + "0 0 0 .", direct + "0 0 0 ."}, "example.org", ""},
		{"plain not offered, direct unknown", []string{plain + "0 0 0 ."}, "example.org", ""},
		{"direct not offered, plain unknown", []string{direct + "0 0 0 ."}, "example.org", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			z := newZone(t, c.records...)
			got, err := found(t, z, c.setting)
			if strings.Join(got, " ") != c.want || (err != nil) != (c.want == "") {
				t.Fatalf("got %q, %v; want %q", got, err, c.want)
			}
			asked := z.queries("SRV")
			if explicit := strings.Contains(c.setting, "="); explicit && !strings.Contains(c.setting, "?") && len(asked) > 0 {
				t.Errorf("asked %q for an explicit address", asked)
			}
			for _, name := range asked {
				if n := strings.Count(name, "."); n != 4 {
					t.Errorf("asked for %q: a search list was used", name)
				}
			}
		})
	}
}

// A name server that fails or says nothing about a service is no answer.
//
// Covers: UP-005.
func TestTargetsWithoutAnAnswerAreTheDomainItself(t *testing.T) {
	z := newZone(t)
	z.fail("_xmpp-client._tcp.example.org.")
	if got, err := found(t, z, "example.org"); err != nil || !slices.Equal(got, []string{"example.org:5222"}) {
		t.Fatal(got, err)
	}
}

// Half of the time is left for the rest when DNS is silent on one service.
//
// Covers: UP-009.
func TestSilentNameServerDoesNotUseAllTime(t *testing.T) {
	z := newZone(t, "_xmpp-client._tcp.example.org. 60 IN SRV 0 0 7 a.")
	z.silence("_xmpps-client._tcp.example.org.")
	d := newDialer(t, Config{Resolver: z.resolver})
	dom, err := ParseDomain("example.org")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond)
	defer cancel()
	targets, err := d.targets(ctx, &dom)
	if err != nil || len(targets) != 1 || targets[0].addr() != "a:7" {
		t.Fatal(targets, err)
	}
	if err := ctx.Err(); err != nil {
		t.Fatal("no time is left: ", err)
	}
}

// RFC 2782: among equal priorities the first place is won in proportion to the weight, and a weight of 0
// keeps a small chance.
//
// Covers: UP-003.
func TestOrderFollowsWeights(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	const draws = 10000
	first := map[string]int{}
	for range draws {
		records := []srv{
			{target: target{host: "later"}, priority: 2, weight: 60000},
			{target: target{host: "w10"}, priority: 1, weight: 10},
			{target: target{host: "w0"}, priority: 1},
			{target: target{host: "w30"}, priority: 1, weight: 30},
			{target: target{host: "w60", direct: true}, priority: 1, weight: 60},
		}
		order(records, rnd.Uint64N)
		first[records[0].host]++
		if records[4].host != "later" {
			t.Fatal("a lower priority came first")
		}
	}
	for host, want := range map[string]int{"w0": draws / 101, "w10": draws * 10 / 101, "w30": draws * 30 / 101, "w60": draws * 60 / 101} {
		if got := first[host]; got < want*8/10-20 || got > want*12/10+20 {
			t.Errorf("%s came first %d times of %d, expected about %d", host, got, draws, want)
		}
	}
}

// recorder is a Config.Dial that notes where to, and goes to one place for each host.
type recorder struct {
	mu    sync.Mutex
	asked []string
	hosts map[string]string // dialled address -> real one; "" refuses, absent fails
}

func (r *recorder) dial(ctx context.Context, _, address string) (net.Conn, error) {
	r.mu.Lock()
	r.asked = append(r.asked, address)
	to := r.hosts[address]
	r.mu.Unlock()
	switch to {
	case "":
		return nil, fmt.Errorf("refused: %s", address)
	case "silent":
		<-ctx.Done()
		return nil, ctx.Err()
	}
	var nd net.Dialer
	return nd.DialContext(ctx, "tcp", to)
}

func (r *recorder) dialled() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.asked, " ")
}

// Targets are tried in order, and one whose stream does not come up is no reason to give up.
//
// Covers: UP-002.
func TestTargetsAreTriedInOrder(t *testing.T) {
	good := xmpptest.Start(t, xmpptest.Options{})
	mute := xmpptest.Start(t, xmpptest.Options{Handler: func(c *xmpptest.Conn) { _, _ = c.ReadHeader() }})
	away := xmpptest.Start(t, xmpptest.Options{Handler: func(c *xmpptest.Conn) {
		c.Greet("")
		c.StreamError("system-shutdown")
	}})
	busy := xmpptest.Start(t, xmpptest.Options{Handler: func(c *xmpptest.Conn) {
		c.ExpectHeader()
		c.SendHeader("")
		c.StreamError("resource-constraint")
	}})
	r := &recorder{hosts: map[string]string{
		"dead.test.:1": "", "mute.test.:2": mute.Addr, "busy.test.:3": busy.Addr, "good.test.:4": good.Addr, "away.test.:5": away.Addr,
	}}
	z := newZone(t, "_xmpp-client._tcp.example.org. 60 IN SRV 1 0 1 dead.test.", "_xmpp-client._tcp.example.org. 60 IN SRV 2 0 2 mute.test.",
		"_xmpp-client._tcp.example.org. 60 IN SRV 3 0 3 busy.test.", "_xmpp-client._tcp.example.org. 60 IN SRV 4 0 4 good.test.",
		"_xmpp-client._tcp.example.org. 60 IN SRV 5 0 5 away.test.")
	d := newDialer(t, Config{Domains: []string{"example.org?tls=none"}, Resolver: z.resolver, Dial: r.dial})
	s := openWith(t, d, Opening{})
	if want := "dead.test.:1 mute.test.:2 busy.test.:3 good.test.:4"; r.dialled() != want {
		t.Errorf("dialled %q, want %q", r.dialled(), want)
	}
	if s.Addr() != "good.test:4" {
		t.Errorf("connected to %s", s.Addr())
	}
}

// A target that does not answer costs a head start, not the whole time.
//
// Covers: UP-002, UP-009.
func TestSilentTargetIsOvertaken(t *testing.T) {
	good := xmpptest.Start(t, xmpptest.Options{})
	r := &recorder{hosts: map[string]string{"silent.test.:1": "silent", "good.test.:2": good.Addr}}
	z := newZone(t, "_xmpp-client._tcp.example.org. 60 IN SRV 1 0 1 silent.test.", "_xmpp-client._tcp.example.org. 60 IN SRV 2 0 2 good.test.")
	d := newDialer(t, Config{Domains: []string{"example.org?tls=none"}, Resolver: z.resolver, Dial: r.dial})
	if s := openWith(t, d, Opening{}); s.Addr() != "good.test:2" {
		t.Fatal(s.Addr())
	}
}

// All addresses of a target are tried, without the help of a custom dialer.
//
// Covers: UP-002.
func TestSecondAddressOfATarget(t *testing.T) {
	good := xmpptest.Start(t, xmpptest.Options{})
	z := newZone(t, "_xmpp-client._tcp.example.org. 60 IN SRV 1 0 "+good.Port+" a.test.", "a.test. 60 IN A 127.0.0.77", "a.test. 60 IN A 127.0.0.1")
	d := newDialer(t, Config{Domains: []string{"example.org?tls=none"}, Resolver: z.resolver})
	openWith(t, d, Opening{})
}

// Records that lead nowhere are not replaced by a guess, and the error says what was tried.
//
// Covers: UP-005, UP-009.
func TestDeadRecordsAreNotReplacedByTheDomain(t *testing.T) {
	r := &recorder{}
	z := newZone(t, "_xmpp-client._tcp.example.org. 60 IN SRV 1 0 1 dead.test.")
	m := &counters{}
	d := newDialer(t, Config{Domains: []string{"example.org?tls=none"}, Resolver: z.resolver, Dial: r.dial, Metrics: m})
	_, err := d.Open(within(t), Opening{Domain: "example.org"})
	if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "dead.test:1") || r.dialled() != "dead.test.:1" {
		t.Fatal(err, r.dialled())
	}
	if m.failed != OpConnect {
		t.Errorf("counted as %q", m.failed)
	}
}

// counters is a Metrics.
type counters struct {
	connected, ended int
	failed           string
	security         string
}

func (m *counters) Connected(float64)       { m.connected++ }
func (m *counters) ConnectFailed(op string) { m.failed = op }
func (m *counters) StreamEnded()            { m.ended++ }
func (m *counters) Secured(version, cipher, trust string) {
	m.security = version + " " + cipher + " " + trust
}

// Domains that are not configured are never dialled; with `open` their DNS leads to public addresses only.
//
// Covers: UP-010.
func TestOnlyAllowedAddressesAreDialled(t *testing.T) {
	srv := xmpptest.Start(t, xmpptest.Options{})
	z := newZone(t, "_xmpp-client._tcp.evil.test. 60 IN SRV 1 0 "+srv.Port+" a.test.", "a.test. 60 IN A 127.0.0.1", "a.test. 60 IN A 10.0.0.1")
	closed := newDialer(t, Config{Domains: []string{"example.org"}, Resolver: z.resolver})
	if _, err := closed.Open(within(t), Opening{Domain: "evil.test"}); !errors.Is(err, ErrHostUnknown) {
		t.Error(err)
	}
	if asked := z.queries("SRV"); len(asked) > 0 {
		t.Error("asked ", asked)
	}
	open := newDialer(t, Config{Open: true, Resolver: z.resolver})
	if _, err := open.Open(within(t), Opening{Domain: "evil.test"}); !errors.Is(err, ErrAddressRefused) || !errors.Is(err, ErrUnreachable) {
		t.Error(err)
	}
	if _, err := open.Open(within(t), Opening{Domain: "[::1]"}); !errors.Is(err, ErrAddressRefused) {
		t.Error(err)
	}
	if n := srv.Accepted(); n > 0 {
		t.Errorf("%d connections came in", n)
	}
}

// Covers: UP-010.
func TestPublicAddresses(t *testing.T) {
	dom := &Domain{wild: true}
	for address, want := range map[string]bool{
		"93.184.216.34:5222": true, "[2606:2800:220::1]:5222": true, "[::ffff:93.184.216.34]:5222": true,
		"127.0.0.1:5222": false, "[::1]:1": false, "10.1.2.3:1": false, "172.16.0.1:1": false, "192.168.1.1:1": false,
		"169.254.169.254:80": false, "100.64.0.1:1": false, "0.0.0.0:1": false, "[::]:1": false, "224.0.0.1:1": false,
		"255.255.255.255:1": false, "[fe80::1%eth0]:1": false, "[fc00::1]:1": false, "[::ffff:127.0.0.1]:1": false,
		"[64:ff9b::7f00:1]:1": false, "[2002:7f00:1::]:1": false, "[ff02::1]:1": false, "198.18.0.1:1": false,
	} {
		if got := dom.allows(address) == nil; got != want {
			t.Errorf("%s: allowed %v", address, got)
		}
	}
}

// Plaintext that DNS leads to stays on private links; what the operator named is the operator's choice.
//
// Covers: UP-011.
func TestPlaintextStaysPrivate(t *testing.T) {
	for setting, want := range map[string]bool{"example.org?tls=none": false, "example.org=xmpp://h?tls=none": true, "example.org": true} {
		dom, err := ParseDomain(setting)
		if err != nil {
			t.Fatal(err)
		}
		if got := dom.allows("93.184.216.34:5222") == nil; got != want {
			t.Errorf("%s: public address allowed %v", setting, got)
		}
		if err := dom.allows("10.0.0.1:5222"); err != nil {
			t.Errorf("%s: private address: %v", setting, err)
		}
	}
}
