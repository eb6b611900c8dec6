package main

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"stanzagate/upstream"
)

// wordsWidth is where the values begin.
const wordsWidth = 20

// page collects lines for people: a label and a value.
type page struct{ strings.Builder }

// line adds one. What comes from the network cannot steer the terminal.
func (p *page) line(label, format string, values ...any) {
	value := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, fmt.Sprintf(format, values...))
	fmt.Fprintf(p, "%s\n", strings.TrimRight(fmt.Sprintf("%-*s%s", wordsWidth, label, value), " "))
}

// words is the report for people.
func (r *report) words() string {
	p := &page{}
	p.line("domain", "%s", r.Domain)
	r.wordsRecords(p)
	for _, t := range r.Targets {
		what := "refused, see below"
		if t.Error == "" {
			what = "connected to " + t.Connected
		}
		p.line("target", "%s (%s): %s", t.Target, t.how, what)
		p.line("", "addresses: %s", listed(t.Addresses))
	}
	if m := r.Mechanisms; m != nil {
		r.wordsTLS(p)
		p.line("mechanisms", "%s", listed(m.SASL))
		if r.TLS != nil {
			p.line("  before TLS", "%s", listed(m.BeforeTLS))
		}
		p.line("  SASL2", "%s", listed(m.SASL2))
		p.line("  FAST", "%s", listed(m.FAST))
		p.line("  for browsers", "%s", listed(m.Browsers))
		if m.Legacy {
			p.line("  iq-auth", "offered (XEP-0078)")
		}
		sm := "offered"
		if r.SM == "unknown" {
			sm = "not shown before login"
		}
		p.line("stream management", "%s", sm)
		r.wordsResumption(p)
	}
	for _, e := range r.Errors {
		p.line("error", "%s", e.What)
		p.line("", "-> %s", e.Remedy)
	}
	for _, w := range r.Warnings {
		p.line("warning", "%s", w.What)
		p.line("", "-> %s", w.Remedy)
	}
	if r.Login {
		p.line("verdict", "a browser could log in")
	} else {
		p.line("verdict", "no browser could log in")
	}
	return p.String()
}

func (r *report) wordsRecords(p *page) {
	if len(r.Records) == 0 {
		p.line("records", "not asked for, the settings or the domain itself are the address")
	}
	for _, s := range r.Records {
		switch {
		case s.Error != "":
			p.line("records", "%s: %s", s.Name, s.Error)
		case !s.Offered:
			p.line("records", "%s: not offered", s.Name)
		case len(s.Records) == 0:
			p.line("records", "%s: none", s.Name)
		}
		for _, x := range s.Records {
			p.line("records", "%s: %s, priority %d, weight %d", s.Name, x.Target, x.Priority, x.Weight)
		}
	}
}

func (r *report) wordsTLS(p *page) {
	t := r.TLS
	if t == nil {
		p.line("TLS", "none")
		return
	}
	against := "the system's authorities"
	if t.Trust == "ca" {
		against = "the authority of ?ca="
	}
	p.line("TLS", "%s, %s", t.Version, t.Cipher)
	p.line("  certificate", "good for %s by %s", t.CheckedFor, against)
	p.line("", "names %s; issued by %s", listed(t.Names), t.Issuer)
	p.line("", "expires %s, in %s", day(t.Expires), roughly(time.Until(t.Expires)))
}

func (r *report) wordsResumption(p *page) {
	x := r.Resumption
	p.line("resumption", "%s: %s", x.Class, x.Why)
	switch {
	case x.Class == upstream.ClassNone:
		p.line("", "a BOSH session ends with its connection to the server, or its replica; a server with SASL2 and FAST, or ?reauth=, would change that")
	case x.AcrossReplicas:
		p.line("", "a BOSH session survives the loss of its connection to the server, and of its replica")
	default:
		p.line("", "a BOSH session survives the loss of its connection to the server; that of its replica only with redis and failover.key")
	}
}

func listed(values []string) string {
	if len(values) == 0 {
		return "none"
	}
	return strings.Join(values, " ")
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// roughly is a duration in the unit that matters.
func roughly(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours())/24)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	}
	return fmt.Sprintf("%d minutes", int(d.Minutes()))
}
