package bosh

import (
	"reflect"
	"unsafe"
)

// simMemory counts the bytes that a machine keeps alive: everything that can be reached from it, once.
type simMemory struct {
	seen  map[unsafe.Pointer]bool
	bytes int
}

func machineBytes(m *machine) int {
	mem := simMemory{seen: map[unsafe.Pointer]bool{}}
	mem.seen[unsafe.Pointer(m.config)] = true // shared by all machines
	mem.walk(reflect.ValueOf(m).Elem())
	return mem.bytes
}

// first says whether p is met for the first time.
func (mem *simMemory) first(p unsafe.Pointer) bool {
	if p == nil || mem.seen[p] {
		return false
	}
	mem.seen[p] = true
	return true
}

func (mem *simMemory) walk(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() && mem.first(v.UnsafePointer()) {
			mem.bytes += int(v.Type().Elem().Size())
			mem.walk(v.Elem())
		}
	case reflect.Interface:
		if !v.IsNil() {
			mem.walk(v.Elem())
		}
	case reflect.String:
		if mem.first(unsafe.Pointer(unsafe.StringData(v.String()))) {
			mem.bytes += v.Len()
		}
	case reflect.Slice:
		if v.Cap() == 0 || !mem.first(v.UnsafePointer()) {
			return
		}
		mem.bytes += v.Cap() * int(v.Type().Elem().Size())
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		for i := range v.Len() {
			mem.walk(v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			mem.walk(v.Index(i))
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			mem.bytes += int(v.Type().Key().Size() + v.Type().Elem().Size())
			mem.walk(it.Key())
			mem.walk(it.Value())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			mem.walk(v.Field(i))
		}
	default:
	}
}

// memory checks that what waits in both directions is bounded (BOSH-080, BOSH-182): the queue towards the browser, the
// answers kept for repeats, and the requests that are parked or unanswered.
func (o *machineOracle) memory() {
	o.looks++
	waits := 0
	for _, q := range o.queued {
		waits += q.bytes
	}
	if o.looks%16 != 0 || o.s.m == nil || !o.ended && waits == 0 && o.truth.honest {
		return
	}
	if !o.ended && waits > o.cfg.queueBytes+blockedBytes+4*simLargest {
		o.fail("BOSH-080/queue", "%d bytes wait for the browser, %d may", waits, o.cfg.queueBytes)
	}
	window := max(o.window, 2) + 1
	answers := 3 * window * (o.cfg.responseBytes + simLargest)
	requests := window * 5 * simLargest
	if o.truth.honest {
		requests = window * 20 * (2*64 + o.w.plan.padding)
	}
	limit := blockedBytes + 2*o.cfg.queueBytes + 8*simLargest + answers + requests + 32<<10
	if n := machineBytes(o.s.m); n > limit {
		o.fail("BOSH-182/memory", "the machine keeps %d bytes, %d are enough", n, limit)
	}
}
