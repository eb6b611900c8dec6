package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// child is a process we started in the background; its output is in a file.
type child struct {
	name, log string
	cmd       *exec.Cmd
	done      chan struct{} // closed by the goroutine that waits for the process, which is its only end
}

// start runs a program in its own process group, so that Ctrl-C in the terminal reaches only us and we end it in order.
func start(name, dir string, env []string, args ...string) (*child, error) {
	c := &child{name: name, log: filepath.Join(dir, name+".out"), done: make(chan struct{})}
	out, err := os.Create(c.log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	c.cmd = exec.Command(args[0], args[1:]...)
	c.cmd.Dir, c.cmd.Env = dir, append(os.Environ(), env...)
	c.cmd.Stdout, c.cmd.Stderr = out, out
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = c.cmd.Wait() // how it ended shows in its log
		close(c.done)
	}()
	return c, nil
}

// ready waits until ok says yes. A process that ends or takes too long is stopped and reported with its log.
func (c *child) ready(ctx context.Context, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-c.done:
			return c.failed("ended while starting")
		case <-ctx.Done():
			c.stop()
			return c.failed("did not get ready")
		case <-tick.C:
		}
	}
	return nil
}

func (c *child) failed(how string) error {
	log, _ := os.ReadFile(c.log)
	if len(log) > 4000 {
		log = log[len(log)-4000:]
	}
	return fmt.Errorf("%s %s\n%s", c.name, how, log)
}

// stop asks the process to end and insists after a while.
func (c *child) stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.done:
	case <-time.After(5 * time.Second):
		_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
		<-c.done
	}
}
