//go:build race

package xmlframe

// poolMisses is how many allocations a run may take on average: under the race detector a sync.Pool forgets a part of
// what it is given, to make its users fail if they rely on it.
const poolMisses = 2
