//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startTimeout bounds how long any process may take to accept connections; machines that run CI are slow.
const startTimeout = 60 * time.Second

// errMissing says that a program is not installed.
var errMissing = errors.New("not installed")

// process is one child of the test binary. It dies with it (Pdeathsig) and is stopped by its own process ID.
type process struct {
	name string
	cmd  *exec.Cmd
	out  string // file with its standard output and error
	logs []string
	done chan struct{} // closed by the one goroutine that waits for the process
}

// running holds the processes in the order of their start; stopAll ends them in reverse.
var running struct {
	sync.Mutex
	procs []*process
}

// startProcess runs a program in dir. Its output goes to a file there.
func startProcess(name, dir string, env []string, path string, args ...string) (*process, error) {
	out, err := os.CreateTemp(dir, name+"-*.out")
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &process{name: name, out: out.Name(), cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = dir, append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	// Pdeathsig fires when the starting thread ends, so starting happens on one that lasts as long as the process.
	started := make(chan error)
	go func() {
		lockThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait()
		}
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	running.Lock()
	running.procs = append(running.procs, p)
	running.Unlock()
	return p, nil
}

// stop sends SIGTERM, and SIGKILL when that does not help in time.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
	}
}

func (p *process) exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// tail returns the end of everything the process wrote.
func (p *process) tail(max int) string {
	s := ""
	for _, f := range append([]string{p.out}, p.logs...) {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		if len(b) > max {
			b = b[len(b)-max:]
		}
		s += fmt.Sprintf("--- %s: %s\n%s\n", p.name, filepath.Base(f), b)
	}
	return s
}

func stopAll() {
	running.Lock()
	procs := running.procs
	running.procs = nil
	running.Unlock()
	var wg sync.WaitGroup
	for i := len(procs) - 1; i >= 0; i-- {
		wg.Go(procs[i].stop)
	}
	wg.Wait()
}

// showLogs prints the end of every process's log once the test has failed.
func showLogs(t *testing.T, procs ...*process) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() || os.Getenv("E2E_VERBOSE") != "" {
			for _, p := range procs {
				t.Log(p.tail(6000))
			}
		}
	})
}

var usedPorts struct {
	sync.Mutex
	m map[int]bool
}

// freePort returns a loopback port that nothing listens on and that this run has not handed out before.
func freePort() (int, error) {
	usedPorts.Lock()
	defer usedPorts.Unlock()
	if usedPorts.m == nil {
		usedPorts.m = make(map[int]bool)
	}
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		if !usedPorts.m[port] {
			usedPorts.m[port] = true
			return port, nil
		}
	}
	return 0, errors.New("no free port")
}

func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		p, err := freePort()
		if err != nil {
			return nil, err
		}
		ports[i] = p
	}
	return ports, nil
}

// until calls ok again and again until it says yes, the process ends, or the time is over.
func until(ctx context.Context, what string, p *process, ok func() bool) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if p != nil && p.exited() {
			return fmt.Errorf("%s ended before %s\n%s", p.name, what, p.tail(6000))
		}
		select {
		case <-ctx.Done():
			logs := ""
			if p != nil {
				logs = p.tail(6000)
			}
			return fmt.Errorf("no %s in time\n%s", what, logs)
		case <-tick.C:
		}
	}
	return nil
}

func listening(port int) func() bool {
	return func() bool {
		c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
		if err != nil {
			return false
		}
		c.Close()
		return true
	}
}

// need ends a test whose set-up ended with err, unless that is nil.
func need(t *testing.T, err error) {
	t.Helper()
	if isMissing(err) {
		missing(t, err)
	} else if err != nil {
		t.Fatal(err)
	}
}

// missing skips the test, or fails it in CI, where everything must be installed.
func missing(t *testing.T, err error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%v, and CI=true forbids skipping", err)
	}
	t.Skip(err)
}
