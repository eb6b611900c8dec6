package xmlframe

import "errors"

// Limits bound what one element may cost. Zero fields mean no limit.
type Limits struct {
	ElementBytes int // one first-level element, or the root's start tag
	Depth        int // nesting; the first-level element itself is depth 1
	Attributes   int // attributes of one element, namespace declarations included
	NameBytes    int // one qualified name
}

// Mode says what a Scanner's root is.
type Mode uint8

const (
	// Rooted input is a root start tag, first-level elements, and the root's end tag: a stream, or a BOSH body.
	Rooted Mode = iota
	// Standalone input is exactly one element (RFC 7395 §3.3.3).
	Standalone
)

// Kind is what Next found.
type Kind uint8

const (
	More   Kind = iota // the input ends inside a token: call again with the same bytes and more behind them
	Header             // the root's start tag
	Child              // a first-level element, or in Standalone mode the element
	End                // the root's end tag; of a root without content (<body/>) it has no bytes of its own
)

// Condition is the RFC 6120 §4.9.3 stream error condition that a fault in the input deserves.
type Condition string

const (
	NotWellFormed       Condition = "not-well-formed"
	RestrictedXML       Condition = "restricted-xml"
	BadNamespacePrefix  Condition = "bad-namespace-prefix"
	PolicyViolation     Condition = "policy-violation"
	UnsupportedEncoding Condition = "unsupported-encoding"
)

// Error is a fault in the input. It never quotes the input.
type Error struct {
	Condition Condition
	Reason    string // what is wrong, lower case, without input bytes
}

func (e *Error) Error() string { return "xml: " + e.Reason }

// ErrTruncated means that a complete input was required and its end is missing.
var ErrTruncated = errors.New("xml: input ends inside an element")

// Scope is what a root contributes to its children: the declarations in force on it. A Scope is immutable.
// The nil Scope declares nothing.
type Scope struct {
	Default  string   // default namespace; "" for none
	Lang     string   // xml:lang in force; "" for none
	Prefixes []Prefix // prefix declarations, xml and xmlns left out
}

// Prefix is one namespace declaration with a prefix. Space is decoded.
type Prefix struct{ Name, Space string }

// Element is an element as it was received. Its slices are only valid until the caller reuses the input buffer; what the
// Scanner does meanwhile does not matter. They must not be written to.
type Element struct {
	Raw   []byte // from its '<' to its '>'; for a Header the start tag alone
	Space []byte // resolved namespace name, decoded
	Local []byte // local name

	tag  int       // length of the start tag in Raw
	uses uses      // what it, or anything inside it, inherits from the root
	root *inherits // the declarations it inherits; nil for none
}

// Token is one step of a Scanner.
type Token struct {
	Kind    Kind
	Element Element // Header and Child only
}

// Is reports whether the element has that expanded name.
func (e Element) Is(space, local string) bool {
	return string(e.Local) == local && string(e.Space) == space
}

// IsStanza reports whether the element is a message, presence or iq in jabber:client (RFC 6120 §8.1): what XEP-0198 counts.
func (e Element) IsStanza() bool {
	if string(e.Space) != "jabber:client" {
		return false
	}
	switch string(e.Local) {
	case "message", "presence", "iq":
		return true
	}
	return false
}
