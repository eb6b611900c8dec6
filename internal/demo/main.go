// Command demo shows the gateway at work on one machine: it starts Prosody on loopback with two accounts and an anonymous
// domain, builds the chat page and the gateway, starts it on the in-memory store and prints what to open. `make demo`
// runs it. Everything it started ends with it: at Ctrl-C, at SIGTERM, when its parent goes away, and when it is killed.
//
// What is missing (Prosody) is installed with apt-get. Everything else lives in a temporary directory.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

const startTimeout = 60 * time.Second

// Children die with the thread that started them, so all are started on the main thread, which lasts as long as we do.
func init() { runtime.LockOSThread() }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	ctx = untilOrphaned(ctx)
	if err := run(ctx); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// untilOrphaned ends the context when the parent goes away: `go run` passes on no SIGTERM.
func untilOrphaned(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	parent := os.Getppid()
	go func() { // ends with ctx
		defer cancel()
		tick := time.NewTicker(300 * time.Millisecond)
		defer tick.Stop()
		for os.Getppid() == parent {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return ctx
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "stanzagate-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	prosody, err := findProsody(ctx)
	if err != nil {
		return err
	}
	binary, err := build(ctx, dir)
	if err != nil {
		return err
	}
	xmpp, err := freeAddress("")
	if err != nil {
		return err
	}
	server, err := startProsody(ctx, prosody, dir, xmpp)
	if err != nil {
		return err
	}
	defer server.stop()
	listen, err := freeAddress("127.0.0.1:5280")
	if err != nil {
		return err
	}
	gateway, err := startGateway(ctx, binary, dir, listen, xmpp)
	if err != nil {
		return err
	}
	defer gateway.stop()
	announce(listen)
	select {
	case <-ctx.Done():
		fmt.Println("\nStopping.")
		return nil
	case <-server.done:
		return server.failed("ended by itself")
	case <-gateway.done:
		return gateway.failed("ended by itself")
	}
}

func announce(listen string) {
	fmt.Printf(`
  Open      http://%[1]s/     in two browser windows, one of them private
  Sign in   alice  password  secret     (domain localhost)
            bob    password  secret     (domain localhost)
            or without an account       (domain guest.localhost)

  BOSH      http://%[1]s/http-bind
  WebSocket ws://%[1]s/xmpp-websocket

  Ctrl-C stops everything.
`, listen)
}

// build makes the chat page and then the gateway that embeds it.
func build(ctx context.Context, dir string) (string, error) {
	steps := [][]string{
		{"npm", "--prefix", "web", "ci", "--no-fund", "--no-audit", "--loglevel=error"},
		{"npm", "--prefix", "web", "run", "--silent", "build"},
		{"go", "build", "-o", filepath.Join(dir, "gateway"), "./cmd/gateway"},
	}
	for _, step := range steps {
		fmt.Println("+", step)
		if err := command(ctx, step...).Run(); err != nil {
			return "", fmt.Errorf("%v: %w", step, err)
		}
	}
	return filepath.Join(dir, "gateway"), nil
}

// command runs in the foreground with our output and stops when the context ends.
func command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd
}

// freeAddress returns the wanted loopback address, or another one if somebody listens there.
func freeAddress(wanted string) (string, error) {
	for _, addr := range []string{wanted, "127.0.0.1:0"} {
		if addr == "" {
			continue
		}
		if l, err := net.Listen("tcp", addr); err == nil {
			defer l.Close()
			return l.Addr().String(), nil
		}
	}
	return "", errors.New("no free port on loopback")
}

func startGateway(ctx context.Context, binary, dir, listen, xmpp string) (*child, error) {
	admin, err := freeAddress("")
	if err != nil {
		return nil, err
	}
	c, err := start("gateway", dir, nil, binary, "serve", "--listen", listen, "--admin.listen", admin, "--drain.timeout", "1s",
		"--domain", "localhost=xmpp://"+xmpp+"?tls=none", "--domain", "guest.localhost=xmpp://"+xmpp+"?tls=none")
	if err != nil {
		return nil, err
	}
	return c, c.ready(ctx, func() bool {
		resp, err := http.Get("http://" + admin + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}
