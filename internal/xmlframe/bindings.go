package xmlframe

import (
	"hash/maphash"
	"slices"
)

// bindings are the namespace declarations in force inside a token, innermost last. Names and values are offsets in the
// token, except for values that had to be decoded: these are kept in decoded.
type bindings struct {
	list    []binding
	decoded []byte
	index   map[string]space // once there are many: where a prefix was declared last
}

type binding struct {
	prefix          name // without colon; empty for the default namespace
	value, valueEnd uint32
	escaped         bool   // the value is in decoded
	outer           space  // with an index: the declaration that this one hides; spaceNone if there is none
	hash            uint64 // of a prefix's value: it may be long, and two attributes need few bytes to have it compared
}

// manyBindings is the number from which on an index is kept, lest a hostile element make every look-up a long search.
const manyBindings = 16

func (d *bindings) reset() { d.list, d.decoded, d.index = d.list[:0], d.decoded[:0], nil }

var hashSeed = maphash.MakeSeed()

// hashBytes hashes names that a hostile peer chose.
func hashBytes(b []byte) uint64 { return maphash.Bytes(hashSeed, b) }

// put adds the declaration that attribute a makes of prefix.
func (d *bindings) put(b []byte, a *attr, prefix name) space {
	where := space(len(d.list))
	d.list = slices.Grow(d.list, 1)[:len(d.list)+1]
	x := &d.list[where]
	x.prefix.at, x.prefix.end, x.value, x.valueEnd = prefix.at, prefix.end, a.value, a.valueEnd
	x.escaped, x.outer = a.escaped, spaceNone
	if a.escaped {
		x.value = uint32(len(d.decoded))
		d.decoded = appendDecoded(d.decoded, b[a.value:a.valueEnd], inQuotes)
		x.valueEnd = uint32(len(d.decoded))
	}
	switch {
	case d.index != nil:
		d.enter(b, where)
	case len(d.list) > manyBindings:
		d.index = make(map[string]space, 2*manyBindings)
		for i := range d.list {
			d.enter(b, space(i))
		}
	}
	return where
}

func (d *bindings) enter(b []byte, where space) {
	x := &d.list[where]
	p := b[x.prefix.at:x.prefix.end]
	if outer, ok := d.index[string(p)]; ok {
		x.outer = outer
	}
	d.index[string(p)] = where
}

// cut forgets the declarations from the n-th on.
func (d *bindings) cut(b []byte, n int) {
	if d.index != nil {
		for i := len(d.list) - 1; i >= n; i-- {
			x := &d.list[i]
			if p := b[x.prefix.at:x.prefix.end]; x.outer == spaceNone {
				delete(d.index, string(p))
			} else {
				d.index[string(p)] = x.outer
			}
		}
	}
	d.list = d.list[:n]
}

// find returns where a prefix was declared last, or spaceNone.
func (d *bindings) find(b, prefix []byte) space {
	if d.index != nil {
		if where, ok := d.index[string(prefix)]; ok {
			return where
		}
		return spaceNone
	}
	for i := len(d.list) - 1; i >= 0; i-- {
		if x := &d.list[i]; string(b[x.prefix.at:x.prefix.end]) == string(prefix) {
			return space(i)
		}
	}
	return spaceNone
}

// value returns the namespace name declared at where.
func (d *bindings) value(b []byte, where space) []byte {
	x := &d.list[where]
	if x.escaped {
		return d.decoded[x.value:x.valueEnd]
	}
	return b[x.value:x.valueEnd]
}
