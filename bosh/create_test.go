package bosh

import (
	"errors"
	"testing"
	"time"
)

func exampleSettings() []settings {
	config := testConfig()
	return []settings{
		negotiate(&config, &request{rid: 1}, nil),
		negotiate(&config, &request{
			rid: 1, hasVer: true, ver: version{1, 10}, hasAck: true, ack: 1, newkey: "x", secure: true, script: true,
			content: "text/html; charset=\"ü\"", to: "example.org", lang: "de\n", hasWait: true, hasHold: true,
		}, []string{"a name", "B"}),
	}
}

func TestSettingsRoundTrip(t *testing.T) {
	for _, s := range exampleSettings() {
		got, err := decodeSettings(s.encode())
		if err != nil {
			t.Errorf("%s: %v", s.encode(), err)
		} else if got != s {
			t.Errorf("got %+v, want %+v", got, s)
		}
	}
}

func TestSettingsDecodeIsStrict(t *testing.T) {
	const good = `b1 60 30 5 120 1 2 1 6 va "" "example.org" "" ""`
	if _, err := decodeSettings(good); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty":             "",
		"other format":      `b2 60 30 5 120 1 2 1 6 va "" "example.org" "" ""`,
		"too short":         `b1 60 30 5 120 1 2`,
		"negative":          `b1 60 -30 5 120 1 2 1 6 va "" "example.org" "" ""`,
		"unknown flag":      `b1 60 30 5 120 1 2 1 6 vaz "" "example.org" "" ""`,
		"order of flags":    `b1 60 30 5 120 1 2 1 6 av "" "example.org" "" ""`,
		"open quote":        `b1 60 30 5 120 1 2 1 6 va "" "example.org" "" "`,
		"raw quote":         "b1 60 30 5 120 1 2 1 6 va \"\" `example.org` \"\" \"\"",
		"something behind":  good + " ",
		"hold not below":    `b1 60 30 5 120 2 2 1 6 va "" "example.org" "" ""`,
		"too many requests": `b1 60 30 5 120 2 256 1 6 va "" "example.org" "" ""`,
		"no inactivity":     `b1 60 0 5 120 1 2 1 6 va "" "example.org" "" ""`,
	} {
		if s, err := decodeSettings(text); err == nil {
			t.Errorf("%s is read as %+v", name, s)
		} else if !errors.Is(err, errSettings) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecodeSettings(f *testing.F) {
	for _, s := range exampleSettings() {
		f.Add(s.encode())
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := decodeSettings(text)
		if err != nil {
			return
		}
		if again := s.encode(); again != text {
			t.Errorf("%q is written as %q", text, again)
		}
	})
}

// Covers: BOSH-098, BOSH-096.
func TestNegotiateInactivity(t *testing.T) {
	config := testConfig()
	for _, wait := range []int{0, 1} {
		s := negotiate(&config, &request{hasWait: true, wait: wait}, nil)
		if want := config.inactivity; (s.inactivity > want+config.polling) != (wait == 0) || s.inactivity < want {
			t.Errorf("wait %d: %v", wait, s.inactivity)
		}
	}
	config.polling = 0
	if s := negotiate(&config, &request{hasHold: true}, nil); s.inactivity <= config.inactivity || s.inactivity > config.inactivity+time.Minute {
		t.Errorf("no polling: %v", s.inactivity)
	}
}
