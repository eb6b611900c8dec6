package bosh

import "testing"

func TestCountersWrap(t *testing.T) {
	const top = 1<<32 - 2
	c := counters{on: true, up: top, upAcked: top, down: top, seen: top, safe: top, told: top, proved: top}
	c.wrote(5)
	if c.has(c.up) || !c.acked(2) || c.has(c.up) || !c.acked(3) || !c.has(c.up) || c.acked(top) {
		t.Errorf("up: %+v", c)
	}
	for range 5 {
		if !c.received() {
			t.Errorf("down: %+v", c)
		}
	}
	if _, ok := c.due(); ok {
		t.Error("nothing is due")
	}
	c.confirm(2)
	c.confirm(top)
	if h, ok := c.due(); !ok || h != 2 {
		t.Errorf("got %d %v", h, ok)
	}
	if _, ok := c.due(); ok {
		t.Error("told twice")
	}
	c.asked = true
	if h, ok := c.due(); !ok || h != 2 {
		t.Errorf("<r/>: got %d %v", h, ok)
	}
}

// Covers: UP-067.
func TestCountersResumed(t *testing.T) {
	for _, test := range []struct{ h, u, skip uint32 }{{5, 5, 0}, {8, 5, 3}, {2, 1<<32 - 1, 3}} {
		c := counters{upAcked: test.u}
		c.resumed(test.h, test.u)
		if c.skip != test.skip || c.up != test.u || c.upAcked != test.h {
			t.Errorf("h %d, u %d: %+v", test.h, test.u, c)
		}
		c.wrote(2)
		if want := test.skip - min(2, test.skip); c.skip != want {
			t.Errorf("skip %d, want %d", c.skip, want)
		}
	}
}

func TestCountersDropWhatComesTwice(t *testing.T) {
	c := counters{on: true}
	for range 5 {
		c.received()
	}
	c.from = 2
	c.resumed(0, 0)
	fresh := 0
	for range 5 {
		if c.received() {
			fresh++
		}
	}
	if fresh != 2 || c.down != 7 {
		t.Errorf("%d fresh, down %d", fresh, c.down)
	}
}

func TestCountersWithoutStreamManagement(t *testing.T) {
	var c counters
	c.wrote(3)
	c.asked = true
	if _, ok := c.due(); ok || !c.has(3) || c.acked(3) || c.crowded() {
		t.Errorf("got %+v", c)
	}
}
