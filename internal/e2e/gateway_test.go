//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// endpoint is where clients connect.
type endpoint struct{ bosh, websocket, page, admin string }

// gatewayBinary builds the real binary once per run.
var gatewayBinary = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(runDir, "gateway")
	cmd := exec.Command("go", "build", "-o", bin, "./cmd/gateway")
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the gateway: %w\n%s", err, out)
	}
	return bin, nil
})

// startGateway runs the binary with the flags on free ports and waits until it says that it is ready.
func startGateway(flags ...string) (endpoint, *process, error) {
	bin, err := gatewayBinary()
	if err != nil {
		return endpoint{}, nil, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return endpoint{}, nil, err
	}
	listen, admin := fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
	args := append([]string{"serve", "--listen", listen, "--admin.listen", admin, "--log.level", "debug"}, flags...)
	p, err := startProcess("gateway", runDir, nil, bin, args...)
	if err != nil {
		return endpoint{}, nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	err = until(ctx, "readiness", p, func() bool {
		resp, err := http.Get("http://" + admin + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return endpoint{
		bosh: "http://" + listen + "/http-bind", websocket: "ws://" + listen + "/xmpp-websocket",
		page: "http://" + listen + "/", admin: "http://" + admin,
	}, p, err
}

// mainGateway is the one that serves the domains of every server that is installed.
var mainGateway = sync.OnceValues(func() (endpoint, error) {
	ca, err := testCA()
	if err != nil {
		return endpoint{}, err
	}
	var flags []string
	for _, s := range startAll() {
		flags = append(flags, "--domain", s.setting(s.domain, ca.file))
		if s.anonymous != "" {
			flags = append(flags, "--domain", s.setting(s.anonymous, ca.file))
		}
	}
	ep, p, err := startGateway(flags...)
	mainProcess = p
	return ep, err
})

// mainProcess is written once, inside mainGateway.
var mainProcess *process

// getEndpoint is where the clients of a matrix scenario connect for one server.
func getEndpoint(t *testing.T, s *server) endpoint {
	t.Helper()
	if os.Getenv("E2E_NATIVE") != "" {
		if s.native == nil {
			t.Skipf("%s has no endpoints of its own", s.name)
		}
		return endpoint{bosh: s.native["bosh"], websocket: s.native["websocket"]}
	}
	ep, err := mainGateway()
	if err != nil {
		t.Fatal(err)
	}
	showLogs(t, mainProcess)
	return ep
}
