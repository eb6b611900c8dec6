package xmlframe

import (
	"bytes"
	"slices"
)

// inherits is a Scope as the scanner uses it.
type inherits struct {
	scope      Scope
	unprefixed []byte         // scope.Default
	prefixed   []prefixSpace  // the namespaces of scope.Prefixes
	index      map[string]int // of scope.Prefixes, once there are many
}

type prefixSpace struct {
	name []byte
	hash uint64
}

func newInherits(s Scope) *inherits {
	r := &inherits{scope: s, unprefixed: []byte(s.Default), prefixed: make([]prefixSpace, len(s.Prefixes))}
	for i, p := range s.Prefixes {
		name := []byte(p.Space)
		r.prefixed[i] = prefixSpace{name, hashBytes(name)}
	}
	if len(s.Prefixes) > manyBindings {
		r.index = make(map[string]int, len(s.Prefixes))
		for i, p := range s.Prefixes {
			r.index[p.Name] = i
		}
	}
	return r
}

// find returns the index of a prefix in scope.Prefixes, or -1.
func (r *inherits) find(prefix []byte) int {
	if r == nil {
		return -1
	}
	if r.index != nil {
		if i, ok := r.index[string(prefix)]; ok {
			return i
		}
		return -1
	}
	for i := range r.scope.Prefixes {
		if r.scope.Prefixes[i].Name == string(prefix) {
			return i
		}
	}
	return -1
}

// declared returns the Scope; the nil inherits has the empty one.
func (r *inherits) declared() *Scope {
	if r == nil {
		return &noScope
	}
	return &r.scope
}

var noScope Scope

// under returns what the children of an element inherit if it stands under r and has this start tag.
func (r *inherits) under(tag []byte) *inherits {
	s := *r.declared()
	changed := false
	var own []Prefix
	for name, value := range attributes(tag) {
		switch prefix, local := split(name); {
		case string(name) == "xmlns":
			s.Default = decodeValue(value)
		case string(name) == "xml:lang":
			s.Lang = decodeValue(value)
		case string(prefix) == "xmlns" && string(local) != "xml":
			own = append(own, Prefix{string(local), decodeValue(value)})
		default:
			continue
		}
		changed = true
	}
	if !changed {
		return r
	}
	inherited := s.Prefixes
	s.Prefixes = own
	for _, p := range inherited {
		if !slices.ContainsFunc(own, func(o Prefix) bool { return o.Name == p.Name }) {
			s.Prefixes = append(s.Prefixes, p)
		}
	}
	return newInherits(s)
}

// declaredBy reports whether the start tag of a root makes just these declarations, in this order.
func (r *inherits) declaredBy(tag []byte) bool {
	if r == nil {
		return false
	}
	defaulted, spoken, prefixes := false, false, 0
	for name, value := range attributes(tag) {
		prefix, local := split(name)
		switch {
		case string(name) == "xmlns":
			if !sameValue(value, r.scope.Default) {
				return false
			}
			defaulted = true
		case string(name) == "xml:lang":
			if !sameValue(value, r.scope.Lang) {
				return false
			}
			spoken = true
		case string(prefix) == "xmlns" && string(local) != "xml":
			if prefixes == len(r.scope.Prefixes) {
				return false
			}
			p := &r.scope.Prefixes[prefixes]
			if string(local) != p.Name || !sameValue(value, p.Space) {
				return false
			}
			prefixes++
		}
	}
	return prefixes == len(r.scope.Prefixes) && (defaulted || r.scope.Default == "") && (spoken || r.scope.Lang == "")
}

// sameValue reports whether an undecoded value reads want. It misses one that has to be decoded.
func sameValue(raw []byte, want string) bool {
	return string(raw) == want && !bytes.ContainsAny(raw, "&\t\r\n")
}
