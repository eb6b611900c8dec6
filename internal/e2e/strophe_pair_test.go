//go:build e2e

package e2e

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// strophePair is two sessions of Strophe.js in Chromium that send each other numbered messages.
type strophePair struct {
	t     *testing.T
	loose bool // of server
	jids  []string
	in    io.WriteCloser
	lines *bufio.Scanner
	side  []stropheSide // after settle
}

// stropheSide is what one of them saw: Sent counts what the other one has sent, Returned what of that the server gave back.
type stropheSide struct {
	Sent, Got, Returned, Doubled, Overtaken int
	Ended                                   string
}

// startStrophePair returns when both have logged in, and told the witness so. They end with the test.
func startStrophePair(t *testing.T, s *server, url string, witness *client) *strophePair {
	t.Helper()
	need(t, nodePackages())
	needChromium(t)
	browsers <- struct{}{}
	cmd := exec.Command("node", "pair.mjs", url, s.domain, s.account(t), password, s.account(t), witness.jid)
	cmd.Dir, cmd.Stderr = "js", os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &strophePair{t: t, loose: s.loose, in: in, lines: bufio.NewScanner(out)}
	t.Cleanup(func() {
		in.Close() // it ends by itself
		kill := time.AfterFunc(5*time.Second, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		_ = cmd.Wait()
		kill.Stop()
		<-browsers
	})
	p.next(&p.jids)
	for _, jid := range p.jids {
		witness.awaitPresence(jid, "")
	}
	return p
}

// next reads what the script says next.
func (p *strophePair) next(v any) {
	p.t.Helper()
	if !p.lines.Scan() {
		p.t.Fatalf("the pair in the browser ended: %v", p.lines.Err())
	}
	if err := json.Unmarshal(p.lines.Bytes(), v); err != nil {
		p.t.Fatalf("the pair in the browser said %q", p.lines.Text())
	}
}

// settle ends the sending, waits until everything has arrived and checks it. Strophe.js acts on responses as they come, not in
// the order of rids: one that got lost is overtaken by the next, with or without replicas. So overtaking is only counted.
func (p *strophePair) settle() {
	p.t.Helper()
	if _, err := io.WriteString(p.in, "stop\n"); err != nil {
		p.t.Fatal(err)
	}
	p.next(&p.side)
	for i, s := range p.side {
		absent := s.Sent - s.Got
		if absent > 0 && !p.loose || absent < 0 || absent > 3 || s.Sent == 0 || s.Doubled > 0 || s.Ended != "" {
			p.t.Errorf("session %d of Strophe.js: %+v", i, s)
		}
	}
}

func (p *strophePair) received() (n, overtaken int) {
	for _, s := range p.side {
		n, overtaken = n+s.Got, overtaken+s.Overtaken
	}
	return n, overtaken
}
