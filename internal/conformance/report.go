package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// state of a requirement.
type state uint8

const (
	passed state = iota
	excepted
	open
)

// verdict is what is known of one requirement.
type verdict struct {
	requirement
	state  state
	tests  []test
	reason string // excepted
	wrong  string // open: what is missing
}

// report has a verdict for every requirement, in their order.
type report struct {
	table    *table
	verdicts []verdict
}

// judge joins table, claims and outcomes; nil presumes that all tests pass. A claim of an unknown requirement is an error.
func judge(t *table, claims map[string][]test, outcomes map[ref]*outcome) (*report, error) {
	var unknown []error
	for id, tests := range claims {
		if !t.known[id] {
			unknown = append(unknown, fmt.Errorf("%s: %s claims %s, which is no requirement", tests[0].file, tests[0].name, id))
		}
	}
	if len(unknown) > 0 {
		return nil, errors.Join(unknown...)
	}
	r := &report{table: t}
	for _, row := range t.rows {
		v := verdict{requirement: row, tests: claims[row.id], reason: t.exceptions[row.id]}
		v.wrong = missing(v.tests, outcomes)
		switch {
		case v.reason != "":
			v.state = excepted
		case v.wrong != "":
			v.state = open
		}
		r.verdicts = append(r.verdicts, v)
	}
	return r, nil
}

// missing says why the tests do not prove a requirement, "" if they do.
func missing(tests []test, outcomes map[ref]*outcome) string {
	if len(tests) == 0 {
		return "no test"
	}
	for _, t := range tests {
		if outcomes == nil {
			break
		}
		switch o := outcomes[ref{t.directory(), t.name}]; {
		case o == nil || !o.ran:
			return t.name + " did not run"
		case o.failed:
			return t.name + " failed"
		case !o.proven():
			return t.name + " was skipped"
		}
	}
	return ""
}

// check compares the report with the files of the repository.
func (r *report) check(root string) error {
	var found []error
	for _, v := range r.verdicts {
		switch {
		case v.state == open && !r.table.open[v.id]:
			found = append(found, fmt.Errorf("%s (%s): %s; add a test, or a reason to %s", v.id, v.level, v.wrong, exceptionsFile))
		case v.state != open && r.table.open[v.id]:
			found = append(found, fmt.Errorf("%s is done and still stands in %s; run make conformance", v.id, openFile))
		case v.state == excepted && len(v.tests) > 0:
			found = append(found, fmt.Errorf("%s has a test, %s, and a reason for having none in %s; remove one", v.id, v.tests[0].name, exceptionsFile))
		}
	}
	committed, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(documentFile)))
	if err != nil {
		found = append(found, fmt.Errorf("read document: %w", err))
	} else if string(committed) != r.document() {
		found = append(found, fmt.Errorf("%s is not what these results give; run make conformance and commit it", documentFile))
	}
	return errors.Join(found...)
}

// save writes the document and takes what is done out of the list of open rows. It never adds one.
func (r *report) save(root string) error {
	var list strings.Builder
	list.WriteString("id\n")
	for _, v := range r.verdicts {
		if v.state == open && r.table.open[v.id] {
			list.WriteString(v.id + "\n")
		}
	}
	for name, text := range map[string]string{openFile: list.String(), documentFile: r.document()} {
		if err := os.WriteFile(filepath.Join(root, filepath.FromSlash(name)), []byte(text), 0o644); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
	}
	return nil
}

func (r *report) count() (passedRows, exceptedRows, openRows int) {
	for _, v := range r.verdicts {
		switch v.state {
		case passed:
			passedRows++
		case excepted:
			exceptedRows++
		case open:
			openRows++
		}
	}
	return passedRows, exceptedRows, openRows
}

func (r *report) summary() string {
	p, e, o := r.count()
	return fmt.Sprintf("conformance: %d requirements: %d passed, %d with a reason, %d open", len(r.verdicts), p, e, o)
}
