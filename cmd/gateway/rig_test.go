package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// testSettings parses a command line for a gateway on free loopback ports.
func testSettings(t *testing.T, args ...string) *settings {
	t.Helper()
	var c commands
	_, _, err := parse(&c, process{args: append([]string{
		"serve", "--listen=127.0.0.1:0", "--admin.listen=127.0.0.1:0", "--domain=one.example=xmpp://127.0.0.1:1?tls=none",
	}, args...), stdout: io.Discard, stderr: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	return &c.Serve.settings
}

// logBuffer collects a gateway's log.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) has(s string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Contains(b.text.String(), s)
}

// rig is a gateway that serves in this process.
type rig struct {
	t       *testing.T
	g       *gateway
	all     *listeners
	signals chan os.Signal
	done    chan error // receives the result of serve
	log     *logBuffer
	fresh   chan *settings // what the next reread finds
}

// start serves until the test ends, or until the test sends a signal and waits.
func start(t *testing.T, s *settings, change func(*gateway)) *rig {
	t.Helper()
	r := &rig{t: t, signals: make(chan os.Signal), done: make(chan error, 1), log: &logBuffer{}, fresh: make(chan *settings)}
	g, err := newGateway(s, slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(g)
	}
	if r.all, err = g.listen(); err != nil {
		t.Fatal(err)
	}
	r.g = g
	go func() { r.done <- g.serve(r.all, r.signals, func() (*settings, error) { return <-r.fresh, nil }) }()
	t.Cleanup(func() {
		select {
		case <-r.done:
			return
		default:
		}
		r.send(os.Interrupt)
		if err := r.wait(); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return r
}

func (r *rig) send(s os.Signal) {
	r.t.Helper()
	select {
	case r.signals <- s:
	case <-time.After(10 * time.Second):
		r.t.Fatalf("nobody takes the signal %v", s)
	}
}

// reload sends SIGHUP and lets the settings be found. It has happened when the next signal is taken.
func (r *rig) reload(fresh *settings) {
	r.t.Helper()
	r.send(syscall.SIGHUP)
	r.fresh <- fresh
}

// wait returns the result of serve.
func (r *rig) wait() error {
	r.t.Helper()
	select {
	case err := <-r.done:
		r.done <- nil // for the cleanup
		return err
	case <-time.After(20 * time.Second):
		r.t.Fatal("serve does not end")
		return nil
	}
}

func (r *rig) public() string { return "http://" + r.all.public[0].Addr().String() }
func (r *rig) admin() string  { return "http://" + r.all.admin.Addr().String() }

// client makes each request on a connection of its own, so that none is left over.
var client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       10 * time.Second,
}

func (r *rig) get(url string) (*http.Response, string) {
	r.t.Helper()
	return r.do(http.MethodGet, url, nil)
}

func (r *rig) do(method, url string, header http.Header) (*http.Response, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, url, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp, string(body)
}

// fakeTransport stands for an endpoint whose sessions the test ends.
type fakeTransport struct {
	http.Handler
	events chan string // told of each step
	drain  func(context.Context) error
}

func (f *fakeTransport) Sessions() int { return 1 }

func (f *fakeTransport) Drain(ctx context.Context) error {
	f.events <- "drain"
	return f.drain(ctx)
}

func (f *fakeTransport) Shutdown(context.Context) error {
	f.events <- "shutdown"
	return nil
}
