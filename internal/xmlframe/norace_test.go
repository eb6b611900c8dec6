//go:build !race

package xmlframe

const poolMisses = 0
