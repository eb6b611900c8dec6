package xmlframe

import "iter"

func (e Element) startTag() []byte { return e.Raw[:min(e.tag, len(e.Raw))] }

func (e Element) content() []byte { return e.Raw[min(e.tag, len(e.Raw)):] }

// Attr returns the decoded value of an attribute of the start tag; space is "" for an unprefixed attribute. Namespace
// declarations are not found: they are not attributes of the element.
func (e Element) Attr(space, local string) (string, bool) {
	for name, value := range attributes(e.startTag()) {
		prefix, l := split(name)
		if string(l) == local && string(prefix) != "xmlns" && string(name) != "xmlns" && prefixIs(prefix, space, e.startTag(), e.root) {
			return decodeValue(value), true
		}
	}
	return "", false
}

// prefixIs reports whether an attribute's prefix stands for space on the element with this start tag.
func prefixIs(prefix []byte, space string, tag []byte, root *inherits) bool {
	if len(prefix) == 0 || space == "" {
		return len(prefix) == 0 && space == ""
	}
	if string(prefix) == "xml" {
		return space == xmlSpace
	}
	for name, value := range attributes(tag) {
		if p, local := split(name); string(p) == "xmlns" && string(local) == string(prefix) {
			return decodeValue(value) == space
		}
	}
	i := root.find(prefix)
	return i >= 0 && root.scope.Prefixes[i].Space == space
}

// Children iterates over the child elements, with the declarations in force on e as their root scope.
func (e Element) Children() iter.Seq[Element] {
	return func(yield func(Element) bool) {
		var root *inherits
		known := false
		for p := range parts(e.content()) {
			if p.kind != partChild {
				continue
			}
			if !known {
				root, known = e.root.under(e.startTag()), true
			}
			m := newMachine(root, Limits{}.orNone(), false)
			m.run(p.bytes)
			var child Element
			ok := m.done
			if ok {
				m.element(p.bytes, &child)
			}
			m.free()
			if !ok || !yield(child) {
				return
			}
		}
	}
}

// Text returns the decoded character data directly inside e.
func (e Element) Text() string {
	var text []byte
	for p := range parts(e.content()) {
		switch p.kind {
		case partText:
			text = appendDecoded(text, p.bytes, inContent)
		case partCDATA:
			text = appendDecoded(text, p.bytes, inSection)
		case partChild:
		}
	}
	return string(text)
}
