package bosh

import "sync"

// Buffers for requests and responses come in size classes, so that the usual small body does not keep a large one alive,
// and are given back as soon as a request is parsed and forwarded or a response is written: sessions that wait have none.

// bufferClasses are capacities. Larger buffers are left to the garbage collector.
var bufferClasses = [...]int{1 << 10, 4 << 10, 16 << 10, 64 << 10}

var bufferPools [len(bufferClasses)]sync.Pool

// buffer is what the pools hold. Its owner may let b grow beyond its class.
type buffer struct{ b []byte }

// getBuffer returns an empty buffer with room for n bytes.
func getBuffer(n int) *buffer {
	for i, size := range bufferClasses {
		if n <= size {
			if x, ok := bufferPools[i].Get().(*buffer); ok {
				return x
			}
			return &buffer{make([]byte, 0, size)}
		}
	}
	return &buffer{make([]byte, 0, n)}
}

// putBuffer takes a buffer back. nil is nothing.
func putBuffer(x *buffer) {
	if x == nil {
		return
	}
	for i := len(bufferClasses) - 1; i >= 0; i-- {
		if c := cap(x.b); c >= bufferClasses[i] {
			if i == len(bufferClasses)-1 && c > 2*bufferClasses[i] {
				return
			}
			x.b = x.b[:0]
			bufferPools[i].Put(x)
			return
		}
	}
}

// growBuffer returns b with room for more, about doubled but with a capacity of at most limit.
func growBuffer(b []byte, limit int) []byte {
	grown := make([]byte, len(b), max(min(max(2*cap(b), bufferClasses[0]), limit), len(b)+1))
	copy(grown, b)
	return grown
}
