package main

import (
	"context"
	"encoding/json"
	"net"
	"strings"
	"testing"

	"stanzagate/internal/load"
)

func TestBenchMeasures(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- (&load.Stub{Domain: "stub.test"}).Serve(ctx, ln) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	var out, errs strings.Builder
	status := run(process{
		args: []string{
			"bench", "chat", "--url", "tcp://" + ln.Addr().String(), "--domain", "stub.test", "--json",
			"--pairs", "1", "--in-flight", "1", "--warmup", "0s", "--duration", "100ms",
		},
		stdout: &out, stderr: &errs,
	})
	var res load.Result
	if err := json.Unmarshal([]byte(out.String()), &res); status != 0 || err != nil || res.Messages == 0 || res.Lost != 0 {
		t.Errorf("status %d, %v: %s%s", status, err, out.String(), errs.String())
	}
}

func TestBenchRefusesNonsense(t *testing.T) {
	for _, args := range []string{
		"chat --domain a.test", "chat --url tcp://h:1 --domain a.test --pairs 0", "chat --url gopher://h:1 --domain a.test",
		"chat --url tcp://host --domain a.test", "idle --url tcp://h:1 --domain a.test --sessions 0", "relay", "nothing",
	} {
		var out, errs strings.Builder
		if status := run(process{args: append([]string{"bench"}, strings.Fields(args)...), stdout: &out, stderr: &errs}); status != 1 {
			t.Errorf("%s: status %d: %s", args, status, errs.String())
		}
	}
}
