package bosh

import (
	"runtime"
	"testing"
	"time"
	"unsafe"
)

// cycle is one turn of a chat in the steady state: a request with a message comes while one is held, is forwarded, the held
// one is answered; then a message comes down on the new one.
type cycle struct {
	m   *machine
	now time.Time
	rid uint64
	x   exchange
	r   request
	els []element
	h   uint32
}

func newCycle(tb testing.TB, config *machineConfig) *cycle {
	c := &cycle{now: probeStart, rid: 1001, x: 2}
	r := request{rid: 1000, to: "example.org", hasVer: true, ver: version{1, 6}}
	c.m, _ = newMachine(c.now, config, "sid", nil, 1, &r)
	c.els = []element{{raw: []byte("<stream:features/>")}}
	c.m.delivered(c.now, 0, c.els)
	if config.managed {
		c.m.enabled(c.now, true)
		c.carry(c.m.delivered(c.now, 0, c.els)) // the bind result
	}
	c.els[0] = element{raw: []byte("<message/>"), stanza: config.managed}
	c.carry(c.m.request(c.now, 2, &request{rid: 1001, sid: "sid"}))
	c.r = request{sid: "sid", payload: []payload{{stanza: true}}, bytes: 100, hash: 1}
	for range 100 {
		c.turn()
	}
	if c.m.life != lifeLive {
		tb.Fatalf("the session ended: %+v", c.m.end)
	}
	return c
}

func cycleConfig(managed bool) *machineConfig {
	config := testConfig()
	config.managed = managed
	return &config
}

func (c *cycle) turn() {
	c.now = c.now.Add(time.Millisecond)
	c.rid++
	c.x++
	c.r.rid = c.rid
	c.carry(c.m.request(c.now, c.x, &c.r))
	c.carry(c.m.forwarded(c.now, c.rid, 1))
	if c.m.sm.on {
		c.h++
		c.carry(c.m.acked(c.now, c.h))
	}
	c.carry(c.m.delivered(c.now, 0, c.els))
}

func (c *cycle) carry(e effects) {
	if e.save != nil {
		c.m.saved(c.now, e.save.n, true)
	}
}

func BenchmarkMachineCycle(b *testing.B) {
	for name, managed := range map[string]bool{"class none": false, "resumable": true} {
		b.Run(name, func(b *testing.B) {
			c := newCycle(b, cycleConfig(managed))
			b.ReportAllocs()
			for b.Loop() {
				c.turn()
			}
		})
	}
}

func BenchmarkMachineDelivered(b *testing.B) {
	c := newCycle(b, cycleConfig(false))
	b.ReportAllocs()
	for b.Loop() {
		c.rid++
		c.x++
		c.r = request{sid: "sid", rid: c.rid}
		c.m.request(c.now, c.x, &c.r)
		c.m.delivered(c.now, 0, c.els)
	}
}

// A cycle is two requests' worth of work. What is allocated is what outlives the event: the queue that becomes a response,
// and for sessions that others can take over the record and its text.
func TestCostMachineAllocations(t *testing.T) {
	for _, test := range []struct {
		managed bool
		most    float64
	}{{false, 1}, {true, 5}} {
		c := newCycle(t, cycleConfig(test.managed))
		if n := testing.AllocsPerRun(1000, c.turn); n > test.most {
			t.Errorf("managed %v: %.1f allocations per cycle, %v are allowed", test.managed, n, test.most)
		}
	}
}

// Covers: BOSH-182.
func TestCostMachineAtRest(t *testing.T) {
	const n = 1000
	for _, managed := range []bool{false, true} {
		config := cycleConfig(managed)
		machines := make([]*cycle, n)
		before := heapInUse()
		for i := range machines {
			machines[i] = newCycle(t, config)
		}
		after := heapInUse()
		each := float64(after-before) / n
		t.Logf("managed %v: %.0f bytes per session at rest, the machine itself %d, a slot %d, an answer kept %d", managed,
			each, unsafe.Sizeof(machine{}), unsafe.Sizeof(slot{}), unsafe.Sizeof(kept{}))
		if each > 6<<10 {
			t.Errorf("managed %v: %.0f bytes per session at rest", managed, each)
		}
		runtime.KeepAlive(machines)
	}
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}
