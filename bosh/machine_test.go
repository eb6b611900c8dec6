package bosh

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"stanzagate/internal/xmlframe"
)

// probe drives one machine in virtual time, as a shell whose writes and store answer at once would, unless told otherwise.
// It collects what the machine wants.
type probe struct {
	t      testing.TB
	m      *machine
	config machineConfig
	clock  time.Time
	x      exchange
	e      effects // of the last event

	slow    bool // forwardings are not reported; the test does
	unsaved bool // records are not reported; the test does
	names   []string

	answers  map[exchange]answer
	order    []exchange // of the answers
	opened   []opening
	forwards []forwarding
	bounces  []bounce
	closes   []closing
	records  []record
	acks     []uint32 // h of every <a/> to the server
	end      *ending
	forgot   bool
	counted  bool // the server counts stanzas
}

// probeStart is the clock of a probe at the beginning.
var probeStart = time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)

func testConfig() machineConfig {
	return machineConfig{
		wait: 60 * time.Second, inactivity: 30 * time.Second, polling: 5 * time.Second, maxpause: 120 * time.Second, hold: 2,
		acks: true, keys: true,
		featuresWait: 5 * time.Second, gapWait: 3 * time.Second, stuckWait: 10 * time.Second, grace: 30 * time.Second,
		ackTimeout: 5 * time.Second, lastWords: 30 * time.Second, queueBytes: 64 << 10, responseBytes: 8 << 10, responseMax: 50,
	}
}

// managedConfig is that of a session whose stream management is ours.
func managedConfig() machineConfig {
	config := testConfig()
	config.managed, config.shared = true, true
	return config
}

// newProbe creates a session with rid 1000 (wait 60, hold 1, ver 1.6), changed by the given changes.
func newProbe(t testing.TB, config machineConfig, changes ...func(*request)) *probe {
	p := idleProbe(t, config)
	p.create(changes...)
	return p
}

func idleProbe(t testing.TB, config machineConfig) *probe {
	return &probe{t: t, config: config, clock: probeStart, answers: map[exchange]answer{}}
}

func (p *probe) create(changes ...func(*request)) exchange {
	r := &request{
		rid: 1000, to: "example.org", hasVer: true, ver: version{1, 6}, hasWait: true, wait: 60, hasHold: true, hold: 1,
		xmppVersion: "1.0",
	}
	for _, change := range changes {
		change(r)
	}
	p.x++
	m, e := newMachine(p.clock, &p.config, "sid", p.names, p.x, r)
	p.m = m
	p.took(e)
	return p.x
}

// took carries effects out.
func (p *probe) took(e effects) {
	p.t.Helper()
	p.e = e
	p.opened = append(p.opened, e.open...)
	p.closes = append(p.closes, e.close...)
	p.bounces = append(p.bounces, e.bounce...)
	if e.ackUpstream {
		p.acks = append(p.acks, e.h)
	}
	for _, a := range e.answer {
		if _, twice := p.answers[a.x]; twice {
			p.t.Errorf("x%d is answered twice", a.x)
		}
		p.answers[a.x] = a
		p.order = append(p.order, a.x)
	}
	if e.end != nil {
		if p.end != nil {
			p.t.Errorf("the session ends twice")
		}
		p.end = e.end
	}
	p.forgot = p.forgot || e.forget
	forwards := slices.Clone(e.forward)
	p.forwards = append(p.forwards, forwards...)
	save := e.save
	if save != nil {
		p.records = append(p.records, *save)
		if !p.unsaved {
			p.took(p.m.saved(p.clock, save.n, true))
		}
	}
	if !p.slow {
		for _, f := range forwards {
			p.wrote(f)
		}
	}
}

// wrote reports a forwarding; what XEP-0198 counts is counted.
func (p *probe) wrote(f forwarding) {
	p.t.Helper()
	n := 0
	for _, el := range f.payload {
		if el.stanza && p.counted && f.streams.has(0) {
			n++
		}
	}
	p.took(p.m.forwarded(p.clock, f.rid, n))
}

// send reports a request.
func (p *probe) send(rid uint64, changes ...func(*request)) exchange {
	p.t.Helper()
	r := &request{rid: rid, sid: "sid"}
	for _, change := range changes {
		change(r)
	}
	p.x++
	x := p.x
	p.took(p.m.request(p.clock, x, r))
	return x
}

// Changes of a request.

func stanzas(texts ...string) func(*request) {
	return func(r *request) {
		for _, text := range texts {
			p := payload{frame: xmlframe.Element{Raw: []byte(text), Space: []byte("jabber:client"), Local: []byte("message")}, stanza: true}
			r.payload = append(r.payload, p)
			r.bytes += len(text)
			r.hash = r.hash*31 + uint64(len(text))*7 + uint64(text[0])
		}
	}
}

func csi(state string) func(*request) {
	return func(r *request) {
		r.payload = append(r.payload, payload{frame: xmlframe.Element{
			Raw: []byte("<" + state + "/>"), Space: []byte("urn:xmpp:csi:0"), Local: []byte(state),
		}})
	}
}

func acking(rid uint64) func(*request) { return func(r *request) { r.hasAck, r.ack = true, rid } }

func pausing(seconds int) func(*request) {
	return func(r *request) { r.hasPause, r.pause = true, seconds }
}

func terminating(r *request) { r.terminate = true }

func restarting(r *request) { r.restart = true }

func legacy(r *request) { r.hasVer = false }

func holding(hold int) func(*request) { return func(r *request) { r.hasHold, r.hold = true, hold } }

