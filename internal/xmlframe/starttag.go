package xmlframe

import "slices"

// startTag goes through a start tag. Each part falls through to the next while there is input.
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

// plainAttrs takes the usual attributes at once: ASCII names, values of ASCII without references, a blank between them. It
// returns where something else begins, with the state that goes with it.
func (m *machine) plainAttrs(b []byte, i int) int {
	for i <= len(b)-8 && len(m.attrs) < m.limits.Attributes {
		n, colon := i+lowers(word(b, i)), 0
		if n == len(b) || b[n] != '=' {
			n = skipName(b, n)
			if n+1 < len(b) && b[n] == ':' && class[b[n+1]]&nameStartByte != 0 {
				colon, n = n, skipName(b, n+1)
			}
		}
		if n+1 >= len(b) || b[n] != '=' || class[b[i]]&nameStartByte == 0 || n-i > m.limits.NameBytes {
			return i
		}
		quote := b[n+1]
		if quote != '\'' && quote != '"' {
			return i
		}
		a := m.addAttr()
		a.at, a.colon, a.end, a.value, a.escaped = uint32(i), uint32(colon), uint32(n), uint32(n+2), false
		if colon != 0 {
			m.prefixed++
		} else if n-i == 5 && string(b[i:n]) == "xmlns" {
			m.xmlns = len(m.attrs) - 1
		}
		i = skipValue(b, n+2, quote)
		if i+1 >= len(b) || b[i] != quote {
			m.state, m.quote = attrValue, quote
			return i
		}
		a.valueEnd = uint32(i)
		if i++; b[i] != ' ' {
			m.state = tagNext
			return i
		}
		i++
	}
	return i
}

func (m *machine) addAttr() *attr {
	if len(m.attrs) == cap(m.attrs) {
		m.attrs = slices.Grow(m.attrs, 1)
	}
	m.attrs = m.attrs[:len(m.attrs)+1]
	return &m.attrs[len(m.attrs)-1]
}

// beginAttr begins an attribute at its name.
func (m *machine) beginAttr(b []byte, i int) (int, bool) {
	if len(m.attrs) >= m.limits.Attributes {
		return m.fail(i, faultAttributes)
	}
	m.state, m.mark, m.colon = attrName, i, 0
	m.addAttr()
	return m.attribute(b, i)
}

// attribute goes through an attribute. Each part falls through to the next while there is input.
func (m *machine) attribute(b []byte, i int) (int, bool) {
	var ok bool
	a := &m.attrs[len(m.attrs)-1]
	switch m.state {
	case attrName:
		if i, ok = m.name(b, i); !ok {
			return i, false
		}
		a.at, a.colon, a.end, a.escaped = uint32(m.mark), uint32(m.colon), uint32(i), false
		if m.colon != 0 {
			m.prefixed++
		} else if string(b[m.mark:i]) == "xmlns" {
			m.xmlns = len(m.attrs) - 1
		}
		m.state = attrEquals
		fallthrough
	case attrEquals:
		if i = skipSpace(b, i); i == len(b) {
			return i, true
		}
		if b[i] != '=' {
			return m.fail(i, faultTag)
		}
		i++
		m.state = attrQuote
		fallthrough
	case attrQuote:
		if i = skipSpace(b, i); i == len(b) {
			return i, true
		}
		if m.quote = b[i]; m.quote != '\'' && m.quote != '"' {
			return m.fail(i, faultTag)
		}
		i++
		a.value = uint32(i)
		m.state = attrValue
		fallthrough
	default:
		return m.value(b, i, a)
	}
}

// value goes behind the quote that ends an attribute value, or behind an '&' in it.
func (m *machine) value(b []byte, i int, a *attr) (int, bool) {
	for {
		if i = skipValue(b, i, m.quote); i == len(b) {
			return i, true
		}
		switch c := b[i]; {
		case c == m.quote:
			a.valueEnd = uint32(i)
			m.state = tagNext
			return i + 1, true
		case c == '&':
			a.escaped = true
			i++
			n := predefined(b, i)
			if n == 0 {
				m.state, m.back = refStart, attrValue
				return i, true
			}
			i += n
		case c == '<':
			return m.fail(i, faultLess)
		case isSpace(c):
			a.escaped = true // XML 1.0 §3.3.3: reads as a space
			i++
		default:
			var ok bool
			if i, ok = m.characters(b, i); !ok {
				return i, false
			}
		}
	}
}
