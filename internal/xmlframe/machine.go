package xmlframe

import (
	"bytes"
	"math"
	"sync"
)

// state is where in an element the machine stands.
type state uint8

const (
	inText state = iota // between the tags of an element
	inCDATA
	afterLess // behind '<'

	tagName  // in a start tag's name
	tagNext  // behind the name or a value: white space must precede an attribute
	tagSpace // before an attribute or the tag's end
	attrName
	attrEquals // before '='
	attrQuote  // behind '='
	attrValue
	tagSlash // behind the '/' of an empty element

	endName  // in an end tag's name
	endSpace // behind it

	refStart // behind '&'
	refName
	refHash    // behind "&#"
	refDecimal // in the number
	refHex
)

// machine checks one element, or one start tag, in the bytes it is given, and can stop behind any byte and go on when
// there are more. All offsets count from the token's '<', so the bytes may move in between. It works without recursion:
// open elements are on its own stack. Nothing that has been examined is looked at again because the input ended there,
// except for a character, a name or one of XML's keywords that was cut in two.
//
// A Scanner borrows a machine while a token is unfinished; idle streams hold none.
type machine struct {
	limits  Limits
	root    *inherits // what the token inherits
	tagOnly bool      // stop after the first start tag

	state state
	pos   int    // bytes examined
	fault *Error // why it stopped for good
	done  bool   // pos is the token's length

	mark, colon int   // the name being read: its start, and its colon or 0
	elem        name  // of the start tag being read
	quote       byte  // of the attribute being read
	back        state // where a reference stands
	ref         rune  // number of the character reference being read
	refFrom     int   // start of the entity name or number being read

	open     []frame
	bindings bindings
	defaults int // open elements that declare a default namespace

	// Attributes of the start tag being read; the last one may be unfinished.
	attrs    []attr
	xmlns    int // which one declares the default namespace, or -1
	prefixed int // how many have a prefix, xmlns included

	// What the token's first start tag said.
	first      name
	firstSpace space
	firstTag   int  // its length
	empty      bool // it is the whole element
	uses       uses
}

// name is a qualified name: b[at:end], with its colon at colon if that is not 0.
type name struct{ at, colon, end uint32 }

func (n name) prefix(b []byte) []byte { return b[n.at:n.colon] }

func (n name) local(b []byte) []byte {
	if n.colon == 0 {
		return b[n.at:n.end]
	}
	return b[n.colon+1 : n.end]
}

// attr is an attribute of the start tag being read.
type attr struct {
	name
	value, valueEnd uint32
	escaped         bool  // the value is not what stands between the quotes
	space           space // of a prefixed attribute, once the tag is complete
}

// frame is an open element.
type frame struct {
	at, end  uint32 // its qualified name
	bindings uint32 // how many were in force outside it
	defaults bool   // it declares a default namespace
}

// maxToken bounds a token whatever the limits say: offsets are 32 bits wide.
const maxToken = math.MaxInt32

// Machines that held an unusual element are not kept, so that the pool's memory stays small.
const (
	keepFrames   = 64
	keepAttrs    = 64
	keepBindings = 64
	keepDecoded  = 1024 // bytes
)

var machines = sync.Pool{New: func() any {
	return &machine{open: make([]frame, 0, 8), attrs: make([]attr, 0, 8)}
}}

func newMachine(root *inherits, limits Limits, tagOnly bool) *machine {
	m := machines.Get().(*machine)
	m.root, m.limits, m.tagOnly = root, limits, tagOnly
	m.state, m.pos, m.fault, m.done = afterLess, 1, nil, false
	m.open = m.open[:0]
	m.bindings.reset()
	m.defaults, m.empty, m.uses = 0, false, usesLang
	return m
}

func (m *machine) free() {
	if !m.outgrown() {
		m.root = nil
		machines.Put(m)
	}
}

func (m *machine) outgrown() bool {
	return cap(m.open) > keepFrames || cap(m.attrs) > keepAttrs || cap(m.bindings.list) > keepBindings || cap(m.bindings.decoded) > keepDecoded
}

// run examines b, the token from its '<' on, beyond what it has examined. It stops when the token is done, on a fault, or
// at the end of b.
func (m *machine) run(b []byte) {
	i, ok := m.pos, true
	for ok && i < len(b) {
		switch m.state {
		case inText:
			i, ok = m.text(b, i)
		case afterLess:
			i, ok = m.markup(b, i)
		case tagName, tagNext, tagSpace, tagSlash:
			i, ok = m.startTag(b, i)
		case attrName, attrEquals, attrQuote, attrValue:
			i, ok = m.attribute(b, i)
		case endName, endSpace:
			i, ok = m.endTag(b, i)
		case inCDATA:
			i, ok = m.cdata(b, i)
		case refStart, refName, refHash, refDecimal, refHex:
			i, ok = m.reference(b, i)
		}
	}
	m.pos = i
}

