package xmlframe

import (
	"bytes"
	"cmp"
	"slices"
)

// Up to fewAttrs attributes are told apart by a hash that costs nothing, up to manyAttrs by one that nobody outside can
// foresee; beyond that sorting is cheaper than comparing those whose hash is the same.
const (
	fewAttrs  = 8
	manyAttrs = 24
)

// duplicates checks that no two attributes of the start tag have the same name (XML 1.0 §3.1) nor, if some are prefixed,
// the same namespace and local name (XML Names §6.3). It may change their order.
func (m *machine) duplicates(b []byte) *Error {
	if len(m.attrs) > manyAttrs {
		return m.sortedDuplicates(b)
	}
	var seen uint64 // one bit for each hash
	for k := range m.attrs {
		x := &m.attrs[k]
		n := b[x.at:x.end]
		hash := uint64(n[0]) ^ uint64(len(n))<<2
		if len(m.attrs) > fewAttrs {
			hash = hashBytes(n)
		}
		bit := uint64(1) << (hash % 64)
		if seen&bit != 0 {
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
	return m.expandedDuplicates(b)
}

func (m *machine) expandedDuplicates(b []byte) *Error {
	var seen uint64
	for k := range m.attrs {
		x := &m.attrs[k]
		if !m.hasSpace(b, x) {
			continue
		}
		bit := uint64(1) << ((m.spaceHash(x.space) + uint64(x.end-x.colon)) % 64)
		if seen&bit != 0 {
			for j := range m.attrs[:k] {
				if y := &m.attrs[j]; m.hasSpace(b, y) && m.compareExpanded(b, x, y) == 0 {
					return faultAttribute
				}
			}
		}
		seen |= bit
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
	if c := cmp.Compare(m.spaceHash(x.space), m.spaceHash(y.space)); c != 0 {
		return c
	}
	return bytes.Compare(m.spaceName(b, x.space), m.spaceName(b, y.space))
}
