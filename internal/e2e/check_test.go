//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// checked is what `gateway check --json` says, as far as the tests look at it.
type checked struct {
	Login      bool
	TLS        *struct{ Version, Trust string }
	Mechanisms *struct{ SASL, SASL2, FAST, Browsers []string }
	SM         string `json:"stream-management"`
	Resumption struct{ Class string }
	Errors     []struct{ What, Remedy string }
}

// check runs `gateway check` on a domain, in JSON and in words.
func check(t *testing.T, domain, setting string) (status int, c checked, words string) {
	t.Helper()
	bin, err := gatewayBinary()
	if err != nil {
		t.Fatal(err)
	}
	run := func(flags ...string) (int, []byte) {
		var out, errs bytes.Buffer
		cmd := exec.CommandContext(t.Context(), bin, append([]string{"check", domain, "--domain", setting}, flags...)...)
		cmd.Stdout, cmd.Stderr = &out, &errs
		var failed *exec.ExitError
		if err := cmd.Run(); err != nil && !errors.As(err, &failed) {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), out.Bytes()
	}
	status, out := run("--json")
	if err := json.Unmarshal(out, &c); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	again, text := run()
	if again != status {
		t.Errorf("status %d in JSON, %d in words", status, again)
	}
	return status, c, string(text)
}

// What `gateway check` says about a domain is what its server is configured for.
func TestCheckFindsWhatServersOffer(t *testing.T) {
	ca, err := testCA()
	if err != nil {
		t.Fatal(err)
	}
	prosody13 := ownServer(t, func() (*server, error) { return startProsody13(true) })
	prosody, ejabberd := getServer(t, "prosody"), getServer(t, "ejabberd")
	direct := fmt.Sprintf("%s=xmpps://127.0.0.1:%d?ca=%s", ejabberd.domain, ejabberd.tlsPort, ca.file)
	for _, c := range []struct {
		name, setting, class, sm string
		s                        *server
	}{
		{"prosody", prosody.setting(prosody.domain, ca.file), "none", "unknown", prosody},
		{"prosody with passwords", prosody.setting(prosody.domain, ca.file) + "&reauth=password", "password", "unknown", prosody},
		{"ejabberd", ejabberd.setting(ejabberd.domain, ca.file), "none", "unknown", ejabberd},
		{"ejabberd direct TLS", direct, "none", "unknown", ejabberd},
		{"prosody 13", prosody13.setting(prosody13.domain, ca.file), "fast", "offered", prosody13},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, got, words := check(t, c.s.domain, c.setting)
			t.Log("\n" + words)
			if status != 0 || !got.Login || len(got.Errors) != 0 {
				t.Fatalf("status %d: %+v", status, got)
			}
			if got.TLS == nil || got.TLS.Version != "TLS 1.3" || got.TLS.Trust != "ca" || got.SM != c.sm || got.Resumption.Class != c.class {
				t.Errorf("%+v", got)
			}
			for _, m := range c.s.mechanisms {
				if !slices.Contains(got.Mechanisms.SASL, m) || !slices.Contains(got.Mechanisms.Browsers, m) || !strings.Contains(words, m) {
					t.Errorf("%s is missing in %+v and\n%s", m, got.Mechanisms, words)
				}
			}
			if fast := len(got.Mechanisms.FAST) > 0; fast != (c.class == "fast") {
				t.Errorf("FAST: %v", got.Mechanisms.FAST)
			}
		})
	}
}

// Every certificate that sessions refuse is refused by `gateway check`, which says what to do about it.
//
// Covers: UP-015.
func TestCheckRefusesCertificates(t *testing.T) {
	ca, err := testCA()
	if err != nil {
		t.Fatal(err)
	}
	port := startTLSProsody(t)
	for _, h := range tlsHosts {
		status, got, words := check(t, h.domain, fmt.Sprintf("%s=xmpp://127.0.0.1:%d?ca=%s", h.domain, port, ca.file))
		if h.good {
			if status != 0 || !slices.Equal(got.Mechanisms.Browsers, []string{"ANONYMOUS"}) {
				t.Errorf("%s: status %d, %+v", h.domain, status, got)
			}
			continue
		}
		want := map[string]string{"expired": "renew it", "wrongname": "?name=", "selfsigned": "?ca=FILE"}[strings.TrimSuffix(h.domain, ".tls.test")]
		if status != 1 || got.Login || len(got.Errors) != 1 || !strings.Contains(got.Errors[0].Remedy, want) || !strings.Contains(words, want) {
			t.Errorf("%s: status %d, %+v, want %q in\n%s", h.domain, status, got, want, words)
		}
	}
	status, got, _ := check(t, "elsewhere.test", fmt.Sprintf("elsewhere.test=xmpp://127.0.0.1:%d?ca=%s", port, ca.file))
	if status != 1 || len(got.Errors) != 1 || !strings.Contains(got.Errors[0].Remedy, "VirtualHost") {
		t.Errorf("unknown to the server: status %d, %+v", status, got)
	}
}
