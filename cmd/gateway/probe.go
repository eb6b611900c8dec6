package main

import (
	"context"
	"fmt"

	"stanzagate/upstream"
)

// checkCommand tells an operator what sessions of a domain would meet, with the settings of serve.
type checkCommand struct {
	Domain string `arg:"" help:"XMPP domain, which the settings have to name unless open is true."`
	JSON   bool   `name:"json" help:"Print JSON."`

	settings `embed:""`
}

func (c *checkCommand) Run(p *process, src *sources) error {
	if err := c.settings.check(); err != nil {
		return src.explain(err, "default")
	}
	domain, err := upstream.Normalise(c.Domain)
	if err != nil {
		return fmt.Errorf("check %q: %w", c.Domain, err)
	}
	dialer, err := upstream.NewDialer(upstream.Config{
		Domains: c.Domains, Open: c.Open, ConnectTimeout: c.Limit.ConnectTimeout, Failover: &upstream.Failover{},
	})
	if err != nil {
		return src.explain(&partError{key: "domain", err: err}, "default")
	}
	if _, err := dialer.Serves(domain); err != nil {
		return c.notServed(p, domain, err)
	}
	// Probe ends by itself, after limit.connect-timeout.
	found, err := dialer.Probe(context.Background(), domain)
	r := newReport(found, err, len(c.Redis) > 0 && len(c.Failover.Key) > 0)
	if c.JSON {
		err = printJSON(p, r)
	} else {
		_, err = p.stdout.Write([]byte(r.words()))
	}
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	if !r.Login {
		return fmt.Errorf("check %s: no browser could log in", domain)
	}
	return nil
}

// notServed is the report on a domain that is not looked at.
func (c *checkCommand) notServed(p *process, domain string, err error) error {
	remedy := fmt.Sprintf("name it as for serve, as in --domain %s, or set open to true", domain)
	if c.JSON {
		r := newReport(&upstream.Finding{Domain: domain, Class: upstream.ClassNone, Why: "the domain is not served"}, nil, false)
		r.add(false, problem{What: err.Error(), Remedy: remedy})
		if err := printJSON(p, r); err != nil {
			return fmt.Errorf("print: %w", err)
		}
	}
	return fmt.Errorf("check %s: %w; %s", domain, err, remedy)
}
