package main

import (
	"context"
	"runtime"
	"runtime/debug"
	counters "runtime/metrics"
	"time"
)

// Sessions begin in a burst of garbage and then do next to nothing for hours. By itself the garbage collector comes when the
// heap has doubled, or after two minutes, and what is free goes back to the system slowly: an idle gateway would keep twice
// what it needs. So when little goes on after much did, memory is tidied up.

const (
	trimEvery = time.Second
	// Little goes on when that part of the live heap, or so many bytes, is allocated per trimEvery at most.
	quietShare = 128
	quietBytes = 128 << 10
	// Much did when that part of the live heap, and at least so many bytes, has been allocated since the last time, or is
	// free. So a gateway that is never quite idle collects at most each quietShare/trimShare times trimEvery.
	trimShare = 8
	trimBytes = 1 << 20
)

// trimmer decides when to tidy up.
type trimmer struct {
	last    uint64 // bytes allocated since the process began, one trimEvery ago
	trimmed uint64 // likewise, when memory was tidied up last
}

// due is asked every trimEvery. live is what the last collection found, free what has not gone back to the system.
func (t *trimmer) due(allocated, live, free uint64) bool {
	quiet := allocated-t.last <= max(live/quietShare, quietBytes)
	t.last = allocated
	if worth := max(live/trimShare, trimBytes); !quiet || allocated-t.trimmed <= worth && free <= worth {
		return false
	}
	t.trimmed = allocated
	return true
}

// trim runs until ctx ends. freed is what has been let go that the last collection may have found in use; it counts like
// garbage that has been allocated since.
func trim(ctx context.Context, freed func() uint64) {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	samples := []counters.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/free:bytes"}}
	var t trimmer
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		counters.Read(samples)
		if t.due(samples[0].Value.Uint64()+freed(), samples[1].Value.Uint64(), samples[2].Value.Uint64()) {
			runtime.GC() // what is pooled outlives one collection
			debug.FreeOSMemory()
		}
	}
}
