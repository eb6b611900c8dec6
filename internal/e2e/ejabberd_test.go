//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// ejabberdConfig has the arguments: certificate, three ports, domain, further modules, further listeners. UP-099: channel
// binding cannot work through a gateway, so it is turned off as docs/operations.md says.
const ejabberdConfig = `hosts: [%[5]s, anon.%[5]s]
loglevel: info
certfiles: ["%[1]s"]
auth_method: internal
auth_password_format: scram
disable_sasl_mechanisms: [SCRAM-SHA-1-PLUS, SCRAM-SHA-256-PLUS, SCRAM-SHA-512-PLUS]
host_config:
  anon.%[5]s:
    auth_method: [anonymous]
    anonymous_protocol: sasl_anon
listen:
  - {port: %[2]d, ip: "127.0.0.1", module: ejabberd_c2s, max_stanza_size: 262144, shaper: none, access: c2s, starttls: true}
  - {port: %[3]d, ip: "127.0.0.1", module: ejabberd_c2s, max_stanza_size: 262144, shaper: none, access: c2s, tls: true}
  - port: %[4]d
    ip: "127.0.0.1"
    module: ejabberd_http
    request_handlers:
      /http-bind: mod_bosh
      /xmpp-websocket: ejabberd_http_ws
      /api: mod_http_api
%[7]ss2s_access: none
acl: {local: {user_regexp: ""}, loopback: {ip: [127.0.0.0/8]}}
access_rules: {c2s: [allow], local: [{allow: local}], register: [allow]}
api_permissions:
  test: {from: mod_http_api, who: {access: {allow: {acl: loopback}}}, what: ["register"]}
shaper: {}
shaper_rules: {max_user_sessions: 5000}
modules:
  mod_bosh: {}
  mod_disco: {}
  mod_ping: {}
  mod_roster: {}
  mod_stream_mgmt: {resend_on_timeout: if_offline, resume_timeout: 300}
  mod_version: {}
%[6]s`

// startEjabberd runs the installed ejabberd.
func startEjabberd() (*server, error) {
	return runEjabberd(ejabberdVersion{name: "ejabberd", domain: "ejabberd.test"})
}

// ejabberdVersion is what differs between the ejabberds of the tests.
type ejabberdVersion struct {
	name, domain string
	paths        []string // further arguments of the Erlang VM
	modules      string   // further lines of modules
	listeners    string   // further lines of listen
}

// runEjabberd runs the Erlang VM directly: the distribution's wrapper would switch users and leave epmd behind.
func runEjabberd(v ejabberdVersion) (*server, error) {
	erl, err := exec.LookPath("erl")
	if err != nil {
		return nil, fmt.Errorf("erlang: %w", errMissing)
	}
	lib, err := packageFile("ejabberd", "/ebin")
	if err != nil {
		return nil, err
	}
	dir, ports, ca, err := premises(v.name, 3)
	if err != nil {
		return nil, err
	}
	cert, err := ca.issue(dir, "cert", false, false, v.domain, "anon."+v.domain)
	if err != nil {
		return nil, err
	}
	cfg := filepath.Join(dir, "ejabberd.yml")
	config := fmt.Sprintf(ejabberdConfig, cert.both, ports[0], ports[1], ports[2], v.domain, v.modules, v.listeners)
	if err := os.WriteFile(cfg, []byte(config), 0o600); err != nil {
		return nil, err
	}
	log := filepath.Join(dir, "ejabberd.log")
	env := []string{
		"HOME=" + dir, "EJABBERD_CONFIG_PATH=" + cfg, "EJABBERD_LOG_PATH=" + log,
		"EJABBERD_PID_PATH=" + filepath.Join(dir, "ejabberd.pid"), "ERL_LIBS=" + filepath.Dir(filepath.Dir(lib)),
		"ERL_CRASH_DUMP=" + filepath.Join(dir, "erl_crash.dump"),
	}
	args := append(v.paths, "-noinput", "-noshell", "-start_epmd", "false", "-dist_listen", "false",
		"-mnesia", "dir", fmt.Sprintf("%q", filepath.Join(dir, "mnesia")), "-s", "ejabberd")
	p, err := startProcess(v.name, dir, env, erl, args...)
	if err != nil {
		return nil, err
	}
	p.logs = []string{log}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for _, port := range ports {
		if err := until(ctx, "listener", p, listening(port)); err != nil {
			return nil, err
		}
	}
	if err := ejabberdAccounts(ctx, p, ports[2], v.domain); err != nil {
		return nil, err
	}
	return &server{
		name: v.name, domain: v.domain, anonymous: "anon." + v.domain, streamMgmt: true,
		mechanisms: []string{"PLAIN", "SCRAM-SHA-1"},
		// stanza takes SCRAM-SHA-1-PLUS when it is offered, and cannot do it (UP-100).
		options: "&plus=hide",
		port:    ports[0], tlsPort: ports[1], procs: []*process{p},
		native: nativeURLs(ports[2]),
	}, nil
}

// ejabberdAccounts registers the accounts over the HTTP API, which starts answering a moment after its port opens.
func ejabberdAccounts(ctx context.Context, p *process, port int, domain string) error {
	var wg sync.WaitGroup
	errs := make(chan error, accountsPerServer)
	turns := make(chan struct{}, 4)
	for n := range accountsPerServer {
		wg.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			body := fmt.Appendf(nil, `{"user":%q,"host":%q,"password":%q}`, accountName(n), domain, password)
			errs <- until(ctx, "registration of "+accountName(n), p, func() bool {
				resp, err := http.Post(fmt.Sprintf("http://127.0.0.1:%d/api/register", port), "application/json", bytes.NewReader(body))
				if err != nil {
					return false
				}
				resp.Body.Close()
				return resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusConflict
			})
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// packageFile finds the first file of a Debian package whose path ends in suffix.
func packageFile(pkg, suffix string) (string, error) {
	out, err := exec.Command("dpkg", "-L", pkg).Output()
	if err != nil {
		return "", fmt.Errorf("package %s: %w", pkg, errMissing)
	}
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); strings.HasSuffix(line, suffix) {
			return line, nil
		}
	}
	return "", fmt.Errorf("package %s has no %s: %w", pkg, suffix, errMissing)
}
