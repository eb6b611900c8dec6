package main

import (
	"net"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func startShell(t *testing.T, script string) *child {
	t.Helper()
	c, err := start("shell", t.TempDir(), []string{"WORD=ready"}, "/bin/sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.stop)
	return c
}

func ended(c *child) bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

func TestChildIsStopped(t *testing.T) {
	c := startShell(t, `trap 'echo bye; exit 0' TERM; echo $WORD; while :; do sleep 0.05; done`)
	if err := c.ready(t.Context(), func() bool { return strings.Contains(c.failed("").Error(), "ready") }); err != nil {
		t.Fatal(err)
	}
	if ended(c) {
		t.Fatal("ended by itself")
	}
	c.stop()
	if !ended(c) || !strings.Contains(c.failed("").Error(), "bye") {
		t.Errorf("not asked to end: %v", c.failed(""))
	}
}

// A process that ends instead of getting ready is reported with what it wrote.
func TestChildFails(t *testing.T) {
	c := startShell(t, "echo no such luck; exit 3")
	err := c.ready(t.Context(), func() bool { return false })
	if err == nil || !strings.Contains(err.Error(), "ended while starting") || !strings.Contains(err.Error(), "no such luck") {
		t.Errorf("got %v", err)
	}
}

func TestUnknownProgram(t *testing.T) {
	if _, err := start("x", t.TempDir(), nil, "/nonexistent/program"); err == nil || !strings.Contains(err.Error(), "start x") {
		t.Errorf("got %v", err)
	}
}

func TestFreeAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().String()
	got, err := freeAddress(taken)
	if err != nil || got == taken {
		t.Errorf("got %s, %v while %s is taken", got, err, taken)
	}
	if again, err := freeAddress(got); err != nil || again != got {
		t.Errorf("got %s, %v, want %s", again, err, got)
	}
}
