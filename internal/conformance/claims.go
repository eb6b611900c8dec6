package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// test names one test function.
type test struct {
	file string // slash-separated, from the root
	name string
}

// directory of the test's package.
func (t test) directory() string { return path.Dir(t.file) }

// form is what a claim looks like. It is strict, so that a slip of the pen cannot lose a claim.
var form = regexp.MustCompile(`^// Covers: ([A-Z]+-\d+)(, [A-Z]+-\d+)*\.$`)

// slip is what was probably meant as a claim.
var slip = regexp.MustCompile(`(?i)^//\s*covers?\s*:`)

var identifier = regexp.MustCompile(`[A-Z]+-\d+`)

// scan finds the claims of all tests below root: ID to tests, in order.
func scan(root string) (map[string][]test, error) {
	claims := map[string][]test{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules" || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, "_test.go"):
			return nil
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		return scanFile(name, filepath.ToSlash(relative), claims)
	})
	if err != nil {
		return nil, fmt.Errorf("scan tests: %w", err)
	}
	for _, tests := range claims {
		slices.SortFunc(tests, func(a, b test) int { return strings.Compare(a.file+a.name, b.file+b.name) })
	}
	return claims, nil
}

func scanFile(name, relative string, claims map[string][]test) error {
	source, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, relative, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	used := map[token.Pos]bool{} // comments that belong to a test
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Doc == nil || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Test") && !strings.HasPrefix(f.Name.Name, "Fuzz") {
			continue
		}
		for _, line := range f.Doc.List {
			if !form.MatchString(line.Text) {
				continue
			}
			used[line.Pos()] = true
			for _, id := range identifier.FindAllString(line.Text, -1) {
				t := test{relative, f.Name.Name}
				if !slices.Contains(claims[id], t) {
					claims[id] = append(claims[id], t)
				}
			}
		}
	}
	for _, group := range file.Comments {
		for _, line := range group.List {
			if slip.MatchString(line.Text) && !used[line.Pos()] {
				return fmt.Errorf("%s: %q claims nothing: want \"// Covers: ID, ID.\" in the doc comment of a test", files.Position(line.Pos()), line.Text)
			}
		}
	}
	return nil
}
