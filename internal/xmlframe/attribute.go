package xmlframe

import (
	"bytes"
	"iter"
)

// Attribute is one attribute of a start tag. It refers to the element's bytes.
type Attribute struct {
	Prefix, Local []byte // Prefix is empty for an attribute without namespace
	Raw           []byte // the value, undecoded

	tag  []byte    // where its prefix may be declared
	root *inherits // or here
}

// Attributes iterates over the attributes of the start tag. Namespace declarations are left out: they are not attributes
// of the element. It allocates nothing.
func (e Element) Attributes() iter.Seq[Attribute] {
	tag, root := e.startTag(), e.root
	return func(yield func(Attribute) bool) {
		for name, value := range attributes(tag) {
			prefix, local := split(name)
			if string(prefix) == "xmlns" || len(prefix) == 0 && string(local) == "xmlns" {
				continue
			}
			if !yield(Attribute{Prefix: prefix, Local: local, Raw: value, tag: tag, root: root}) {
				return
			}
		}
	}
}

// Is reports whether the attribute has that expanded name; space is "" for an attribute without namespace.
func (a Attribute) Is(space, local string) bool {
	return string(a.Local) == local && prefixIs(a.Prefix, space, a.tag, a.root)
}

// Value returns the decoded value.
func (a Attribute) Value() string { return decodeValue(a.Raw) }

// Bytes returns the decoded value; it is part of the element if nothing had to be decoded.
func (a Attribute) Bytes() []byte {
	if !bytes.ContainsAny(a.Raw, "&\t\r\n") {
		return a.Raw
	}
	return []byte(decodeValue(a.Raw))
}
