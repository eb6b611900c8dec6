package storetest

import (
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"testing"
)

// portSeed makes test processes that run at the same time look for ports in different places.
var portSeed atomic.Int64

func init() { portSeed.Store(int64(os.Getpid()) * 97) }

// start starts cmd and waits for its end, on one thread: with Pdeathsig a process dies with the thread that started it.
func start(cmd *exec.Cmd, started chan<- error, done chan<- struct{}) {
	runtime.LockOSThread()
	defer close(done)
	err := cmd.Start()
	started <- err
	if err == nil {
		_ = cmd.Wait() // how it ended says nothing: tests kill it
	}
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
