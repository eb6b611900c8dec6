package load

import (
	"context"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// start runs f until the test ends.
func start(t *testing.T, f func(ctx context.Context) error) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func startStub(t *testing.T) string {
	t.Helper()
	ln := listen(t)
	s := &Stub{Domain: "stub.test"}
	start(t, func(ctx context.Context) error { return s.Serve(ctx, ln) })
	return ln.Addr().String()
}

func target(addr string) Target {
	return Target{URL: "tcp://" + addr, Domain: "stub.test", User: "u%d", Password: "p"}
}

func TestClosedLoopThroughRelay(t *testing.T) {
	stub, ln := startStub(t), listen(t)
	start(t, func(ctx context.Context) error { return Relay(ctx, ln, stub) })
	res, err := Run(t.Context(), target(ln.Addr().String()), Plan{Pairs: 3, InFlight: 4, Duration: 200 * time.Millisecond}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.Messages == 0 || res.Lost+res.Doubled+res.Reordered != 0 || res.Latency.P50 <= 0 {
		t.Errorf("%+v", res)
	}
}

func TestOpenLoopKeepsItsRate(t *testing.T) {
	stub := startStub(t)
	res, err := Run(t.Context(), target(stub), Plan{Pairs: 2, Rate: 500, Duration: 500 * time.Millisecond}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.PerSecond < 400 || res.PerSecond > 600 || res.Lost != 0 {
		t.Errorf("%+v", res)
	}
}

func TestIdleCountsSessions(t *testing.T) {
	stub := startStub(t)
	memory := int64(0)
	res, err := Idle(t.Context(), target(stub), 10, 0, 0, func() (int64, error) {
		memory += 10 << 10
		return memory, nil
	}, func() time.Duration { return 0 })
	if err != nil {
		t.Fatal(err)
	}
	if res.BytesPerSession != 1<<10 || res.Sessions != 10 || res.LoginsPerSecond <= 0 {
		t.Errorf("%+v", res)
	}
}

// TestStubManagesStreams: what was sent is acknowledged, and the acknowledgement of what is delivered is asked for, once until
// it comes.
func TestStubManagesStreams(t *testing.T) {
	ln := listen(t)
	stub := &Stub{Domain: "stub.test", StreamManagement: true}
	start(t, func(ctx context.Context) error { return stub.Serve(ctx, ln) })
	sessions, jids, err := loginAll(t.Context(), target(ln.Addr().String()), 1)
	defer closeAll(sessions)
	if err != nil {
		t.Fatal(err)
	}
	s := sessions[0]
	message := string(newEnvelope(jids[0], "").stamp(0, 0)) // to itself
	for _, step := range []struct{ send, want string }{
		{"<enable xmlns='urn:xmpp:sm:3' resume='true'/>", " resume='true'"},
		{message, "</message><r xmlns='urn:xmpp:sm:3'/>"},
		{message + "<r xmlns='urn:xmpp:sm:3'/>", "</message><a xmlns='urn:xmpp:sm:3' h='2'/>"},
		{"<a xmlns='urn:xmpp:sm:3' h='1'/>", "<r xmlns='urn:xmpp:sm:3'/>"},
		{"<resume xmlns='urn:xmpp:sm:3' previd='1' h='0'/>", "<failed"},
	} {
		if got, err := s.exchange(step.send, step.want); err != nil {
			t.Fatalf("%s: %v after %q", step.send, err, got)
		}
	}
}

func TestTallySeesFaults(t *testing.T) {
	var c tally
	for _, seq := range []uint64{0, 1, 3, 2, 3, 6} {
		c.take(seq, 0, false)
	}
	if c.lost != 2 || c.reordered != 1 || c.doubled != 1 || c.received != 6 {
		t.Errorf("%+v", c)
	}
}

func TestScanMessagesCutAnywhere(t *testing.T) {
	e := newEnvelope("a@b/c", "")
	if len(e.buf) != messageBytes {
		t.Errorf("a message has %d bytes", len(e.buf))
	}
	two := append(append([]byte(nil), e.stamp(7, 1)...), e.stamp(8, 2)...)
	for cut := range two {
		var got []uint64
		f := func(seq uint64, _ int64) { got = append(got, seq) }
		n := scanMessages(two[:cut], f)
		scanMessages(two[n:], f)
		if len(got) != 2 || got[0] != 7 || got[1] != 8 {
			t.Fatalf("cut at %d: %v", cut, got)
		}
	}
}
