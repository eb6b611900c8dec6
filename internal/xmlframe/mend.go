package xmlframe

import "math/bits"

// AppendTo appends the element to dst such that it means under the root scope `to` what it meant under its own root:
// declarations that it inherits (default namespace, prefixes in use, xml:lang) and that differ under `to` are added to
// its start tag; all else is byte for byte as received. An element that inherits no language gets none: where it goes, it
// takes what RFC 6120 §8.1.5 gives to stanzas without.
func (e Element) AppendTo(dst []byte, to *Scope) []byte {
	from := e.root.declared()
	if to == nil {
		to = &noScope
	}
	mend := e.uses
	if from.Default == to.Default {
		mend &^= usesDefault
	}
	if from.Lang == "" || from.Lang == to.Lang {
		mend &^= usesLang
	}
	for left := uint64(mend >> firstPrefix); left != 0; left &= left - 1 {
		bit := bits.TrailingZeros64(left)
		if bit < lastPrefixBit-firstPrefix && to.has(from.Prefixes[bit]) {
			mend &^= usesPrefix(bit)
		}
	}
	if mend == 0 {
		return append(dst, e.Raw...)
	}
	at := nameEnd(e.startTag())
	dst = append(dst, e.Raw[:at]...)
	if mend&usesDefault != 0 {
		dst = appendAttr(dst, "xmlns", "", from.Default)
	}
	for i := 0; i < len(from.Prefixes) && mend>>firstPrefix != 0; i++ {
		p := from.Prefixes[i]
		if mend&usesPrefix(i) != 0 && !to.has(p) && !e.declares(p.Name) {
			dst = appendAttr(dst, "xmlns:", p.Name, p.Space)
		}
	}
	if mend&usesLang != 0 {
		dst = appendAttr(dst, "xml:lang", "", from.Lang)
	}
	return append(dst, e.Raw[at:]...)
}

func appendAttr(dst []byte, prefix, local, value string) []byte {
	dst = append(dst, ' ')
	dst = append(dst, prefix...)
	dst = append(dst, local...)
	dst = append(dst, '=', '\'')
	return append(AppendEscaped(dst, value), '\'')
}

// has reports whether the scope makes the same declaration.
func (s *Scope) has(p Prefix) bool {
	for i := range s.Prefixes {
		if s.Prefixes[i].Name == p.Name {
			return s.Prefixes[i].Space == p.Space
		}
	}
	return false
}

// declares reports whether the start tag declares a prefix. Only where uses cannot tell prefixes apart may that be one
// that is also inherited.
func (e Element) declares(prefix string) bool {
	for name := range attributes(e.startTag()) {
		if p, local := split(name); string(p) == "xmlns" && string(local) == prefix {
			return true
		}
	}
	return false
}

// Rebase returns the element as it would read if its root's default namespace were def. XBOSH-004: a stanza in a <body/>
// that declares nothing itself is meant to be in jabber:client, with its children.
func (e Element) Rebase(def string) Element {
	if e.uses&usesDefault == 0 || e.root.declared().Default == def {
		return e // nothing in it would read differently
	}
	s := *e.root.declared()
	s.Default = def
	e.root = newInherits(s)
	if prefix, _ := split(nameOf(e.startTag())); prefix == nil {
		e.Space = e.root.unprefixed // it declares no default itself, or it would not use the root's
	}
	return e
}
