package xmlframe

// name goes to the end of the qualified name that begins at m.mark (XML Names §4): a part, or two with a colon between.
func (m *machine) name(b []byte, i int) (int, bool) {
	for {
		if i == m.mark || i == m.colon+1 {
			if i == len(b) {
				return i, false
			}
			if class[b[i]]&nameStartByte == 0 {
				var ok bool
				if i, ok = m.nameStart(b, i); !ok {
					return i, false
				}
			}
		}
		i = skipName(b, i)
		if i-m.mark > m.limits.NameBytes {
			return m.fail(i, faultNameBytes)
		}
		if i == len(b) {
			return i, false
		}
		switch c := b[i]; {
		case c == ':':
			if m.colon != 0 {
				return m.fail(i, faultName)
			}
			m.colon = i
			i++
		case c < 0x80:
			return i, true
		default:
			r, size, ok := decode(b, i)
			switch {
			case !ok:
				return m.fail(i, faultUTF8)
			case size == 0:
				return i, false
			case !within(r, nameStarts) && !within(r, nameOthers):
				return m.fail(i, faultName)
			}
			i += size
		}
	}
}

// nameStart checks the first character of a name or of one of its parts.
func (m *machine) nameStart(b []byte, i int) (int, bool) {
	if c := b[i]; c < 0x80 {
		if class[c]&nameStartByte == 0 {
			return m.fail(i, faultName)
		}
		return i + 1, true
	}
	r, size, ok := decode(b, i)
	switch {
	case !ok:
		return m.fail(i, faultUTF8)
	case size == 0:
		return i, false
	case !within(r, nameStarts):
		return m.fail(i, faultName)
	}
	return i + size, true
}
