package bosh

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the recorded output of testdata/scenario_*.txt")

// TestScenarios plays the scripts in testdata/scenario_*.txt. A line without indent is an event; the indented lines below
// it are what the machine then wanted, as recorded. -update records anew, for a human to read the difference. # explains.
//
//	config managed acks=off queue=BYTES inactivity=20s      before create
//	create ver=1.6 hold=1 wait=60 ack=1
//	post RID [ack=N] [pause=N] [terminate] [restart] [<element/> …]
//	cut RID                         the connection of its newest request breaks
//	server <element/> …             !<element/>: one that XEP-0198 does not count
//	server acks N, server closes, server fails <error/>, server is lost
//	enabled, opened                 the server's answers to <enable/> and to the stream header
//	advance 5s
//	kill replica                    another one takes over with what the store has
//	reads                           does the machine want more from the server?
//	resumed N                       the server had handled N stanzas
//	drain, shutdown
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/scenario_*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "scenario_"), ".txt"), func(t *testing.T) {
			script, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := playScript(t, string(script))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(script) {
				t.Errorf("the machine does something else:\n%s", got)
			}
		})
	}
}

// scenario is a script in play.
type scenario struct {
	*probe
	rids map[exchange]uint64
	told [5]int // how much of order, forwards, closes, records, acks has been written down
	over bool

	reads bool // the script wants to know whether the machine wants more from the server
}

func playScript(t *testing.T, script string) string {
	s := &scenario{probe: idleProbe(t, testConfig()), rids: map[exchange]uint64{}}
	var out strings.Builder
	for _, line := range strings.Split(strings.TrimSuffix(script, "\n"), "\n") {
		if strings.HasPrefix(line, " ") {
			continue
		}
		fmt.Fprintln(&out, line)
		if line != "" && !strings.HasPrefix(line, "#") {
			s.play(line)
			s.tell(&out)
		}
	}
	return out.String()
}

func (s *scenario) play(line string) {
	words := strings.Fields(line)
	switch words[0] {
	case "config":
		s.configure(words[1:])
	case "create":
		s.rids[1] = 1000
		s.create(func(r *request) { *r = request{rid: 1000, to: "example.org"}; s.say(r, words[1:]) })
	case "post":
		rid := s.number(words[1])
		s.rids[s.x+1] = rid
		s.send(rid, func(r *request) { s.say(r, words[2:]) })
	case "cut":
		rid := s.number(words[1])
		for x := s.x; x > 0; x-- {
			if s.rids[x] == rid {
				s.took(s.m.gone(s.clock, x))
				break
			}
		}
	case "server":
		s.server(words[1:])
	case "opened":
		s.took(s.m.opened(s.clock, 0, streamHeader{id: "id0", from: "example.org", version: "1.0"}))
	case "enabled":
		s.manage(true)
	case "resumed":
		s.resume(uint32(s.number(words[1])))
	case "kill":
		next := s.takeOver()
		next.records = s.records
		s.probe, s.rids = next, map[exchange]uint64{}
		s.told = [5]int{3: len(next.records)}
	case "advance":
		s.pass(s.duration(words[1]))
	case "reads":
		s.reads = true
	case "drain":
		s.took(s.m.drain(s.clock))
	case "shutdown":
		s.took(s.m.shutdown(s.clock))
	default:
		s.t.Fatalf("%s: what is that?", line)
	}
}

func (s *scenario) server(words []string) {
	switch words[0] {
	case "acks":
		s.acked(uint32(s.number(words[1])))
	case "closes":
		s.took(s.m.ended(s.clock, 0, cause{kind: causeClean}))
	case "fails":
		s.took(s.m.ended(s.clock, 0, cause{kind: causeError, raw: []byte(words[1])}))
	case "is":
		s.took(s.m.ended(s.clock, 0, cause{kind: causeLost}))
	default:
		s.deliver(0, words...)
	}
}

func (s *scenario) number(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *scenario) duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func (s *scenario) configure(words []string) {
	for _, word := range words {
		switch name, value, _ := strings.Cut(word, "="); name {
		case "managed":
			s.config.managed, s.config.shared = true, true
		case "acks":
			s.config.acks = value == "on"
		case "queue":
			s.config.queueBytes = int(s.number(value))
		case "inactivity":
			s.config.inactivity = s.duration(value)
		default:
			s.t.Fatalf("config: %s?", word)
		}
	}
}

// say fills in a request.
func (s *scenario) say(r *request, words []string) {
	for _, word := range words {
		if strings.HasPrefix(word, "<") {
			stanzas(word)(r)
			continue
		}
		switch name, value, _ := strings.Cut(word, "="); name {
		case "ver":
			r.hasVer, r.ver = true, version{1, int(s.number(strings.TrimPrefix(value, "1.")))}
		case "ack":
			acking(s.number(value))(r)
		case "wait":
			waiting(int(s.number(value)))(r)
		case "hold":
			holding(int(s.number(value)))(r)
		case "pause":
			pausing(int(s.number(value)))(r)
		case "terminate":
			r.terminate = true
		case "restart":
			r.restart = true
		default:
			s.t.Fatalf("request: %s?", word)
		}
	}
}

// tell writes down what has happened since the last time, in the order in which the shell carries it out.
func (s *scenario) tell(out *strings.Builder) {
	line := func(format string, args ...any) { fmt.Fprintf(out, "  "+format+"\n", args...) }
	forwards := s.forwards
	s.forwards = forwards[min(s.told[1], len(forwards)):]
	if text := s.upstream(); text != "" {
		line("to the server %s", text)
	}
	s.forwards = forwards
	for _, c := range s.closes[s.told[2]:] {
		line("close the stream, %s", [...]string{"clean", "cut"}[c.how])
	}
	for _, r := range s.records[s.told[3]:] {
		line("save %q", r.counters)
	}
	for _, x := range s.order[s.told[0]:] {
		line("answer %d: %s", s.rids[x], s.details(s.answers[x]))
	}
	for _, h := range s.acks[s.told[4]:] {
		line("<a h=%d/> to the server", h)
	}
	if s.end != nil && !s.over {
		s.over = true
		line("end: %s", s.end.reason)
	}
	if s.reads {
		s.reads = false
		line("%v", s.m.wantsMore())
	}
	s.told = [5]int{len(s.order), len(s.forwards), len(s.closes), len(s.records), len(s.acks)}
}

// details is describe, and the attributes.
func (s *scenario) details(a answer) string {
	text := describe(a)
	r := a.response
	if c := r.created; c != nil {
		text += fmt.Sprintf(" (wait %v, hold %d, requests %d, inactivity %v)", c.wait, c.hold, c.requests, c.inactivity)
	}
	if r.hasAck {
		text += fmt.Sprintf(" (ack %d)", r.ack)
	}
	if r.report != 0 {
		text += fmt.Sprintf(" (report %d, %v ago)", r.report, r.since)
	}
	return text
}
