package main

import (
	"context"
	"runtime/debug"
	counters "runtime/metrics"
	"time"
)

// Sessions begin in a burst of garbage and then do next to nothing for hours. By itself the garbage collector comes when the
// heap has doubled, or after two minutes, and what is free goes back to the system slowly: an idle gateway would keep twice
// what it needs. So when little goes on after much did, memory is tidied up.

const (
	trimEvery = time.Second
	// Little goes on when that part of the live heap, or so many bytes, is allocated per trimEvery at most,
	quietShare = 128
	quietBytes = 128 << 10
	// for that many times; connections and goroutines have been put to rest by then.
	quietTicks = 3
	// Much did when that part of the live heap, and at least so many bytes, has been allocated since the last time. So a
	// gateway that is never quite idle collects at most each quietShare/trimShare times trimEvery.
	trimShare = 8
	trimBytes = 1 << 20
)

// trimmer decides when to tidy up.
type trimmer struct {
	last    uint64 // bytes allocated since the process began, one trimEvery ago
	trimmed uint64 // likewise, when memory was tidied up last
	quiet   int    // trimEverys in a row
}

// due is asked every trimEvery. live is what the last collection found.
func (t *trimmer) due(allocated, live uint64) bool {
	if allocated-t.last > max(live/quietShare, quietBytes) {
		t.quiet = 0
	} else {
		t.quiet++
	}
	t.last = allocated
	if t.quiet < quietTicks || allocated-t.trimmed <= max(live/trimShare, trimBytes) {
		return false
	}
	t.trimmed = allocated
	return true
}

// trim runs until ctx ends.
func trim(ctx context.Context) {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	samples := []counters.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	var t trimmer
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		counters.Read(samples)
		if t.due(samples[0].Value.Uint64(), samples[1].Value.Uint64()) {
			debug.FreeOSMemory()
		}
	}
}
