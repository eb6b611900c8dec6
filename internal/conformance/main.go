// Command conformance says which requirement is proven by which test, from the results of real runs.
//
// requirements.tsv has the rules of XEP-0124, XEP-0206, RFC 7395, XEP-0156 and of the stream towards the server, one a row.
// A test claims rows in its doc comment, in this form, on one or more lines:
//
//	// Covers: BOSH-070, BOSH-129.
//
// A row is passed if at least one test claims it and every test that claims it passed. exceptions.tsv gives the reason why a
// row has no test. open.tsv lists rows that are still to be done; it may only get shorter.
//
//	go run ./internal/conformance -results DIR   checks the results of a run, and fails on what it finds
//	go run ./internal/conformance -write         writes docs/conformance.md, and takes out of open.tsv what has a test by now
//	go test -json … | go run ./internal/conformance -record FILE
//
// What is written presumes that the tests pass: the check of the run after it, in make test, finds out.
//
// DIR holds the output of `go test -json`, one file a run, as -record writes it. `make test` makes them and runs the check.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	results := flag.String("results", ".cache/results", "directory with the output of go test -json")
	write := flag.Bool("write", false, "write docs/conformance.md and shorten open.tsv, presuming that all tests pass")
	recordTo := flag.String("record", "", "copy the output of go test -json from the standard input to this file and show what matters")
	flag.Parse()
	if *recordTo != "" {
		if err := record(os.Stdin, *recordTo, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "conformance:", err)
			os.Exit(1)
		}
		return
	}
	if err := run(".", *results, *write, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

// Files below the root of the repository.
const (
	requirementsFile = "internal/conformance/requirements.tsv"
	exceptionsFile   = "internal/conformance/exceptions.tsv"
	openFile         = "internal/conformance/open.tsv"
	documentFile     = "docs/conformance.md"
)

func run(root, results string, write bool, out io.Writer) error {
	t, err := loadTable(root)
	if err != nil {
		return err
	}
	claims, err := scan(root)
	if err != nil {
		return err
	}
	var outcomes map[ref]*outcome
	if !write {
		if outcomes, err = readResults(results); err != nil {
			return err
		}
	}
	r, err := judge(t, claims, outcomes)
	if err != nil {
		return err
	}
	if write {
		if err := r.save(root); err != nil {
			return err
		}
	} else if err := r.check(root); err != nil {
		return err
	}
	fmt.Fprintln(out, r.summary())
	return nil
}
