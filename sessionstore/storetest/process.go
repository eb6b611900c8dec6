package storetest

import (
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
)

// portSeed makes test processes that run at the same time look for ports in different places.
var portSeed atomic.Int64

func init() { portSeed.Store(int64(os.Getpid()) * 97) }

// Process is a program that a test can kill and freeze.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// StartProcess starts cmd. It dies with the test process, however that ends; a test ends it with Kill.
func StartProcess(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{cmd: cmd, done: make(chan struct{})}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started := make(chan error, 1)
	go func() {
		// With Pdeathsig a process dies with the thread that started it, so the thread has to stay.
		runtime.LockOSThread()
		defer close(p.done)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended says nothing: tests kill it
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	return p
}

// Kill is kill -9. It returns when the process is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may be gone
	<-p.done
}

// Ended reports whether the process is gone.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Freeze stops it in the middle of whatever it does; Thaw lets it go on.
func (p *Process) Freeze() { _ = p.cmd.Process.Signal(syscall.SIGSTOP) }

// Thaw undoes Freeze.
func (p *Process) Thaw() { _ = p.cmd.Process.Signal(syscall.SIGCONT) }

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
