package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	"stanzagate/internal/quota"
)

// configCommand prints what serve would use, as a file that --config reads.
type configCommand struct {
	settings `embed:""`
}

func (c *configCommand) Run(p *process, src *sources) error {
	// What serve would refuse is refused here too.
	g, err := newGateway(&c.settings, slog.New(slog.DiscardHandler))
	if err != nil {
		return src.explain(err, "default")
	}
	inTime(context.Background(), closeGrace, g.bosh.Shutdown, g.websocket.Shutdown)
	inTime(context.Background(), closeGrace, g.replicas.stop)
	for _, e := range entries(reflect.ValueOf(c.settings), "") {
		origin := src.origin[e.key]
		if origin == "" {
			origin = "default"
		}
		if _, err := fmt.Fprintf(p.stdout, "%-50s # %s\n", e.key+": "+e.text, origin); err != nil {
			return fmt.Errorf("print: %w", err)
		}
	}
	return nil
}

// entry is one setting as it is printed.
type entry struct{ key, text string }

// entries walks the settings in the order of their declaration. The file cannot name itself, so config is left out.
func entries(v reflect.Value, prefix string) []entry {
	var all []entry
	for i := range v.NumField() {
		field := v.Type().Field(i)
		key := prefix + field.Tag.Get("name")
		switch {
		case field.Tag.Get("name") == "":
			all = append(all, entries(v.Field(i), prefix+field.Tag.Get("prefix"))...)
		case key != "config":
			all = append(all, entry{key, text(key, v.Field(i).Interface())})
		}
	}
	return all
}

// text is a value in YAML.
func text(key string, value any) string {
	switch v := value.(type) {
	case string:
		return strconv.Quote(v)
	case list:
		quoted := make([]string, len(v))
		for i, s := range v {
			if key == "redis" {
				s = mask(s)
			}
			quoted[i] = strconv.Quote(s)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	case time.Duration:
		return shortDuration(v)
	case quota.Rate:
		return v.String()
	}
	return fmt.Sprint(value)
}

// shortDuration is the shortest form: 1m0s is 1m.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

const masked = "xxxxx"

// mask hides what may be secret in the address of a store: passwords, and all options, as some of them are. What cannot be
// read is hidden as a whole.
func mask(address string) string {
	if !strings.Contains(address, "://") {
		if strings.ContainsAny(address, "@?") {
			return masked
		}
		return address // host:port
	}
	u, err := url.Parse(address)
	if err != nil {
		return masked
	}
	if u.User != nil {
		// redis://secret@host is a user name by the letter, and a password by mistake.
		if _, has := u.User.Password(); has {
			u.User = url.UserPassword(u.User.Username(), masked)
		} else {
			u.User = url.User(masked)
		}
	}
	if options := u.Query(); len(options) > 0 {
		for name, values := range options {
			if strings.Contains(strings.ToLower(name), "pass") || strings.Contains(strings.ToLower(name), "secret") {
				for i := range values {
					values[i] = masked
				}
			}
		}
		u.RawQuery = options.Encode()
	}
	return u.String()
}

func maskAll(addresses list) string {
	hidden := make([]string, len(addresses))
	for i, a := range addresses {
		hidden[i] = mask(a)
	}
	return strings.Join(hidden, ",")
}
