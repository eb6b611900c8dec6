package main

import (
	"context"
	"encoding/json"
	"net"
	"strings"
	"testing"

	"stanzagate/internal/load"
)

// startStub runs a stub server until the test ends and returns its address.
func startStub(t *testing.T, s *load.Stub) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

func TestBenchMeasures(t *testing.T) {
	stub := startStub(t, &load.Stub{Domain: "stub.test"})
	var out, errs strings.Builder
	status := run(process{
		args: []string{
			"bench", "chat", "--url", "tcp://" + stub, "--domain", "stub.test", "--json",
			"--pairs", "1", "--in-flight", "1", "--warmup", "0s", "--duration", "100ms",
		},
		stdout: &out, stderr: &errs,
	})
	var res load.Result
	if err := json.Unmarshal([]byte(out.String()), &res); status != 0 || err != nil || res.Messages == 0 || res.Lost != 0 {
		t.Errorf("status %d, %v: %s%s", status, err, out.String(), errs.String())
	}
}

// TestBenchRequests: the measurements of single BOSH requests, on a gateway in front of a stub with stream management.
func TestBenchRequests(t *testing.T) {
	stub := startStub(t, &load.Stub{Domain: "stub.test", StreamManagement: true})
	url := start(t, testSettings(t, "--domain=stub.test=xmpp://"+stub+"?tls=none"), nil).public() + "/http-bind"
	bench := func(result any, what string, args ...string) {
		t.Helper()
		var out, errs strings.Builder
		args = append([]string{"bench", what, "--url", url, "--domain", "stub.test", "--json", "--warmup", "0s"}, args...)
		if status := run(process{args: args, stdout: &out, stderr: &errs}); status != 0 {
			t.Fatalf("%s: status %d: %s", what, status, errs.String())
		}
		if err := json.Unmarshal([]byte(out.String()), result); err != nil {
			t.Fatalf("%s: %v: %s", what, err, out.String())
		}
	}
	var chat load.Result
	if bench(&chat, "chat", "--pairs", "1", "--duration", "100ms"); chat.Messages == 0 || chat.Lost+chat.Doubled+chat.Reordered != 0 {
		t.Errorf("chat: %+v", chat)
	}
	var poll load.PollResult
	if bench(&poll, "poll", "--sessions", "2", "--wait", "1", "--duration", "1500ms"); poll.Polls < 2 || poll.Polls > 4 {
		t.Errorf("poll: %+v", poll)
	}
	var detour load.DetourResult
	bench(&detour, "detour", "--sessions", "2", "--other", url, "--rate", "100", "--duration", "200ms")
	if n := detour.Direct.Samples + detour.Detour.Samples; n < 10 || detour.Direct.Samples < n/3 || detour.Detour.Samples < n/3 || detour.Detour.P50 <= 0 {
		t.Errorf("detour: %+v", detour)
	}
}

func TestBenchRefusesNonsense(t *testing.T) {
	for _, args := range []string{
		"chat --domain a.test", "chat --url tcp://h:1 --domain a.test --pairs 0", "chat --url gopher://h:1 --domain a.test",
		"chat --url tcp://host --domain a.test", "idle --url tcp://h:1 --domain a.test --sessions 0", "relay", "nothing",
		"poll --url http://h:1 --domain a.test --wait 0", "poll --url tcp://h:1 --domain a.test", "chat --url tcp://h:1 --domain a.test --at-once 0",
		"detour --url http://h:1 --domain a.test", "detour --url http://h:1 --other http://h:2 --domain a.test --rate 0",
	} {
		var out, errs strings.Builder
		if status := run(process{args: append([]string{"bench"}, strings.Fields(args)...), stdout: &out, stderr: &errs}); status != 1 {
			t.Errorf("%s: status %d: %s", args, status, errs.String())
		}
	}
}
