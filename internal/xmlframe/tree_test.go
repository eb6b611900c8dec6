package xmlframe

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// node is an element as three parsers can see it: ours, encoding/xml, expat.
type node struct {
	name     string   // {namespace}local
	attrs    []string // {namespace}local=value, sorted; declarations left out
	lang     string   // in force, after speak
	text     string   // direct character data
	children []*node
}

func (n *node) String() string {
	var t strings.Builder
	fmt.Fprintf(&t, "(%s %q %q %q", n.name, n.lang, n.attrs, n.text)
	for _, c := range n.children {
		t.WriteByte(' ')
		t.WriteString(c.String())
	}
	t.WriteByte(')')
	return t.String()
}

func expanded(space, local string) string { return "{" + space + "}" + local }

// speak turns the attributes xml:lang into the languages in force, for an element that inherits lang.
func (n *node) speak(lang string) *node {
	n.lang = lang
	n.attrs = slices.DeleteFunc(n.attrs, func(a string) bool {
		own, ok := strings.CutPrefix(a, expanded(xmlSpace, "lang")+"=")
		if ok {
			n.lang = own
		}
		return ok
	})
	for _, c := range n.children {
		c.speak(n.lang)
	}
	return n
}

// treeOf walks an element by its own means.
func treeOf(e Element) *node {
	n := &node{name: expanded(string(e.Space), string(e.Local)), text: e.Text()}
	for a := range e.Attributes() {
		space := ""
		if len(a.Prefix) > 0 {
			space = spaceOfPrefix(e, string(a.Prefix))
		}
		n.attrs = append(n.attrs, expanded(space, string(a.Local))+"="+a.Value())
	}
	slices.Sort(n.attrs)
	for c := range e.Children() {
		n.children = append(n.children, treeOf(c))
	}
	return n
}

func spaceOfPrefix(e Element, prefix string) string {
	if prefix == "xml" {
		return xmlSpace
	}
	for _, p := range e.root.under(e.startTag()).declared().Prefixes {
		if p.Name == prefix {
			return p.Space
		}
	}
	return "undeclared prefix " + prefix
}

// stdTree reads a document with encoding/xml. It uses only its tokens: namespaces are resolved here, because encoding/xml
// resolves undeclared prefixes too.
func stdTree(doc []byte) (*node, error) {
	d := xml.NewDecoder(bytes.NewReader(doc))
	top := &node{}
	open, raw := []*node{top}, []xml.Name{{}}
	scopes := []map[string]string{{"xml": xmlSpace}}
	for {
		tok, err := d.RawToken()
		if errors.Is(err, io.EOF) && len(open) == 1 && len(top.children) == 1 {
			return top.children[0], nil
		}
		if err != nil {
			return nil, err
		}
		last := open[len(open)-1]
		switch tok := tok.(type) {
		case xml.StartElement:
			scope, fault := stdScope(scopes[len(scopes)-1], tok)
			n, fault2 := stdNode(scope, tok)
			if fault != nil || fault2 != nil {
				return nil, errors.Join(fault, fault2)
			}
			last.children = append(last.children, n)
			open, raw, scopes = append(open, n), append(raw, tok.Name), append(scopes, scope)
		case xml.EndElement:
			if tok.Name != raw[len(raw)-1] {
				return nil, errors.New("not balanced")
			}
			open, raw, scopes = open[:len(open)-1], raw[:len(raw)-1], scopes[:len(scopes)-1]
		case xml.CharData:
			if len(open) > 1 {
				last.text += string(tok)
			} else if len(bytes.TrimSpace(tok)) > 0 {
				return nil, errors.New("text outside the root")
			}
		case xml.ProcInst:
			if tok.Target != "xml" {
				return nil, errors.New("processing instruction")
			}
		default:
			return nil, errors.New("restricted")
		}
	}
}

func stdScope(outer map[string]string, tok xml.StartElement) (map[string]string, error) {
	scope, own := outer, false
	declare := func(prefix, space string) {
		if !own {
			scope, own = maps.Clone(outer), true
		}
		scope[prefix] = inlineSpaces(space)
	}
	for i, a := range tok.Attr {
		if slices.ContainsFunc(tok.Attr[:i], func(b xml.Attr) bool { return b.Name == a.Name }) {
			return nil, errors.New("duplicate attribute")
		}
		switch {
		case a.Name.Space == "xmlns":
			declare(a.Name.Local, a.Value)
		case a.Name.Space == "" && a.Name.Local == "xmlns":
			declare("", a.Value)
		}
	}
	return scope, nil
}

func stdNode(scope map[string]string, tok xml.StartElement) (*node, error) {
	space, ok := scope[tok.Name.Space]
	if !ok && tok.Name.Space != "" {
		return nil, errors.New("undeclared prefix")
	}
	n := &node{name: expanded(space, tok.Name.Local)}
	for _, a := range tok.Attr {
		space := ""
		switch a.Name.Space {
		case "xmlns":
			continue
		case "":
			if a.Name.Local == "xmlns" {
				continue
			}
		default:
			if space, ok = scope[a.Name.Space]; !ok {
				return nil, errors.New("undeclared prefix")
			}
		}
		n.attrs = append(n.attrs, expanded(space, a.Name.Local)+"="+a.Value)
	}
	slices.Sort(n.attrs)
	return n, nil
}

var blanks = strings.NewReplacer("\t", " ", "\n", " ", "\r", " ")

// inlineSpaces turns white space into blanks. encoding/xml leaves it in attribute values as it is.
func inlineSpaces(s string) string { return blanks.Replace(s) }

// flat is the tree as text, without what encoding/xml cannot tell: which white space is in attribute values.
func (n *node) flat() string {
	var each func(n *node) *node
	each = func(n *node) *node {
		c := &node{name: inlineSpaces(n.name), lang: inlineSpaces(n.lang), text: n.text}
		for _, a := range n.attrs {
			c.attrs = append(c.attrs, inlineSpaces(a))
		}
		slices.Sort(c.attrs)
		for _, k := range n.children {
			c.children = append(c.children, each(k))
		}
		return c
	}
	return each(n).String()
}
