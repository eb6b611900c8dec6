package bosh

import (
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// simTrace keeps what happened, line by line. A nil simTrace keeps nothing, so that callers need not ask; hot callers
// ask all the same, to spare the arguments.
type simTrace struct{ lines []string }

func (t *simTrace) add(at time.Duration, actor, format string, args ...any) {
	if t == nil {
		return
	}
	t.lines = append(t.lines, fmt.Sprintf("%12.6f  %-10s %s", at.Seconds(), actor, fmt.Sprintf(format, args...)))
}

// tail is the end of the trace.
func (t *simTrace) tail(n int) string {
	lines := t.lines
	cut := ""
	if len(lines) > n {
		cut = fmt.Sprintf("… %d lines before\n", len(lines)-n)
		lines = lines[len(lines)-n:]
	}
	return cut + strings.Join(lines, "\n")
}

func (w *simWorld) panicked(p any) {
	w.fail("machine/panic", "%v\n%s", p, debug.Stack())
}

// Below: how requests, answers and effects look in a trace.

func traceRequest(r *request) string {
	var b strings.Builder
	fmt.Fprintf(&b, "rid=%d", r.rid)
	if r.sid == "" {
		b.WriteString(" create")
		if r.hasVer {
			fmt.Fprintf(&b, " ver=%d.%d", r.ver.major, r.ver.minor)
		}
		if r.hasWait {
			fmt.Fprintf(&b, " wait=%d", r.wait)
		}
		if r.hasHold {
			fmt.Fprintf(&b, " hold=%d", r.hold)
		}
	}
	if r.hasAck {
		fmt.Fprintf(&b, " ack=%d", r.ack)
	}
	if r.key != "" {
		b.WriteString(" key=" + r.key[:min(4, len(r.key))])
	}
	if r.newkey != "" {
		b.WriteString(" newkey=" + r.newkey[:min(4, len(r.newkey))])
	}
	if r.hasPause {
		fmt.Fprintf(&b, " pause=%d", r.pause)
	}
	if r.terminate {
		b.WriteString(" terminate")
	}
	if r.restart {
		b.WriteString(" restart")
	}
	if r.stream != "" {
		b.WriteString(" stream=" + r.stream)
	}
	if r.to != "" && r.sid != "" {
		b.WriteString(" to=" + r.to)
	}
	if len(r.payload) > 0 {
		b.WriteString(" [" + tracePayload(r.payload) + "]")
	}
	return b.String()
}

func tracePayload(ps []payload) string {
	s := make([]string, len(ps))
	for i, p := range ps {
		s[i] = traceRaw(p.frame.Raw)
	}
	return strings.Join(s, " ")
}

func traceElements(els []element) string {
	if len(els) > 12 {
		return traceElements(els[:4]) + " … " + traceElements(els[len(els)-4:]) + " (" + strconv.Itoa(len(els)) + ")"
	}
	s := make([]string, len(els))
	for i, el := range els {
		s[i] = traceRaw(el.raw)
	}
	return strings.Join(s, " ")
}

// traceRaw is an element's name and number.
func traceRaw(raw []byte) string {
	s := string(raw)
	name := strings.FieldsFunc(strings.TrimPrefix(s, "<"), func(r rune) bool { return r == ' ' || r == '/' || r == '>' })
	if len(name) == 0 {
		return s
	}
	if n, ok := simNumber(raw); ok {
		return name[0] + "#" + strconv.Itoa(n)
	}
	return name[0]
}

func traceResponse(p response) string {
	var b strings.Builder
	if p.created != nil {
		c := p.created
		fmt.Fprintf(&b, " created sid=%s wait=%v inactivity=%v polling=%v maxpause=%v requests=%d hold=%d", c.sid, c.wait,
			c.inactivity, c.polling, c.maxpause, c.requests, c.hold)
	}
	if p.hasAck {
		fmt.Fprintf(&b, " ack=%d", p.ack)
	}
	if p.report != 0 {
		fmt.Fprintf(&b, " report=%d since=%v", p.report, p.since)
	}
	if p.stream != "" {
		b.WriteString(" stream=" + p.stream)
	}
	if p.failed {
		b.WriteString(" type=error")
	}
	if p.terminate {
		b.WriteString(" type=terminate condition=" + strconv.Quote(p.condition))
	}
	if p.status != 0 {
		fmt.Fprintf(&b, " status=%d", p.status)
	}
	if len(p.payload) > 0 {
		b.WriteString(" [" + traceElements(p.payload) + "]")
	}
	if b.Len() == 0 {
		return " empty"
	}
	return b.String()
}

func traceAnswer(a answer) string {
	switch a.kind {
	case answerUnavailable:
		return fmt.Sprintf("answer x%d 503", a.x)
	case answerNothing:
		return fmt.Sprintf("answer x%d nothing", a.x)
	case answerBody:
	}
	return fmt.Sprintf("answer x%d%s", a.x, traceResponse(a.response))
}

// traceEffects adds one line for each effect.
func traceEffects(t *simTrace, at time.Duration, actor string, e effects) {
	for _, o := range e.open {
		t.add(at, actor, "  -> open stream %d to %s", o.stream, o.to)
	}
	for _, f := range e.forward {
		s := fmt.Sprintf("  -> forward rid=%d streams=%b [%s]", f.rid, f.streams, tracePayload(f.payload))
		if f.skip > 0 {
			s += fmt.Sprintf(" skip=%d", f.skip)
		}
		if f.restart {
			s += " restart"
		}
		t.add(at, actor, "%s", s)
	}
	for _, b := range e.bounce {
		t.add(at, actor, "  -> bounce on stream %d: %s", b.stream, traceElements(b.els))
	}
	for _, c := range e.close {
		t.add(at, actor, "  -> close stream %d %s", c.stream, []string{"clean", "cut"}[c.how])
	}
	if e.save != nil {
		t.add(at, actor, "  -> save record %d %q", e.save.n, e.save.counters)
	}
	for _, a := range e.answer {
		t.add(at, actor, "  -> %s", traceAnswer(a))
	}
	if e.ackUpstream {
		t.add(at, actor, "  -> ack upstream h=%d", e.h)
	}
	if e.end != nil {
		t.add(at, actor, "  -> end condition=%q reason=%q keep=%v", e.end.condition, e.end.reason, e.end.keep)
	}
	if e.forget {
		t.add(at, actor, "  -> forget")
	}
}
