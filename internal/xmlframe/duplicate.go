package xmlframe

import (
	"bytes"
	"slices"
)

// fewAttrs is the number of attributes up to which comparing each with each is cheaper than sorting.
const fewAttrs = 24

// duplicates checks that no two attributes of the start tag have the same name (XML 1.0 §3.1) nor, if some are prefixed,
// the same namespace and local name (XML Names §6.3). It may change their order.
func (m *machine) duplicates(b []byte) *Error {
	if len(m.attrs) > fewAttrs {
		return m.sortedDuplicates(b)
	}
	var seen uint64 // by first byte and length of the name: most differ here
	for k := range m.attrs {
		x := &m.attrs[k]
		bit := uint64(1) << ((uint32(b[x.at]) ^ (x.end-x.at)<<2) % 64)
		if seen&bit != 0 {
			n := b[x.at:x.end]
			for j := range m.attrs[:k] {
				if y := &m.attrs[j]; string(b[y.at:y.end]) == string(n) {
					return faultAttribute
				}
			}
		}
		seen |= bit
	}
	if m.prefixed < 2 {
		return nil
	}
	for k := range m.attrs {
		for j := range m.attrs[:k] {
			x, y := &m.attrs[k], &m.attrs[j]
			if m.hasSpace(b, x) && m.hasSpace(b, y) && m.compareExpanded(b, x, y) == 0 {
				return faultAttribute
			}
		}
	}
	return nil
}

func (m *machine) sortedDuplicates(b []byte) *Error {
	slices.SortFunc(m.attrs, func(x, y attr) int { return bytes.Compare(b[x.at:x.end], b[y.at:y.end]) })
	for k := 1; k < len(m.attrs); k++ {
		if x, y := &m.attrs[k-1], &m.attrs[k]; string(b[x.at:x.end]) == string(b[y.at:y.end]) {
			return faultAttribute
		}
	}
	if m.prefixed < 2 {
		return nil
	}
	m.attrs = slices.DeleteFunc(m.attrs, func(x attr) bool { return !m.hasSpace(b, &x) })
	slices.SortFunc(m.attrs, func(x, y attr) int { return m.compareExpanded(b, &x, &y) })
	for k := 1; k < len(m.attrs); k++ {
		if m.compareExpanded(b, &m.attrs[k-1], &m.attrs[k]) == 0 {
			return faultAttribute
		}
	}
	return nil
}

// hasSpace reports whether an attribute is in a namespace. Declarations are not compared: no two of them can be the same
// by another name.
func (m *machine) hasSpace(b []byte, a *attr) bool {
	return a.colon != 0 && string(a.prefix(b)) != "xmlns"
}

// compareExpanded orders two prefixed attributes by local name and namespace.
func (m *machine) compareExpanded(b []byte, x, y *attr) int {
	if c := bytes.Compare(x.local(b), y.local(b)); c != 0 || x.space == y.space {
		return c
	}
	return bytes.Compare(m.spaceName(b, x.space), m.spaceName(b, y.space))
}
