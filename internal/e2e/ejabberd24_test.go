//go:build e2e

package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
)

// startEjabberd24 runs the backported ejabberd, which has SASL2 and FAST, on the installed Erlang.
func startEjabberd24() (*server, error) {
	if _, err := exec.LookPath("erl"); err != nil {
		return nil, fmt.Errorf("erlang: %w", errMissing)
	}
	root, err := unpacked("ejabberd")
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, pattern := range []string{"usr/lib/erlang/lib/*/ebin", "usr/lib/*/ejabberd-*/ebin"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			paths = append(paths, "-pa", f)
		}
	}
	s, err := runEjabberd(ejabberdVersion{
		name: "ejabberd24", domain: "ejabberd24.test", paths: paths,
		modules: "  mod_auth_fast: {}\n",
	})
	if err == nil {
		// What reaches the process of the former connection after it has handed over is routed once more when it ends.
		s.loose = true
	}
	return s, err
}
