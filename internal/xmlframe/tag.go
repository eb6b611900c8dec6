package xmlframe

import (
	"bytes"
	"iter"
)

// The functions here read what a machine has checked. On other bytes they may find nonsense, but they end.

// nameEnd returns the offset behind the name of the tag at tag[0].
func nameEnd(tag []byte) int {
	i := min(1, len(tag))
	for i < len(tag) && !isSpace(tag[i]) && tag[i] != '>' && tag[i] != '/' {
		i++
	}
	return i
}

// nameOf returns the qualified name of the start tag at tag[0].
func nameOf(tag []byte) []byte { return tag[min(1, len(tag)):nameEnd(tag)] }

// attributes iterates over the qualified names and undecoded values of a start tag's attributes, declarations included.
func attributes(tag []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for rest := tag[nameEnd(tag):]; ; {
			equals := bytes.IndexByte(rest, '=')
			if equals < 0 {
				return
			}
			name := bytes.Trim(rest[:equals], " \t\r\n")
			rest = rest[skipSpace(rest, equals+1):]
			if len(rest) == 0 {
				return
			}
			end := bytes.IndexByte(rest[1:], rest[0])
			if end < 0 || !yield(name, rest[1:1+end]) {
				return
			}
			rest = rest[end+2:]
		}
	}
}

// split cuts a qualified name into prefix and local name.
func split(name []byte) (prefix, local []byte) {
	if i := bytes.IndexByte(name, ':'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return nil, name
}

// tagEnd returns the offset behind the '>' of the tag at b[0].
func tagEnd(b []byte) int {
	for i := 0; i < len(b); i++ {
		switch c := b[i]; c {
		case '>':
			return i + 1
		case '"', '\'':
			end := bytes.IndexByte(b[i+1:], c)
			if end < 0 {
				return len(b)
			}
			i += end + 1
		}
	}
	return len(b)
}

// part is a piece of an element's content.
type part struct {
	kind  partKind
	bytes []byte
}

type partKind uint8

const (
	partText  partKind = iota // character data, undecoded
	partCDATA                 // the inside of a CDATA section
	partChild                 // a child element
)

// parts iterates over the content of an element, b from behind its start tag.
func parts(b []byte) iter.Seq[part] {
	return func(yield func(part) bool) {
		for len(b) > 0 {
			p, n := part{partText, b}, len(b)
			switch less := bytes.IndexByte(b, '<'); {
			case less > 0:
				p.bytes, n = b[:less], less
			case less < 0:
			case bytes.HasPrefix(b, cdataStart):
				p.kind, p.bytes, n = cdata(b)
			case bytes.HasPrefix(b, []byte("</")):
				return
			default:
				n = childEnd(b)
				p = part{partChild, b[:n]}
			}
			if !yield(p) {
				return
			}
			b = b[n:]
		}
	}
}

// cdata reads the CDATA section at b[0].
func cdata(b []byte) (partKind, []byte, int) {
	inside := b[len(cdataStart):]
	end := bytes.Index(inside, []byte("]]>"))
	if end < 0 {
		return partCDATA, inside, len(b)
	}
	return partCDATA, inside[:end], len(cdataStart) + end + 3
}

// childEnd returns the offset behind the element that begins at b[0].
func childEnd(b []byte) int {
	depth := 0
	for i := 0; ; {
		less := bytes.IndexByte(b[i:], '<')
		if less < 0 {
			return len(b)
		}
		i += less
		if bytes.HasPrefix(b[i:], cdataStart) {
			_, _, n := cdata(b[i:])
			i += n
			continue
		}
		tag := b[i : i+tagEnd(b[i:])]
		i += len(tag)
		switch {
		case bytes.HasPrefix(tag, []byte("</")):
			depth--
		case !bytes.HasSuffix(tag, []byte("/>")):
			depth++
		}
		if depth <= 0 {
			return i
		}
	}
}
