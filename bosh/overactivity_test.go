package bosh

import (
	"testing"
	"time"
)

// Covers: BOSH-115, BOSH-117.
func TestRateStateTurn(t *testing.T) {
	for _, test := range []struct {
		name             string
		apart            time.Duration
		firstEmpty       bool
		firstNothing     bool
		second, isPolled bool
		polling          time.Duration
		ok               bool
	}{
		{"too often", time.Second, true, true, true, true, 5 * time.Second, false},
		{"jitter", 4500 * time.Millisecond, true, true, true, true, 5 * time.Second, true},
		{"first had payload", time.Second, false, true, true, true, 5 * time.Second, true},
		{"first got payload", time.Second, true, false, true, true, 5 * time.Second, true},
		{"second has payload", time.Second, true, true, false, true, 5 * time.Second, true},
		{"requests are held", time.Second, true, true, true, false, 5 * time.Second, true},
		{"no limit", time.Second, true, true, true, true, 0, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := rateState{polling: test.polling}
			s.turn(1, 0, test.firstEmpty, test.isPolled)
			s.answered(1, test.firstNothing)
			if ok := s.turn(2, test.apart, test.second, test.isPolled); ok != test.ok {
				t.Errorf("got %v", ok)
			}
		})
	}
}

// Covers: BOSH-138.
func TestRateStateRepeats(t *testing.T) {
	var s rateState
	for i := range repeatMax {
		if !s.repeat(time.Duration(i) * time.Millisecond) {
			t.Fatalf("repeat %d refused", i)
		}
	}
	if s.repeat(time.Second) {
		t.Error("no limit")
	}
	if !s.repeat(repeatPeriod) {
		t.Error("never forgiven")
	}
}
