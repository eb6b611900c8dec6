package xmlframe

import "bytes"

var (
	byteOrderMark = []byte("\uFEFF")
	declStart     = []byte("<?xml")
	cdataStart    = []byte("<![CDATA[")
	commentStart  = []byte("<!--")
	doctypeStart  = []byte("<!DOCTYPE")
)

// maxDecl bounds an XML declaration, in bytes. A serious one has about 60.
const maxDecl = 256

// startsWith reports whether b begins with want; partly if b is too short to tell.
func startsWith(b, want []byte) (whole, partly bool) {
	if len(b) < len(want) {
		return false, bytes.HasPrefix(want, b)
	}
	return bytes.HasPrefix(b, want), false
}

// between passes over what may stand in front of a token. It stops at a '<' and the byte behind it, which are the start
// of the token, or wants more.
func (s *Scanner) between(buf []byte) (n int, more bool, f *Error) {
	if s.place < beforeRoot {
		if n, more, f = s.prolog(buf); more || f != nil {
			return n, more, f
		}
		s.place = beforeRoot
	}
	if s.pos == 0 {
		n = skipSpace(buf, n)
	}
	if n == len(buf) {
		return n, true, nil
	}
	switch {
	case s.place == afterRoot:
		return n, false, faultEnd
	case s.empty:
		return n, false, nil
	case buf[n] != '<':
		return n, false, faultOutside
	case n+1 == len(buf):
		return n, true, nil
	case buf[n+1] == '!' || buf[n+1] == '?':
		var size int
		if size, f = special(buf[n:]); size > 0 {
			f = faultOutside // BOSH-024: character data, in whatever form
		}
		return n, size == 0, f
	}
	return n, false, nil
}

// prolog passes over a byte order mark and an XML declaration.
func (s *Scanner) prolog(buf []byte) (n int, more bool, f *Error) {
	if s.place == atStart {
		if len(buf) == 0 || len(buf) == 1 && buf[0] == '<' {
			return 0, true, nil
		}
		if buf[0] == 0 || buf[0] >= 0xFE || buf[0] == '<' && buf[1] == 0 {
			return 0, false, faultEncoding // UTF-16 or UTF-32: XML 1.0 appendix F
		}
		if s.mode == Rooted {
			whole, partly := startsWith(buf, byteOrderMark)
			if partly {
				return 0, true, nil
			}
			if whole {
				n = len(byteOrderMark)
			}
		}
		s.place = afterBOM
	}
	b := buf[n:]
	whole, partly := startsWith(b, declStart)
	switch {
	case partly || whole && len(b) == len(declStart):
		return n, true, nil
	case !whole || !isSpace(b[len(declStart)]):
		return n, false, nil
	}
	b = b[:min(len(b), maxDecl)]
	from := min(max(s.pos-1, 0), len(b)) // the '?' may have been the last byte
	end := bytes.Index(b[from:], []byte("?>"))
	if end < 0 {
		if s.pos = len(b); s.pos == maxDecl {
			return n, false, faultDeclBytes
		}
		return n, true, nil
	}
	s.pos = 0
	end += from
	return n + end + 2, false, checkDecl(b[len(declStart):end])
}

// checkDecl checks an XML declaration (XML 1.0 §2.8): its inside behind "<?xml".
func checkDecl(b []byte) *Error {
	version, b, ok := declPart(b, "version")
	if !ok || len(version) < 3 || string(version[:2]) != "1." || len(bytes.Trim(version[2:], "0123456789")) > 0 {
		return faultDecl
	}
	if encoding, rest, ok := declPart(b, "encoding"); ok {
		b = rest
		for i, c := range encoding {
			if class[c]&nameByte == 0 || i == 0 && (class[c]&nameStartByte == 0 || c == '_') {
				return faultDecl
			}
		}
		switch {
		case len(encoding) == 0:
			return faultDecl
		case !bytes.EqualFold(encoding, []byte("UTF-8")):
			return faultEncoding // RFC 6120 §11.6
		}
	}
	if standalone, rest, ok := declPart(b, "standalone"); ok {
		b = rest
		if s := string(standalone); s != "yes" && s != "no" {
			return faultDecl
		}
	}
	if skipSpace(b, 0) < len(b) {
		return faultDecl
	}
	return nil
}

// declPart reads one white space, name, '=' and quoted value off b.
func declPart(b []byte, name string) (value, rest []byte, ok bool) {
	i := skipSpace(b, 0)
	if i == 0 || !bytes.HasPrefix(b[i:], []byte(name)) {
		return nil, b, false
	}
	i = skipSpace(b, i+len(name))
	if i == len(b) || b[i] != '=' {
		return nil, b, false
	}
	i = skipSpace(b, i+1)
	if i == len(b) || b[i] != '\'' && b[i] != '"' {
		return nil, b, false
	}
	end := bytes.IndexByte(b[i+1:], b[i])
	if end < 0 {
		return nil, b, false
	}
	return b[i+1 : i+1+end], b[i+end+2:], true
}

// special decides what "<!" or "<?" begins: a CDATA section, of whose start it returns the length, or nothing good. With
// neither it wants more.
//
// RFC 6120 §11.1 forbids comments, processing instructions and DTDs; that is said as soon as one has begun.
func special(b []byte) (n int, f *Error) {
	if b[1] == '?' {
		return 0, instruction(b[2:])
	}
	more := false
	for _, x := range []struct {
		start []byte
		n     int
		f     *Error
	}{{cdataStart, len(cdataStart), nil}, {commentStart, 0, faultComment}, {doctypeStart, 0, faultDTD}} {
		whole, partly := startsWith(b, x.start)
		if whole {
			return x.n, x.f
		}
		more = more || partly
	}
	if more {
		return 0, nil
	}
	return 0, faultMarkup
}

// instruction decides on a processing instruction from its target on. The target xml is reserved (XML 1.0 §2.6): a
// misplaced XML declaration is not well-formed. nil wants more.
func instruction(target []byte) *Error {
	if len(target) == 0 {
		return nil
	}
	if c := target[0]; c < 0x80 && class[c]&nameStartByte == 0 && c != ':' {
		return faultMarkup
	}
	if len(target) < 4 && bytes.EqualFold(target, []byte("xml")[:len(target)]) {
		return nil
	}
	if len(target) >= 4 && bytes.EqualFold(target[:3], []byte("xml")) && target[3] < 0x80 && class[target[3]]&nameByte == 0 {
		return faultDecl
	}
	return faultInstruction
}
