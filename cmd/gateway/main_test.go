package main

import (
	"bytes"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// execute runs a command line that ends by itself.
func execute(environment []string, args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = run(process{args, environment, &out, &errs})
	return status, out.String(), errs.String()
}

func TestVersion(t *testing.T) {
	// Not even a bad setting keeps the version from being told.
	status, out, _ := execute([]string{"GATEWAY_LIMIT_DEPTH=x"}, "version")
	if status != 0 || !strings.HasPrefix(out, "gateway ") {
		t.Errorf("status %d, %q", status, out)
	}
}

func TestHelp(t *testing.T) {
	status, out, _ := execute(nil, "serve", "--help")
	if status != 0 || !strings.Contains(out, "--limit.stanza-bytes") {
		t.Errorf("status %d, %q", status, out)
	}
}
