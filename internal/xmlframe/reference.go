package xmlframe

import "unicode/utf8"

// entity returns the character that one of the five predefined entities stands for (XML 1.0 §4.6).
func entity(name []byte) (byte, bool) {
	switch string(name) {
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "amp":
		return '&', true
	case "apos":
		return '\'', true
	case "quot":
		return '"', true
	}
	return 0, false
}

// predefined returns the length of the reference to a predefined entity behind an '&'; 0 if b[i:] is something else, or
// not all there.
func predefined(b []byte, i int) int {
	switch rest := b[i:min(i+5, len(b))]; {
	case len(rest) < 3:
	case string(rest[:3]) == "lt;", string(rest[:3]) == "gt;":
		return 3
	case len(rest) < 4:
	case string(rest[:4]) == "amp;":
		return 4
	case len(rest) < 5:
	case string(rest) == "apos;", string(rest) == "quot;":
		return 5
	}
	return 0
}

// reference goes through an entity or character reference, behind its '&'.
func (m *machine) reference(b []byte, i int) (int, bool) {
	for ; i < len(b); i++ {
		c := b[i]
		switch m.state {
		case refStart:
			m.refFrom = i
			if c == '#' {
				m.state, m.ref = refHash, 0
				continue
			}
			i, ok := m.nameStart(b, i)
			if ok {
				m.state = refName
			}
			return i, ok
		case refName:
			if class[c]&nameByte != 0 {
				continue
			}
			return m.entityEnd(b, i)
		case refHash:
			m.state, m.refFrom = refDecimal, i
			if c == 'x' {
				m.state, m.refFrom = refHex, i+1
				continue
			}
			fallthrough
		default: // in the number
			if c == ';' && i > m.refFrom {
				if !isChar(m.ref) {
					return m.fail(i, faultChar)
				}
				m.state = m.back
				return i + 1, true
			}
			d, base := digit(c), rune(16)
			if m.state == refDecimal {
				base = 10
			}
			if d >= base {
				return m.fail(i, faultReference)
			}
			m.ref = min(m.ref*base+d, utf8.MaxRune+1) // leading zeros may go on for ever, the number may not
		}
	}
	return i, true
}

// entityEnd decides on an entity's name, or goes over a character beyond ASCII in it.
func (m *machine) entityEnd(b []byte, i int) (int, bool) {
	if b[i] >= 0x80 {
		r, size, ok := decode(b, i)
		switch {
		case !ok:
			return m.fail(i, faultUTF8)
		case size == 0:
			return i, false
		case within(r, nameStarts) || within(r, nameOthers):
			return i + size, true
		}
	}
	if b[i] != ';' {
		return m.fail(i, faultReference)
	}
	if _, ok := entity(b[m.refFrom:i]); !ok {
		return m.fail(i, faultEntity)
	}
	m.state = m.back
	return i + 1, true
}

// digit returns the value of a hexadecimal digit; 16 if c is none.
func digit(c byte) rune {
	switch {
	case c >= '0' && c <= '9':
		return rune(c - '0')
	case c >= 'a' && c <= 'f':
		return rune(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return rune(c-'A') + 10
	}
	return 16
}
