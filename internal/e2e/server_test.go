//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// password is what every account of the test servers has.
const password = "secret-pencil"

// accountsPerServer is how many accounts u0, u1, … exist; every scenario takes fresh ones.
const accountsPerServer = 160

// server is one running XMPP server of the matrix.
type server struct {
	name       string
	domain     string   // accounts u0 … live here
	anonymous  string   // domain for SASL ANONYMOUS; empty if the server has none
	mechanisms []string // what must be offered on domain, beyond others
	streamMgmt bool     // XEP-0198 with resumption
	options    string   // further options of the gateway's domain setting
	loose      bool     // in the moment of a resumption stanzas are overtaken by later ones, come back as errors, or are lost: TestOvertaking
	port       int      // client-to-server port, STARTTLS
	tlsPort    int      // direct TLS; 0 if the server has none
	native     map[string]string
	procs      []*process
	next       atomic.Int32
}

// account returns the name of an account nobody has used in this run.
func (s *server) account(t *testing.T) string {
	t.Helper()
	n := int(s.next.Add(1)) - 1
	if n >= accountsPerServer {
		t.Fatalf("%s has no account left, raise accountsPerServer", s.name)
	}
	return accountName(n)
}

func accountName(n int) string { return fmt.Sprintf("u%d", n) }

// setting is the value of the gateway's domain setting for one of the server's domains.
func (s *server) setting(domain, caFile string) string {
	return fmt.Sprintf("%s=xmpp://127.0.0.1:%d?ca=%s%s", domain, s.port, caFile, s.options)
}

// servers are started on first use, once per run.
var servers = map[string]func() (*server, error){
	"prosody":  sync.OnceValues(startProsody),
	"ejabberd": sync.OnceValues(startEjabberd),
	"jabberd2": sync.OnceValues(startJabberd2),
}

// startAll starts the servers of the matrix side by side. Those that are missing are absent from the answer.
var startAll = sync.OnceValue(func() map[string]*server {
	var mu sync.Mutex
	var wg sync.WaitGroup
	up := make(map[string]*server)
	for name, start := range servers {
		wg.Go(func() {
			if s, err := start(); err == nil {
				mu.Lock()
				up[name] = s
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return up
})

// getServer returns a running server, or ends the test.
func getServer(t *testing.T, name string) *server {
	t.Helper()
	s, err := servers[name]()
	need(t, err)
	showLogs(t, s.procs...)
	return s
}

// premises returns what a server is set up with: a directory of its name, n ports, and who issues its certificates.
func premises(name string, n int) (dir string, ports []int, ca *authority, err error) {
	dir = filepath.Join(runDir, name)
	if err = os.MkdirAll(dir, 0o755); err != nil {
		return "", nil, nil, err
	}
	if ports, err = freePorts(n); err != nil {
		return "", nil, nil, err
	}
	ca, err = testCA()
	return dir, ports, ca, err
}
