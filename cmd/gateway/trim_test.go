package main

import "testing"

// Memory is tidied up once after much has been allocated and little is, and neither during a burst nor again and again.
func TestTrimmerDue(t *testing.T) {
	const live = 64 << 20
	var tr trimmer
	allocated := uint64(0)
	tick := func(bytes uint64) bool {
		allocated += bytes
		return tr.due(allocated, live)
	}
	for range 10 {
		if tick(live / 4) {
			t.Fatal("tidied up during a burst")
		}
	}
	for i := range quietTicks {
		if got, want := tick(1000), i == quietTicks-1; got != want {
			t.Errorf("%d quiet ticks after a burst: %v", i+1, got)
		}
	}
	for range 10 {
		if tick(1000) {
			t.Fatal("tidied up although nothing has happened since")
		}
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
