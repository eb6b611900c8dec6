package xmlframe

import (
	"encoding/binary"
	"math/bits"
	"strings"
	"unicode/utf8"
)

// Classes of ASCII bytes. Bytes from 0x80 on have none: they are decoded.
const (
	spaceByte     = 1 << iota // XML 1.0 §2.3 S
	nameByte                  // NameChar without the colon, which separates the parts of a qualified name
	nameStartByte             // NameStartChar without the colon
	plainByte                 // needs no escape in text and in quotes
)

var class = func() (t [256]uint8) {
	for c := ' '; c < 0x80; c++ {
		if !strings.ContainsRune(`<>&'"`, c) {
			t[c] = plainByte
		}
	}
	for _, c := range " \t\r\n" {
		t[c] |= spaceByte
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c] |= nameByte | nameStartByte
		t[c-'a'+'A'] |= nameByte | nameStartByte
	}
	for c := '0'; c <= '9'; c++ {
		t[c] |= nameByte
	}
	t['_'] |= nameByte | nameStartByte
	t['-'] |= nameByte
	t['.'] |= nameByte
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
		{0xC0, 0xD6},
		{0xD8, 0xF6},
		{0xF8, 0x2FF},
		{0x370, 0x37D},
		{0x37F, 0x1FFF},
		{0x200C, 0x200D},
		{0x2070, 0x218F},
		{0x2C00, 0x2FEF},
		{0x3001, 0xD7FF},
		{0xF900, 0xFDCF},
		{0xFDF0, 0xFFFD},
		{0x10000, 0xEFFFF},
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

// plainCharacter returns the size of the character at b[i] if its first byte allows no character that needs a closer look
// (RFC 3629 §4): no overlong form, no surrogate, no U+FFFE. It returns 0 for others, which decode knows.
func plainCharacter(b []byte, i int) int {
	switch c := b[i]; {
	case c >= 0xC2 && c <= 0xDF:
		if i+1 < len(b) && isContinuation(b[i+1]) {
			return 2
		}
	case c >= 0xE1 && c <= 0xEE && c != 0xED:
		if i+2 < len(b) && isContinuation(b[i+1]) && isContinuation(b[i+2]) {
			return 3
		}
	}
	return 0
}

func isContinuation(c byte) bool { return c&0xC0 == 0x80 }

// Names, text and attribute values are skipped by words of eight bytes, which are tested for the bytes that need a look.
// Those get their top bit set, as all that are not ASCII have. A test may also flag bytes behind (above) one that is
// rightly flagged, by borrowing from them, but never one in front of it, so the lowest flag is right.
const (
	ones = 0x0101010101010101
	tops = 0x8080808080808080
)

func word(b []byte, i int) uint64 { return binary.LittleEndian.Uint64(b[i : i+8 : i+8]) }

// below flags the ASCII bytes of w that are less than c.
func below(w uint64, c byte) uint64 { return w - ones*uint64(c) }

// notText flags '<', '>', '&', control characters and what is not ASCII.
func notText(w uint64) uint64 {
	angles := below((w|ones*2)^ones*'>', 1) // '<' and '>' differ in one bit
	return (w | below(w, ' ') | angles | below(w^ones*'&', 1)) & tops
}

// skipText returns the index of the first byte from i on that notText flags, or len(b).
func skipText(b []byte, i int) int {
	for ; i >= 0 && i <= len(b)-8; i += 8 {
		if flags := notText(word(b, i)); flags != 0 {
			return i + bits.TrailingZeros64(flags)/8
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c < ' ' || c >= 0x80 || c == '<' || c == '>' || c == '&' {
			break
		}
	}
	return i
}

// notValue flags '<', '&', the quote, control characters and what is not ASCII. Either quote differs from '&' in one bit:
// with the bits of differ set, both are match.
func notValue(w, differ, match uint64) uint64 {
	return (w | below(w, ' ') | below((w|differ)^match, 1) | below(w^ones*'<', 1)) & tops
}

// skipValue returns the index of the first byte from i on that notValue flags, or len(b).
func skipValue(b []byte, i int, quote byte) int {
	differ, match := uint64(quote^'&')*ones, uint64(quote|'&')*ones
	for ; i >= 0 && i <= len(b)-8; i += 8 {
		if flags := notValue(word(b, i), differ, match); flags != 0 {
			return i + bits.TrailingZeros64(flags)/8
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c < ' ' || c >= 0x80 || c == quote || c == '<' || c == '&' {
			break
		}
	}
	return i
}

// lowers returns how many lower-case letters w begins with: nearly all names are lower case, and most are short.
func lowers(w uint64) int {
	seven := w &^ tops
	lower := (seven + (0x80-'a')*ones) &^ (seven + (0x7F-'z')*ones) &^ w
	return bits.TrailingZeros64(^lower&tops) / 8
}

// skipName returns the index of the first byte from i on that is no nameByte, or len(b).
func skipName(b []byte, i int) int {
	if i >= 0 && i <= len(b)-8 {
		i += lowers(word(b, i))
	}
	for i < len(b) && class[b[i]]&nameByte != 0 {
		i++
	}
	return i
}
