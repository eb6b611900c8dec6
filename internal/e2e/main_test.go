//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"runtime"
	"testing"
)

// runDir is the temporary directory of this run: servers, certificates, the gateway's binary.
var runDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "stanzagate-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	runDir = dir
	code := m.Run()
	stopAll()
	if os.Getenv("E2E_KEEP") != "" {
		fmt.Println("kept:", dir) // logs, configurations, certificates
	} else {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// lockThread keeps the goroutine on its own thread until the goroutine ends.
func lockThread() { runtime.LockOSThread() }