func waiting(wait int) func(*request) { return func(r *request) { r.hasWait, r.wait = true, wait } }

func to(domain string) func(*request) { return func(r *request) { r.to = domain } }

func naming(stream string) func(*request) { return func(r *request) { r.stream = stream } }

// confirming announces response acknowledgements at creation.
func confirming(r *request) { r.hasAck, r.ack = true, 1 }

// deliver hands over elements of a stream. Names with a ! in front are no stanzas.
func (p *probe) deliver(stream int, texts ...string) {
	p.t.Helper()
	var els []element
	for _, text := range texts {
		name, plain := strings.CutPrefix(text, "!")
		els = append(els, element{raw: []byte(name), stanza: !plain && p.counted && stream == 0, prefix: strings.HasPrefix(name, "<stream:")})
	}
	p.took(p.m.delivered(p.clock, stream, els))
}

// login brings the session to the point where it is bound and nothing is held: the creation response carries features.
func (p *probe) login() *probe {
	p.t.Helper()
	p.took(p.m.opened(p.clock, 0, streamHeader{id: "id0", from: "example.org", version: "1.0"}))
	p.deliver(0, "!<stream:features/>")
	return p
}

// manage has the server count stanzas, as after a bind.
func (p *probe) manage(resumable bool) {
	p.t.Helper()
	p.counted = true
	p.took(p.m.enabled(p.clock, resumable))
}

// acked reports h.
func (p *probe) acked(h uint32) {
	p.t.Helper()
	p.took(p.m.acked(p.clock, h))
}

// pass lets time go by, with every tick that falls due.
func (p *probe) pass(d time.Duration) {
	p.t.Helper()
	until := p.clock.Add(d)
	for range 10_000 {
		next := p.e.next
		if p.forgot || next.IsZero() || next.After(until) {
			p.clock = until
			return
		}
		if next.After(p.clock) {
			p.clock = next
		}
		p.took(p.m.tick(p.clock))
	}
	p.t.Fatalf("the timer spins")
}

// What came out.

// open fails the test if x has an answer.
func (p *probe) open(x exchange) {
	p.t.Helper()
	if a, ok := p.answers[x]; ok {
		p.t.Fatalf("x%d is answered: %s", x, describe(a))
	}
}

// answered returns x's answer.
func (p *probe) answered(x exchange) response {
	p.t.Helper()
	a, ok := p.answers[x]
	if !ok {
		p.t.Fatalf("x%d has no answer", x)
	}
	if a.kind != answerBody {
		p.t.Fatalf("x%d has %s", x, describe(a))
	}
	return a.response
}

// expect compares x's answer with a description.
func (p *probe) expect(x exchange, want string) {
	p.t.Helper()
	a, ok := p.answers[x]
	if !ok {
		p.t.Fatalf("x%d has no answer, want %s", x, want)
	}
	if got := describe(a); got != want {
		p.t.Fatalf("x%d: got %s, want %s", x, got, want)
	}
}

// describe writes an answer down: its payload, or why it has none. Creation attributes, ack and report are left out.
func describe(a answer) string {
	switch a.kind {
	case answerUnavailable:
		return "503"
	case answerNothing:
		return "nothing"
	case answerBody:
	}
	r := a.response
	words := []string{}
	if r.stream != "" {
		words = append(words, r.stream+":")
	}
	if r.failed {
		words = append(words, "error")
	}
	if r.status != 0 {
		words = append(words, fmt.Sprint(r.status))
	}
	for _, el := range r.payload {
		words = append(words, string(el.raw))
	}
	if r.terminate {
		words = append(words, strings.TrimSpace("terminate "+r.condition))
	}
	if len(words) == 0 {
		return "empty"
	}
	return strings.Join(words, " ")
}

// upstream lists what has been forwarded: "rid: payload, …".
func (p *probe) upstream() string {
	var b strings.Builder
	for i, f := range p.forwards {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%d:", f.rid)
		if f.restart {
			b.WriteString(" restart")
		}
		if f.skip > 0 {
			fmt.Fprintf(&b, " skip %d", f.skip)
		}
		for _, el := range f.payload {
			b.WriteString(" " + string(el.frame.Raw))
		}
	}
	return b.String()
}

// sent compares upstream with what is wanted.
func (p *probe) sent(want string) {
	p.t.Helper()
	if got := p.upstream(); got != want {
		p.t.Fatalf("upstream: got %q, want %q", got, want)
	}
}

// ended fails the test unless the session is over for that condition.
func (p *probe) ended(condition string) {
	p.t.Helper()
	if p.end == nil {
		p.t.Fatalf("the session lives, want its end: %q", condition)
	}
	if p.end.condition != condition {
		p.t.Fatalf("the session ended with %q (%s), want %q", p.end.condition, p.end.reason, condition)
	}
}

// alive fails the test if the session is over.
func (p *probe) alive() {
	p.t.Helper()
	if p.end != nil {
		p.t.Fatalf("the session ended with %q (%s)", p.end.condition, p.end.reason)
	}
}

// closed compares the streams that were closed: "0 clean, 1 cut".
func (p *probe) closed(want string) {
	p.t.Helper()
	words := []string{}
	for _, c := range p.closes {
		words = append(words, fmt.Sprintf("%d %s", c.stream, [...]string{"clean", "cut"}[c.how]))
	}
	if got := strings.Join(words, ", "); got != want {
		p.t.Fatalf("closed streams: got %q, want %q", got, want)
	}
}
