//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// clientTimeout bounds one run of a client; the scripts have a shorter one of their own.
const clientTimeout = 90 * time.Second

// nodePackages installs the clients from the lock file, once per run, unless that has been done.
var nodePackages = sync.OnceValue(func() error {
	if _, err := exec.LookPath("node"); err != nil {
		return fmt.Errorf("node: %w", errMissing)
	}
	if newer("js/node_modules/.package-lock.json", "js/package-lock.json") {
		return nil
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return fmt.Errorf("npm: %w", errMissing)
	}
	cmd := exec.Command(npm, "ci", "--no-fund", "--no-audit")
	cmd.Dir = "js"
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return nil
})

func newer(file, than string) bool {
	a, err := os.Stat(file)
	if err != nil {
		return false
	}
	b, err := os.Stat(than)
	return err == nil && a.ModTime().After(b.ModTime())
}

// browsers allows one Chromium at a time: each is several processes, and the machines have two cores.
var browsers = make(chan struct{}, 1)

// script runs one client to its end and fails the test with its output.
func script(t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), clientTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = "js"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "PASS") {
		if len(out) > 4000 {
			out = out[len(out)-4000:]
		}
		t.Errorf("%s: %v\n%s", args[1], err, out)
	}
}

// realClient is a client library and how it reaches an endpoint.
type realClient struct {
	name, transport string
	run             func(t *testing.T, s *server, url string)
}

func nodeClient(file string, chromium bool) func(*testing.T, *server, string) {
	return func(t *testing.T, s *server, url string) {
		need(t, nodePackages())
		if chromium {
			needChromium(t)
			browsers <- struct{}{}
			defer func() { <-browsers }()
		}
		script(t, "node", file, url, s.domain, s.account(t), password)
	}
}

func needChromium(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("chromium"); err != nil {
		missing(t, fmt.Errorf("chromium: %w", errMissing))
	}
}

func pythonClient(t *testing.T, s *server, url string) {
	// The distribution's interpreter: another one does not see the distribution's packages.
	const python = "/usr/bin/python3"
	if err := exec.Command(python, "-c", "import nbxmpp, gi; gi.require_version('Soup', '3.0')").Run(); err != nil {
		missing(t, fmt.Errorf("python3-nbxmpp: %w", errMissing))
	}
	script(t, python, "../nbxmpp_client.py", url, s.domain, s.account(t), password)
}

var realClients = []realClient{
	{"strophe in Chromium", "websocket", nodeClient("bare.mjs", true)},
	{"strophe in Chromium", "bosh", nodeClient("bare.mjs", true)},
	{"stanza", "websocket", nodeClient("stanza.mjs", false)},
	{"stanza", "bosh", nodeClient("stanza.mjs", false)},
	{"xmpp.js", "websocket", nodeClient("xmppjs.mjs", false)},
	{"nbxmpp", "websocket", pythonClient},
	{"mellium", "websocket", melliumClient},
}

// TestClients logs in with the clients people use; each sends itself a message and expects it back intact.
func TestClients(t *testing.T) {
	for _, name := range []string{"prosody", "ejabberd"} {
		t.Run(name, func(t *testing.T) {
			s := getServer(t, name)
			ep := getEndpoint(t, s)
			for _, c := range realClients {
				t.Run(c.name+" over "+c.transport, func(t *testing.T) {
					url := ep.websocket
					if c.transport == "bosh" {
						url = ep.bosh
					}
					c.run(t, s, url)
				})
			}
		})
	}
}

// TestPage chats through the gateway's own page. E2E_PICTURE=FILE keeps a picture of it.
func TestPage(t *testing.T) {
	s := getServer(t, "prosody")
	ep := getEndpoint(t, s)
	if ep.page == "" {
		t.Skip("the servers' own endpoints have no page")
	}
	need(t, nodePackages())
	needChromium(t)
	resp, err := http.Get(ep.page)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || !strings.Contains(string(body), `id="sign-in"`) {
		t.Fatalf("the binary was built without its page: %v", err)
	}
	for _, kind := range []string{"auto", "websocket", "bosh"} {
		t.Run(kind, func(t *testing.T) {
			picture := ""
			if kind == "auto" && os.Getenv("E2E_PICTURE") != "" {
				if picture, err = filepath.Abs(os.Getenv("E2E_PICTURE")); err != nil {
					t.Fatal(err)
				}
			}
			browsers <- struct{}{}
			defer func() { <-browsers }()
			script(t, "node", "page.mjs", ep.page, s.domain, s.account(t), password, s.account(t), kind, picture)
		})
	}
}
