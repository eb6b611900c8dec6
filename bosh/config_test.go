package bosh

import (
	"strings"
	"testing"
	"time"

	"stanzagate/internal/xmlframe"
)

// Covers: BOSH-015, BOSH-066, BOSH-096.
func TestConfigIsChecked(t *testing.T) {
	d := newDialer(t)
	for name, c := range map[string]struct {
		cfg   Config
		field string
	}{
		"no dialer":             {Config{}, "Dialer"},
		"wait":                  {Config{Dialer: d, Wait: 70000 * time.Second}, "Wait"},
		"fraction of a second":  {Config{Dialer: d, Inactivity: 1500 * time.Millisecond}, "Inactivity"},
		"inactivity":            {Config{Dialer: d, Inactivity: -time.Second}, "Inactivity"},
		"maxpause":              {Config{Dialer: d, MaxPause: 100 * time.Hour}, "MaxPause"},
		"polling":               {Config{Dialer: d, Polling: -1}, "Polling"},
		"hold":                  {Config{Dialer: d, Hold: 255}, "Hold"},
		"negative hold":         {Config{Dialer: d, Hold: -1}, "Hold"},
		"streams":               {Config{Dialer: d, Streams: 33}, "Streams"},
		"small stanzas":         {Config{Dialer: d, Limits: xmlframe.Limits{ElementBytes: 9999}}, "ElementBytes"},
		"body below the stanza": {Config{Dialer: d, BodyBytes: 100000}, "BodyBytes"},
		"queue":                 {Config{Dialer: d, QueueBytes: -1}, "QueueBytes"},
		"time-outs":             {Config{Dialer: d, AuthTimeout: -1}, "AuthTimeout"},
	} {
		if _, err := New(c.cfg); err == nil || !strings.Contains(err.Error(), c.field) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Covers: BOSH-097.
func TestConfigDefaults(t *testing.T) {
	h, err := New(Config{Dialer: newDialer(t)})
	if err != nil {
		t.Fatal(err)
	}
	c := h.cfg
	if c.Wait != time.Minute || c.Hold != 2 || c.Inactivity != 2*time.Minute || c.MaxPause != 5*time.Minute || c.Polling != 5*time.Second ||
		c.Streams != 4 || c.BodyTimeout != 30*time.Second || c.AuthTimeout != time.Minute || c.BodyBytes != 1<<20 || c.QueueBytes != 1<<20 ||
		c.Limits.ElementBytes != 256<<10 || c.Limits.Depth != 64 || c.Limits.Attributes != 64 || c.ScriptSyntax || c.Keys {
		t.Errorf("%+v", c)
	}
	h, err = New(Config{Dialer: newDialer(t), MaxPause: -1})
	if err != nil || h.machine.maxpause != 0 {
		t.Errorf("no pauses: %v, %v", h.machine.maxpause, err)
	}
}
