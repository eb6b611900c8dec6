package xmlframe

import "iter"

// Scanner is an incremental scanner. The zero value is not usable. Not safe for concurrent use.
type Scanner struct {
	mode   Mode
	limits Limits
	scope  *Scope
}

// NewScanner returns a Scanner that stands before the root.
func NewScanner(mode Mode, limits Limits) *Scanner { return &Scanner{mode: mode, limits: limits} }

// Reset puts the Scanner back before the root. Memory, mode and limits stay.
func (s *Scanner) Reset() {}

// Next looks for the next token at the start of buf. It returns how many bytes of buf the caller may drop, and never
// looks at a byte of an unfinished token twice: with More (consumed counts only white space and the XML declaration in
// front of the token) call again with the remaining bytes, at any address, and more behind them.
// Errors are *Error; after one the Scanner must be Reset.
func (s *Scanner) Next(buf []byte) (Token, int, error) { return Token{}, 0, ErrTruncated }

// Scope returns the root's declarations; nil before the Header. It stays valid and unchanged after Reset.
func (s *Scanner) Scope() *Scope { return s.scope }

// Parse checks that b is exactly one standalone element, white space around it allowed, and returns it.
// Errors are *Error, or ErrTruncated.
func Parse(b []byte, limits Limits) (Element, error) { return Element{}, ErrTruncated }

// AppendTo appends the element to dst such that it means under the root scope `to` what it meant under its own root:
// declarations that it inherits (default namespace, prefixes in use, xml:lang) and that differ under `to` are added to
// its start tag; all else is byte for byte as received.
func (e Element) AppendTo(dst []byte, to *Scope) []byte { return append(dst, e.Raw...) }

// Attr returns the decoded value of an attribute of the start tag; space is "" for an unprefixed attribute.
func (e Element) Attr(space, local string) (string, bool) { return "", false }

// Children iterates over the child elements, with the declarations in force on e as their root scope.
func (e Element) Children() iter.Seq[Element] { return func(func(Element) bool) {} }

// Text returns the decoded character data directly inside e.
func (e Element) Text() string { return "" }

// AppendEscaped appends s escaped for use as character data and inside quoted attribute values.
func AppendEscaped(dst []byte, s string) []byte { return append(dst, s...) }
