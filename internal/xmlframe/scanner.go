package xmlframe

// Scanner is an incremental scanner. The zero value is not usable. Not safe for concurrent use.
//
// It keeps what the root declared, but no input, and between tokens little else: an idle Scanner costs some 200 bytes.
type Scanner struct {
	mode   Mode
	limits Limits

	place    place
	empty    bool      // the root's start tag was all of it
	root     *inherits // after the Header
	rootName string    // qualified
	before   *inherits // root of the input before Reset: the next one often declares the same
	token    *machine  // the unfinished token, if it is an element or a start tag
	pos      int       // bytes examined of an unfinished end tag of the root, or XML declaration
	err      *Error
}

// place is where in its input a Scanner stands between tokens.
type place uint8

const (
	atStart place = iota // before everything
	afterBOM
	beforeRoot
	insideRoot
	afterRoot
)

// NewScanner returns a Scanner that stands before the root.
func NewScanner(mode Mode, limits Limits) *Scanner {
	return &Scanner{mode: mode, limits: limits.orNone()}
}

// orNone replaces limits that are not set by what no token reaches.
func (l Limits) orNone() Limits {
	for _, x := range []*int{&l.ElementBytes, &l.Depth, &l.Attributes, &l.NameBytes} {
		if *x <= 0 || *x > maxToken {
			*x = maxToken
		}
	}
	return l
}

// Reset puts the Scanner back before the root. Mode and limits stay.
func (s *Scanner) Reset() {
	s.release()
	before := s.root
	if before == nil {
		before = s.before
	}
	*s = Scanner{mode: s.mode, limits: s.limits, rootName: s.rootName, before: before}
}

func (s *Scanner) release() {
	if s.token != nil {
		s.token.free()
		s.token = nil
	}
}

// Scope returns the root's declarations; nil before the Header. It stays valid and unchanged after Reset.
func (s *Scanner) Scope() *Scope {
	if s.root == nil {
		return nil
	}
	return &s.root.scope
}

// Next looks for the next token at the start of buf. It returns how many bytes of buf the caller may drop, and never
// looks at a byte of an unfinished token twice, a character or keyword cut in two excepted: with More (consumed counts
// only white space and the XML declaration in front of the token) call again with the remaining bytes, at any address,
// and more behind them. Errors are *Error; after one the Scanner must be Reset.
//
// White space around elements is passed over. An XML declaration is accepted at the very start, and in Rooted mode a byte
// order mark before it (BOSH-029); a message that stands alone begins with '<' (RFC 7395 §3.3.3). The root of an empty
// document like <body/> is a Header and then, whatever buf is, an End without bytes.
func (s *Scanner) Next(buf []byte) (tok Token, n int, err error) {
	if s.err != nil {
		return Token{}, 0, s.err
	}
	n, fault := s.next(buf, &tok)
	if fault != nil {
		s.release()
		s.err = fault
		return Token{}, n, fault
	}
	return tok, n, nil
}

// next is Next with its own type of error. It leaves tok alone unless the token is complete.
func (s *Scanner) next(buf []byte, tok *Token) (int, *Error) {
	skipped := 0
	if s.token == nil {
		n, more, fault := s.between(buf)
		switch {
		case fault != nil:
			return n, fault
		case s.empty && s.place == insideRoot:
			s.place, tok.Kind = afterRoot, End
			return n, nil
		case more:
			return n, nil
		case buf[n+1] == '/':
			return s.end(buf, n, tok)
		}
		skipped, buf = n, buf[n:]
		s.token = newMachine(s.root, s.limits, s.mode == Rooted && s.place != insideRoot)
	}
	m, b := s.token, buf[:min(len(buf), s.limits.ElementBytes)]
	m.run(b)
	switch {
	case m.fault != nil:
		return skipped, m.fault
	case m.done:
		m.element(b, &tok.Element)
		s.complete(tok) // gives m back
		return skipped + len(tok.Element.Raw), nil
	case len(b) == s.limits.ElementBytes:
		return skipped, faultBytes // UP-038: it cannot end within the limit any more
	}
	return skipped, nil
}

// complete takes note of a complete element, or of the root's start tag.
func (s *Scanner) complete(tok *Token) {
	tok.Kind = Child
	switch {
	case s.token.tagOnly:
		tok.Kind = Header
		raw := tok.Element.Raw
		s.open(raw, nameOf(raw))
		s.empty, s.place = s.token.empty, insideRoot
	case s.mode == Standalone:
		s.place = afterRoot
	}
	s.release()
}

// open takes the root's start tag. What the root before declared in the same words is used again.
func (s *Scanner) open(tag, name []byte) {
	if s.rootName != string(name) {
		s.rootName = string(name)
	}
	if s.before.declaredBy(tag) {
		s.root = s.before
		return
	}
	var none *inherits
	if s.root = none.under(tag); s.root == nil {
		s.root = newInherits(Scope{})
	}
}

// element describes the element that the machine went through.
func (m *machine) element(b []byte, e *Element) {
	e.Raw, e.Local, e.Space = b[:m.pos:m.pos], m.first.local(b), m.spaceName(b, m.firstSpace)
	e.tag, e.uses, e.root = m.firstTag, m.uses, m.root
	if m.firstSpace >= 0 && m.bindings.list[m.firstSpace].escaped {
		e.Space = append([]byte(nil), e.Space...) // the machine will be used again
	}
}

// end goes through the root's end tag, at buf[n].
func (s *Scanner) end(buf []byte, n int, tok *Token) (int, *Error) {
	if s.place != insideRoot {
		return n, faultMarkup
	}
	b := buf[n:]
	b = b[:min(len(b), s.limits.ElementBytes)]
	for i := max(s.pos, 2); i < len(b); i++ {
		switch k := i - 2; {
		case k < len(s.rootName):
			if b[i] != s.rootName[k] {
				return n, faultBalance
			}
		case b[i] == '>':
			s.place, s.pos, tok.Kind = afterRoot, 0, End
			return n + i + 1, nil
		case !isSpace(b[i]):
			return n, faultBalance
		}
	}
	if s.pos = len(b); s.pos == s.limits.ElementBytes {
		return n, faultBytes
	}
	return n, nil
}

// Parse checks that b is exactly one standalone element, white space around it allowed, and returns it.
// Errors are *Error, or ErrTruncated.
func Parse(b []byte, limits Limits) (Element, error) {
	s := NewScanner(Standalone, limits)
	tok, n, err := s.Next(b)
	switch {
	case err != nil:
		return Element{}, err
	case tok.Kind != Child:
		s.Reset()
		return Element{}, ErrTruncated
	}
	if _, _, err := s.Next(b[n:]); err != nil {
		return Element{}, err
	}
	return tok.Element, nil
}
