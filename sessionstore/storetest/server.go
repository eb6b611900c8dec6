package storetest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Server is one redis-server on loopback that a test can kill, freeze and start again on the same port and directory.
type Server struct {
	Port int
	Dir  string

	*Process // nil before Start

	program string
	args    []string
}

// Addr is where it listens.
func (s *Server) Addr() string { return "127.0.0.1:" + strconv.Itoa(s.Port) }

// StartRedis starts a redis-server that keeps nothing over a restart, unless args say otherwise. It ends with the test. If
// there is no redis-server the test is skipped; with CI=true it fails.
func StartRedis(t testing.TB, args ...string) *Server {
	t.Helper()
	need(t, "redis-server")
	s := &Server{Port: FreePort(t), Dir: t.TempDir(), program: "redis-server"}
	s.args = append([]string{"--port", strconv.Itoa(s.Port), "--bind", "127.0.0.1", "--dir", s.Dir, "--save", "", "--appendonly", "no"}, args...)
	s.Start(t)
	t.Cleanup(func() { s.Kill() })
	return s
}

func need(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is missing", p)
			}
			t.Skipf("%s is missing", p)
		}
	}
}

// FreePort returns a port on loopback that nobody listens on. Below the range of outgoing connections, so that none takes
// it in between.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 200 {
		port := 12000 + int(portSeed.Add(1))%18000
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// Start starts it, again if it was killed, and waits until it answers.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(s.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(s.program, s.args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, s.Dir
	s.Process = StartProcess(t, cmd)
	var answer string
	Until(t, s.program, func() bool {
		answer, err = s.Command("PING")
		if s.Ended() {
			text, _ := os.ReadFile(filepath.Join(s.Dir, "log"))
			t.Fatalf("%s ended:\n%s", s.program, text)
		}
		return err == nil && answer == "+PONG"
	})
}

// commandTimeout bounds one Command.
const commandTimeout = 2 * time.Second

// Command sends one command, words with spaces between, and returns the reply: its first line, or all of it if it is one
// text. It depends on no library, so that what tests see does not either.
func (s *Server) Command(line string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Addr())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(commandTimeout))
	if _, err := fmt.Fprintf(conn, "%s\r\n", line); err != nil {
		return "", err
	}
	r := bufio.NewReader(conn)
	first, err := r.ReadString('\n')
	first = strings.TrimRight(first, "\r\n")
	if err != nil || !strings.HasPrefix(first, "$") {
		return first, err
	}
	n, err := strconv.Atoi(first[1:])
	if err != nil || n < 0 {
		return "", err
	}
	text := make([]byte, n)
	for read := 0; read < n; {
		k, err := r.Read(text[read:])
		if err != nil {
			return "", err
		}
		read += k
	}
	return string(text), nil
}

// Must is Command for commands that have to succeed.
func (s *Server) Must(t testing.TB, line string) string {
	t.Helper()
	answer, err := s.Command(line)
	if err != nil || strings.HasPrefix(answer, "-") {
		t.Fatalf("%s: %q, %v", line, answer, err)
	}
	return answer
}
