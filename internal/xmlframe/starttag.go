package xmlframe

import "slices"

// startTag goes through a start tag. Each part falls through to the next while there is input.
//
//nolint:funlen // the states of one tag in their order; a call between them would cost more than what it does
func (m *machine) startTag(b []byte, i int) (int, bool) {
	var ok bool
	for i < len(b) {
		switch m.state {
		case tagName:
			if i, ok = m.name(b, i); !ok {
				return i, false
			}
			m.elem.at, m.elem.colon, m.elem.end = uint32(m.mark), uint32(m.colon), uint32(i)
			m.state = tagNext
			fallthrough
		case tagNext:
			if c := b[i]; !isSpace(c) && c != '>' && c != '/' {
				return m.fail(i, faultTag)
			}
			m.state = tagSpace
			fallthrough
		case tagSpace:
			if i = skipSpace(b, i); i == len(b) {
				return i, true
			}
			switch b[i] {
			case '>':
				return m.finishTag(b, i+1, false)
			case '/':
				i++
				m.state = tagSlash
				continue
			}
			n := m.plainAttrs(b, i)
			if n == i {
				return m.beginAttr(b, i)
			}
			i = n
		case tagSlash:
			if b[i] != '>' {
				return m.fail(i, faultTag)
			}
			return m.finishTag(b, i+1, true)
		default: // in an attribute's value
			return i, true
		}
	}
	return i, true
}

// finishTag takes a complete start tag that ends in front of i.
func (m *machine) finishTag(b []byte, i int, empty bool) (int, bool) {
	outside, defaults := len(m.bindings.list), m.xmlns >= 0
	if fault := m.resolve(b); fault != nil {
		return m.fail(i-1, fault)
	}
	m.state = inText
	if len(m.open) == 0 {
		m.firstTag, m.empty = i, empty
		if m.done = empty || m.tagOnly; m.done {
			return i, false
		}
	}
	if empty {
		m.forget(b, outside, defaults)
		return i, true
	}
	m.open = slices.Grow(m.open, 1)[:len(m.open)+1]
	f := &m.open[len(m.open)-1]
	f.at, f.end, f.bindings, f.defaults = m.elem.at, m.elem.end, uint32(outside), defaults
	return i, true
}

// forget ends the scope of what a start tag declared: the bindings from the n-th on and perhaps a default namespace.
func (m *machine) forget(b []byte, n int, defaults bool) {
	if n < len(m.bindings.list) {
		m.bindings.cut(b, n)
	}
	if defaults {
		m.defaults--
	}
}
