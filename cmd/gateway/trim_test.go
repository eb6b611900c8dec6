package main

import "testing"

// Memory is tidied up once after much has been allocated and little is, and neither during a burst nor again and again.
func TestTrimmerDue(t *testing.T) {
	const live = 64 << 20
	var tr trimmer
	allocated := uint64(0)
	tick := func(bytes uint64) bool {
		allocated += bytes
		return tr.due(allocated, live, 0)
	}
	for range 10 {
		if tick(live / 4) {
			t.Fatal("tidied up during a burst")
		}
	}
	if !tick(1000) {
		t.Error("not tidied up when it is over")
	}
	for range 10 {
		if tick(1000) {
			t.Fatal("tidied up although nothing has happened since")
		}
	}
	if !tr.due(allocated, live, live/2) {
		t.Error("what has become free since stays")
	}
	// A gateway that always does a little.
	times := 0
	for range 64 {
		if tick(live / quietShare) {
			times++
		}
	}
	if most := 64 * trimShare / quietShare; times == 0 || times > most {
		t.Errorf("tidied up %d times in 64 ticks, at most %d are wanted", times, most)
	}
}
