package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// requirement is one row of requirements.tsv. A star at its level marks a rule of the project's own.
type requirement struct{ id, section, level, text string }

// table is what the repository says about its requirements.
type table struct {
	rows       []requirement
	known      map[string]bool
	exceptions map[string]string // ID -> why it has no test
	open       map[string]bool
}

func loadTable(root string) (*table, error) {
	t := &table{known: map[string]bool{}, exceptions: map[string]string{}, open: map[string]bool{}}
	err := readTSV(root, requirementsFile, 4, func(fields []string) error {
		r := requirement{fields[0], fields[1], fields[2], fields[3]}
		switch {
		case t.known[r.id]:
			return fmt.Errorf("%s stands twice", r.id)
		case strings.TrimSuffix(r.level, "*") != "MUST" && strings.TrimSuffix(r.level, "*") != "SHOULD" && r.level != "MAY":
			return fmt.Errorf("%s: level %q is none", r.id, r.level)
		}
		t.known[r.id] = true
		t.rows = append(t.rows, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = readTSV(root, exceptionsFile, 2, func(fields []string) error {
		switch id, reason := fields[0], fields[1]; {
		case !t.known[id]:
			return fmt.Errorf("%s is no requirement", id)
		case t.exceptions[id] != "":
			return fmt.Errorf("%s stands twice", id)
		case len(reason) < 10:
			return fmt.Errorf("%s: %q is no reason", id, reason)
		default:
			t.exceptions[id] = reason
			return nil
		}
	})
	if err != nil {
		return nil, err
	}
	return t, readTSV(root, openFile, 1, func(fields []string) error {
		switch id := fields[0]; {
		case !t.known[id]:
			return fmt.Errorf("%s is no requirement", id)
		case t.open[id]:
			return fmt.Errorf("%s stands twice", id)
		case t.exceptions[id] != "":
			return fmt.Errorf("%s stands in %s too", id, exceptionsFile)
		default:
			t.open[id] = true
			return nil
		}
	})
}

// readTSV gives every line after the heading to each. The file's name and line are added to errors.
func readTSV(root, name string, fields int, each func([]string) error) error {
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		return fmt.Errorf("read table: %w", err)
	}
	for i, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		if i == 0 {
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) != fields {
			return fmt.Errorf("%s:%d: %d fields, want %d", name, i+1, len(f), fields)
		}
		if err := each(f); err != nil {
			return fmt.Errorf("%s:%d: %w", name, i+1, err)
		}
	}
	return nil
}