func (m *machine) fail(i int, f *Error) (int, bool) {
	m.fault = f
	return i, false
}

// The parts of the machine below take the offset to go on from and return where they stopped. ok is false when the token
// is done, on a fault, and where b ends inside something that must be seen whole.

// text goes to the next '<' or '&' of character data.
func (m *machine) text(b []byte, i int) (int, bool) {
	for {
		if b[i] != '<' { // tags often follow each other
			i = skipText(b, i)
		}
		if i == len(b) {
			return i, true
		}
		switch c := b[i]; {
		case c == '<':
			m.state = afterLess
			if i++; i == len(b) {
				return i, true
			}
			return m.markup(b, i)
		case c == '&':
			i++
			n := predefined(b, i)
			if n == 0 {
				m.state, m.back = refStart, inText
				return i, true
			}
			i += n
		case c == '>' && b[i-1] == ']' && b[i-2] == ']': // an element's text has a start tag in front of it
			return m.fail(i, faultCDATAEnd)
		case c == '>' || isSpace(c):
			i++
		default:
			var ok bool
			if i, ok = m.characters(b, i); !ok {
				return i, false
			}
		}
		if i == len(b) {
			return i, true
		}
	}
}

// cdata goes to the end of a CDATA section.
func (m *machine) cdata(b []byte, i int) (int, bool) {
	for {
		if i = skipText(b, i); i == len(b) {
			return i, true
		}
		switch c := b[i]; {
		case c == '>' && b[i-1] == ']' && b[i-2] == ']':
			m.state = inText
			return i + 1, true
		case c == '>' || c == '<' || c == '&' || isSpace(c):
			i++
		default:
			var ok bool
			if i, ok = m.characters(b, i); !ok {
				return i, false
			}
		}
	}
}

// characters checks a run of characters beyond ASCII, or finds a control character.
func (m *machine) characters(b []byte, i int) (int, bool) {
	if b[i] < 0x20 {
		return m.fail(i, faultChar)
	}
	for i < len(b) && b[i] >= 0x80 {
		if n := plainCharacter(b, i); n > 0 {
			i += n
			continue
		}
		r, size, ok := decode(b, i)
		switch {
		case !ok:
			return m.fail(i, faultUTF8)
		case size == 0:
			return i, false
		case !isChar(r):
			return m.fail(i, faultChar)
		}
		i += size
	}
	return i, true
}

// markup decides what a '<' begins.
func (m *machine) markup(b []byte, i int) (int, bool) {
	switch b[i] {
	case '/':
		if len(m.open) == 0 {
			return m.fail(i, faultName)
		}
		m.state, m.mark = endName, i+1
		return m.endTag(b, i+1)
	case '!', '?':
		switch n, f := special(b[i-1:]); {
		case f != nil:
			return m.fail(i, f)
		case n == 0:
			return i, false
		case len(m.open) == 0:
			return m.fail(i, faultOutside)
		default:
			m.state = inCDATA
			return i - 1 + n, true
		}
	}
	if len(m.open) >= m.limits.Depth && !m.tagOnly {
		return m.fail(i, faultDepth)
	}
	m.state, m.mark, m.colon = tagName, i, 0
	m.attrs, m.xmlns, m.prefixed = m.attrs[:0], -1, 0
	return m.startTag(b, i)
}

// endTag goes through an end tag, whose name must be that of the innermost open element.
func (m *machine) endTag(b []byte, i int) (int, bool) {
	f := &m.open[len(m.open)-1]
	if m.state == endName {
		want := b[f.at:f.end][i-m.mark:]
		n := min(len(want), len(b)-i)
		if !bytes.Equal(want[:n], b[i:i+n]) {
			return m.fail(i, faultBalance)
		}
		if i += n; n < len(want) {
			return i, true
		}
		m.state = endSpace
	}
	if i = skipSpace(b, i); i == len(b) {
		return i, true
	}
	if b[i] != '>' {
		return m.fail(i, faultBalance)
	}
	m.state = inText
	m.open = m.open[:len(m.open)-1]
	if m.done = len(m.open) == 0; !m.done { // else the caller still wants to know what the first tag declared
		m.forget(b, int(f.bindings), f.defaults)
	}
	return i + 1, !m.done
}
