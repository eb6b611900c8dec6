package xmlframe

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// Classes of ASCII bytes. Bytes from 0x80 on have none: they are decoded.
const (
	spaceByte     = 1 << iota // XML 1.0 §2.3 S
	nameByte                  // NameChar without the colon, which separates the parts of a qualified name
	nameStartByte             // NameStartChar without the colon
)

var class = func() (t [256]uint8) {
	for _, c := range " \t\r\n" {
		t[c] = spaceByte
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = nameByte|nameStartByte, nameByte|nameStartByte
	}
	for c := '0'; c <= '9'; c++ {
		t[c] = nameByte
	}
	t['_'] = nameByte | nameStartByte
	t['-'], t['.'] = nameByte, nameByte
	return t
}()

func isSpace(c byte) bool { return class[c]&spaceByte != 0 }

// skipSpace returns the index of the first byte from i on that is not white space, or len(b).
func skipSpace(b []byte, i int) int {
	for i < len(b) && isSpace(b[i]) {
		i++
	}
	return i
}

// isChar reports whether XML 1.0 §2.2 allows r in a document.
func isChar(r rune) bool {
	switch {
	case r < 0x20:
		return r == '\t' || r == '\n' || r == '\r'
	case r < 0xD800:
		return true
	}
	return r >= 0xE000 && r <= 0x10FFFF && r != 0xFFFE && r != 0xFFFF
}

// nameStarts are the NameStartChars of XML 1.0 fifth edition §2.3 beyond ASCII, nameOthers what NameChar adds to them.
var (
	nameStarts = [][2]rune{
		{0xC0, 0xD6}, {0xD8, 0xF6}, {0xF8, 0x2FF}, {0x370, 0x37D}, {0x37F, 0x1FFF}, {0x200C, 0x200D}, {0x2070, 0x218F},
		{0x2C00, 0x2FEF}, {0x3001, 0xD7FF}, {0xF900, 0xFDCF}, {0xFDF0, 0xFFFD}, {0x10000, 0xEFFFF},
	}
	nameOthers = [][2]rune{{0xB7, 0xB7}, {0x300, 0x36F}, {0x203F, 0x2040}}
)

func within(r rune, ranges [][2]rune) bool {
	for _, x := range ranges {
		if r <= x[1] {
			return r >= x[0]
		}
	}
	return false
}

// decode decodes the character beyond ASCII at b[i:]. The size is 0 if b ends inside it; ok is false if it is not UTF-8.
func decode(b []byte, i int) (r rune, size int, ok bool) {
	r, size = utf8.DecodeRune(b[i:])
	if r == utf8.RuneError && size == 1 {
		return 0, 0, !utf8.FullRune(b[i:])
	}
	return r, size, true
}

// Text and attribute values are skipped eight bytes at a time. A word is tested for the bytes that need a look: those
// below 0x20, those from 0x80 on, and two or three delimiters. The tests may also flag bytes behind (above) one that is
// rightly flagged, never in front of it, so the lowest flag is right.
const (
	ones = 0x0101010101010101
	tops = 0x8080808080808080
)

// zeros flags the zero bytes of w.
func zeros(w uint64) uint64 { return (w - ones) &^ w }

// controls flags the bytes of w below 0x20.
func controls(w uint64) uint64 { return (w - ones*0x20) &^ w }

// skipText returns the index of the first byte from i on that is '<', '>', '&', a control character or not ASCII, or len(b).
func skipText(b []byte, i int) int {
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		angles := zeros((w | ones*2) ^ ones*'>') // '<' and '>' differ in one bit
		if flags := (w | controls(w) | angles | zeros(w^ones*'&')) & tops; flags != 0 {
			return i + bits.TrailingZeros64(flags)/8
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c < 0x20 || c >= 0x80 || c == '<' || c == '>' || c == '&' {
			return i
		}
	}
	return i
}

// skipValue is skipText for an attribute value: it stops at the quote, '<', '&', controls and what is not ASCII.
func skipValue(b []byte, i int, quote byte) int {
	differ := uint64(quote^'&') * ones // either quote differs from '&' in one bit
	match := uint64(quote|'&') * ones
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		ends := zeros((w | differ) ^ match)
		if flags := (w | controls(w) | ends | zeros(w^ones*'<')) & tops; flags != 0 {
			return i + bits.TrailingZeros64(flags)/8
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c < 0x20 || c >= 0x80 || c == quote || c == '<' || c == '&' {
			return i
		}
	}
	return i
}
