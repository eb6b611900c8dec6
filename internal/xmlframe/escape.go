package xmlframe

import (
	"bytes"
	"unicode/utf8"
)

// AppendEscaped appends s escaped for use as character data and inside attribute values in either quotes. White space
// other than the blank becomes a character reference, since attribute values would turn it into blanks. What XML cannot
// say at all (most control characters, U+FFFE, U+FFFF, bytes that are not UTF-8) becomes U+FFFD, so that the result is
// always well-formed.
func AppendEscaped(dst []byte, s string) []byte {
	done := 0
	for i := 0; i < len(s); {
		if class[s[i]]&plainByte != 0 {
			i++
			continue
		}
		size, with := 1, "\uFFFD"
		switch s[i] {
		case '&':
			with = "&amp;"
		case '<':
			with = "&lt;"
		case '>':
			with = "&gt;"
		case '\'':
			with = "&#39;"
		case '"':
			with = "&#34;"
		case '\t':
			with = "&#9;"
		case '\n':
			with = "&#10;"
		case '\r':
			with = "&#13;"
		default:
			var r rune
			if r, size = utf8.DecodeRuneInString(s[i:]); isChar(r) && (r != utf8.RuneError || size > 1) {
				i += size
				continue
			}
		}
		dst = append(append(dst, s[done:i]...), with...)
		i += size
		done = i
	}
	return append(dst, s[done:]...)
}

// context says how checked input is to be read.
type context uint8

const (
	inContent context = iota // character data
	inSection                // the inside of a CDATA section
	inQuotes                 // an attribute value
)

// appendDecoded appends what b means: references replaced, line ends normalised (XML 1.0 §2.11), and in attribute values
// other white space turned into blanks (§3.3.3).
func appendDecoded(dst, b []byte, in context) []byte {
	done := 0
	for i := 0; i < len(b); i++ {
		at, with := i, byte(0)
		switch c := b[i]; {
		case c == '&' && in != inSection:
			end := bytes.IndexByte(b[i:], ';')
			if end < 0 {
				return append(dst, b[done:]...)
			}
			dst = appendReference(append(dst, b[done:i]...), b[i+1:i+end])
			i += end
			done = i + 1
			continue
		case c == '\r' && i+1 < len(b) && b[i+1] == '\n':
			i++
			with = '\n'
		case c == '\r':
			with = '\n'
		case in == inQuotes && (c == '\t' || c == '\n'):
			with = ' '
		default:
			continue
		}
		if in == inQuotes {
			with = ' '
		}
		dst = append(append(dst, b[done:at]...), with)
		done = i + 1
	}
	return append(dst, b[done:]...)
}

// appendReference appends the character that a checked reference stands for. ref is what is between '&' and ';'.
func appendReference(dst, ref []byte) []byte {
	if c, ok := entity(ref); ok {
		return append(dst, c)
	}
	base, digits := rune(10), bytes.TrimPrefix(ref, []byte("#"))
	if len(digits) > 0 && digits[0] == 'x' {
		base, digits = 16, digits[1:]
	}
	r := rune(0)
	for _, c := range digits {
		r = min(r*base+digit(c), utf8.MaxRune+1)
	}
	return utf8.AppendRune(dst, r)
}

// decodeValue returns the decoded inside of an attribute value.
func decodeValue(b []byte) string {
	if !bytes.ContainsAny(b, "&\t\n\r") {
		return string(b)
	}
	return string(appendDecoded(make([]byte, 0, len(b)), b, inQuotes))
}
