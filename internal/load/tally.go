package load

import (
	"slices"
	"time"
)

// maxSamples bounds the latencies that one session keeps; beyond it every second one is dropped, and so on.
const maxSamples = 1 << 14

// tally counts what one session receives. Owned by the session's reader.
type tally struct {
	next      uint64 // number that comes next
	received  uint64
	lost      uint64
	doubled   uint64
	reordered uint64
	latency   samples
}

func (c *tally) take(seq uint64, sent int64, record bool) {
	c.received++
	switch {
	case seq == c.next:
		c.next++
	case seq > c.next:
		c.lost += seq - c.next // taken back if it turns up late
		c.next = seq + 1
	case c.lost > 0:
		c.lost--
		c.reordered++
	default:
		c.doubled++
	}
	if record {
		c.latency.add(time.Duration(now() - sent))
	}
}

// samples is a uniform sample of durations: every stride-th one.
type samples struct {
	stride, seen int
	values       []time.Duration
}

func (s *samples) add(d time.Duration) {
	if s.stride == 0 {
		s.stride = 1
	}
	s.seen++
	if s.seen%s.stride != 0 {
		return
	}
	if len(s.values) == maxSamples {
		for i := range maxSamples / 2 {
			s.values[i] = s.values[2*i]
		}
		s.values = s.values[:maxSamples/2]
		s.stride *= 2
	}
	s.values = append(s.values, d)
}

// Latency is how long messages took from the sender's write to the receiver's read.
type Latency struct {
	P50, P90, P99, P999, Max time.Duration
	Samples                  int
}

func summarise(all []time.Duration) Latency {
	if len(all) == 0 {
		return Latency{}
	}
	slices.Sort(all)
	at := func(q float64) time.Duration { return all[min(len(all)-1, int(q*float64(len(all))))] }
	return Latency{P50: at(.5), P90: at(.9), P99: at(.99), P999: at(.999), Max: all[len(all)-1], Samples: len(all)}
}
