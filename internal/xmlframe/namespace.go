package xmlframe

// Namespace names that XML Names §3 reserves.
const (
	xmlSpace   = "http://www.w3.org/XML/1998/namespace"
	xmlnsSpace = "http://www.w3.org/2000/xmlns/"
)

// uses says what an element, or anything inside it, takes from its root: bit usesDefault, bit usesLang, and one bit for
// each prefix, where the last bit stands for all prefixes from there on.
type uses uint64

const (
	usesDefault   uses = 1 << 0
	usesLang      uses = 1 << 1
	firstPrefix        = 2
	lastPrefixBit      = 63
)

func usesPrefix(i int) uses { return 1 << min(i+firstPrefix, lastPrefixBit) }

// space says where a prefix, or the default namespace, was declared: the index of a binding, or one of those below.
type space int32

const (
	spaceNone    space = -1 // no namespace
	spaceXML     space = -2 // the prefix xml
	spaceDefault space = -3 // the root's default namespace
	spaceRoot    space = -4 // the root's first prefix; -5 the second, and so on
)

// resolve checks the namespaces of a complete start tag (XML Names §3 to §6) and adds what it declares.
func (m *machine) resolve(b []byte) *Error {
	where := spaceNone
	if m.xmlns >= 0 {
		m.defaults++
		var fault *Error
		if where, fault = m.declareDefault(b, &m.attrs[m.xmlns]); fault != nil {
			return fault
		}
	}
	if m.prefixed > 0 {
		if fault := m.resolveAttrs(b); fault != nil {
			return fault
		}
	}
	if m.elem.colon != 0 {
		if where = m.lookup(b, m.elem.prefix(b)); where == spaceNone {
			return faultUndeclared
		}
	} else if m.defaults == 0 {
		where = spaceDefault
		m.uses |= usesDefault
	}
	if len(m.open) == 0 {
		m.first.at, m.first.colon, m.first.end, m.firstSpace = m.elem.at, m.elem.colon, m.elem.end, where
	}
	if len(m.attrs) > 1 {
		return m.duplicates(b)
	}
	return nil
}

// declareDefault takes the attribute xmlns. Only what the first start tag declares is asked for again.
func (m *machine) declareDefault(b []byte, a *attr) (space, *Error) {
	value, where := b[a.value:a.valueEnd], spaceNone
	if a.escaped || len(m.open) == 0 {
		where = m.bindings.put(b, a, name{})
		value = m.bindings.value(b, where)
	}
	if reserved(value) {
		return spaceNone, faultReserved
	}
	return where, nil
}

// declare takes an attribute xmlns:prefix (XML Names §2.2, §3).
func (m *machine) declare(b []byte, a *attr) *Error {
	where := m.bindings.put(b, a, name{at: a.colon + 1, end: a.end})
	prefix, value := a.local(b), m.bindings.value(b, where)
	switch {
	case string(prefix) == "xmlns" || string(value) == xmlnsSpace || (string(prefix) == "xml") != (string(value) == xmlSpace):
		return faultReserved
	case len(value) == 0:
		return faultEmptySpace
	}
	m.bindings.list[where].hash = hashBytes(value)
	return nil
}

func reserved(value []byte) bool { return string(value) == xmlSpace || string(value) == xmlnsSpace }

// resolveAttrs takes the declarations of prefixes, and then finds the namespaces of the other prefixed attributes.
func (m *machine) resolveAttrs(b []byte) *Error {
	for k := range m.attrs {
		if a := &m.attrs[k]; a.colon != 0 && string(a.prefix(b)) == "xmlns" {
			if fault := m.declare(b, a); fault != nil {
				return fault
			}
		}
	}
	for k := range m.attrs {
		a := &m.attrs[k]
		if !m.hasSpace(b, a) {
			continue
		}
		a.space = m.lookup(b, a.prefix(b))
		switch {
		case a.space == spaceNone:
			return faultUndeclared
		case a.space == spaceXML && len(m.open) == 0 && string(a.local(b)) == "lang":
			m.uses &^= usesLang
		}
	}
	return nil
}

// lookup returns where a prefix was declared; spaceNone if it was not.
func (m *machine) lookup(b, prefix []byte) space {
	if string(prefix) == "xml" {
		return spaceXML
	}
	if where := m.bindings.find(b, prefix); where >= 0 {
		return where
	}
	if i := m.root.find(prefix); i >= 0 {
		m.uses |= usesPrefix(i)
		return spaceRoot - space(i)
	}
	return spaceNone
}

// spaceName returns the namespace name declared at where. It stays valid as long as b and the machine's token.
func (m *machine) spaceName(b []byte, where space) []byte {
	switch {
	case where >= 0:
		return m.bindings.value(b, where)
	case where == spaceXML:
		return []byte(xmlSpace)
	case where == spaceNone || m.root == nil:
		return nil
	case where == spaceDefault:
		return m.root.unprefixed
	}
	return m.root.prefixed[spaceRoot-where].name
}

// spaceHash returns the hash of the namespace name that a prefix was declared for at where.
func (m *machine) spaceHash(where space) uint64 {
	switch {
	case where >= 0:
		return m.bindings.list[where].hash
	case where == spaceXML:
		return xmlSpaceHash
	}
	return m.root.prefixed[spaceRoot-where].hash
}

var xmlSpaceHash = hashBytes([]byte(xmlSpace))
