package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// record copies the output of `go test -json` into a file and shows out what people want of it: the packages' results, and
// all that failed tests and failed builds wrote.
func record(in io.Reader, name string, out io.Writer) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	file, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	defer file.Close()
	writer := bufio.NewWriter(file)
	written := map[ref]*strings.Builder{} // what each running test wrote
	for lines := bufio.NewReader(in); ; {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			show(line, writer, written, out)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("record: %w", err)
		}
	}
	if err := writer.Flush(); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}

// show deals with one line. Errors of the writer come again at its Flush.
func show(line []byte, writer *bufio.Writer, written map[ref]*strings.Builder, out io.Writer) {
	var e struct {
		event
		Output string
	}
	if json.Unmarshal(line, &e) != nil {
		fmt.Fprint(out, string(line)) // go itself has failed
		return
	}
	_, _ = writer.Write(line)
	test := ref{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(out, e.Output)
	case "output":
		if e.Test == "" {
			if !strings.HasPrefix(e.Output, "=== ") && e.Output != "PASS\n" {
				fmt.Fprint(out, e.Output)
			}
			return
		}
		if written[test] == nil {
			written[test] = &strings.Builder{}
		}
		written[test].WriteString(e.Output)
	case "fail":
		if written[test] != nil {
			fmt.Fprint(out, written[test].String())
		}
		delete(written, test)
	case "pass", "skip":
		delete(written, test)
	}
}
