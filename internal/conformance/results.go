package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// outcome is how a test ended, over all runs.
type outcome struct {
	ran, failed, skipped bool // the test as a whole
	passed               int  // innermost subtests, or itself
}

// proven says that the test shows what it claims: it passed, and not only because all of it was skipped.
func (o *outcome) proven() bool { return o != nil && o.ran && !o.failed && !o.skipped && o.passed > 0 }

// event is a line of `go test -json`.
type event struct{ Action, Package, Test string }

// ref names a test or subtest in the results.
type ref struct{ directory, name string }

// readResults reads every file of the directory.
func readResults(directory string) (map[ref]*outcome, error) {
	names, err := filepath.Glob(filepath.Join(directory, "*.json"))
	if err != nil || len(names) == 0 {
		return nil, fmt.Errorf("no results in %s; `make test` makes them", directory)
	}
	outcomes := map[ref]*outcome{}
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("read results: %w", err)
		}
		err = readRun(f, outcomes)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("read results %s: %w", name, err)
		}
	}
	return outcomes, nil
}

// directoryOf turns an import path into a directory of this module.
func directoryOf(importPath string) string {
	if _, directory, found := strings.Cut(importPath, "/"); found {
		return directory
	}
	return "."
}

// readRun adds the events of one run. A package that fails outside its tests (a race, a panic, a leak) fails all of them.
func readRun(r io.Reader, outcomes map[ref]*outcome) error {
	ends := map[ref]string{}    // last action of each test and subtest
	parents := map[ref]bool{}   // tests that have subtests
	broken := map[string]bool{} // directories
	for decoder := json.NewDecoder(r); ; {
		var e event
		if err := decoder.Decode(&e); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		if e.Action != "pass" && e.Action != "fail" && e.Action != "skip" {
			continue
		}
		directory := directoryOf(e.Package)
		if e.Test == "" {
			broken[directory] = broken[directory] || e.Action == "fail"
			continue
		}
		ends[ref{directory, e.Test}] = e.Action
		for i := strings.LastIndexByte(e.Test, '/'); i > 0; i = strings.LastIndexByte(e.Test[:i], '/') {
			parents[ref{directory, e.Test[:i]}] = true
		}
	}
	for t, action := range ends {
		top, _, isSubtest := strings.Cut(t.name, "/")
		o := outcomes[ref{t.directory, top}]
		if o == nil {
			o = &outcome{}
			outcomes[ref{t.directory, top}] = o
		}
		if !isSubtest {
			o.ran = true
			o.skipped = o.skipped || action == "skip"
			o.failed = o.failed || action == "fail" || broken[t.directory]
		}
		if !parents[t] && action == "pass" {
			o.passed++
		}
	}
	return nil
}
