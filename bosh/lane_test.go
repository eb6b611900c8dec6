package bosh

import (
	"slices"
	"testing"
)

// What is written in one go tears no element when the replica dies in the middle, unless the element alone is too large.
func TestFailover_11_RecordsEndBetweenElements(t *testing.T) {
	const small, large = 6 << 10, 20 << 10
	for name, c := range map[string]struct{ sizes, cuts []int }{
		"fits":             {[]int{small, small}, nil},
		"too much":         {[]int{small, small, small, small, small}, []int{2 * small, 4 * small}},
		"large alone":      {[]int{large}, nil},
		"large behind":     {[]int{small, large}, []int{small}},
		"large in between": {[]int{small, large, small}, []int{small, small + large}},
	} {
		var d draft
		for _, n := range c.sizes {
			before := len(d.out)
			d.out = append(d.out, make([]byte, n)...)
			d.cut(before)
		}
		if !slices.Equal(d.cuts, c.cuts) {
			t.Errorf("%s: cut at %v, want %v", name, d.cuts, c.cuts)
		}
	}
}
