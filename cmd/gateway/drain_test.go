package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"
)

// startDraining serves with an endpoint whose Drain the test controls, and sends SIGTERM.
func startDraining(t *testing.T, drainTimeout string, drain func(context.Context) error) (*rig, *fakeTransport) {
	t.Helper()
	f := &fakeTransport{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }),
		events:  make(chan string, 4), drain: drain,
	}
	r := start(t, testSettings(t, "--drain.timeout="+drainTimeout), func(g *gateway) { g.bosh = f })
	if resp, _ := r.get(r.admin() + "/readyz"); resp.StatusCode != http.StatusOK {
		t.Fatalf("readyz %d", resp.StatusCode)
	}
	r.send(syscall.SIGTERM)
	f.expect(t, "drain")
	return r, f
}

func (f *fakeTransport) expect(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-f.events:
		if got != want {
			t.Fatalf("%s came, want %s", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("%s did not come", want)
	}
}

// While sessions go on, new ones are known to be refused, old ones are still served and the operator can still look.
func TestDrainOrder(t *testing.T) {
	gone := make(chan struct{})
	r, f := startDraining(t, "1h", func(context.Context) error { <-gone; return nil })
	resp, body := r.get(r.admin() + "/readyz")
	if resp.StatusCode != http.StatusServiceUnavailable || body != "draining\n" {
		t.Errorf("readyz %d %q", resp.StatusCode, body)
	}
	if resp, _ := r.get(r.admin() + "/healthz"); resp.StatusCode != http.StatusOK {
		t.Errorf("healthz %d", resp.StatusCode)
	}
	if resp, _ := r.get(r.public() + "/http-bind"); resp.StatusCode != http.StatusTeapot {
		t.Errorf("the endpoint answers %d", resp.StatusCode)
	}
	select {
	case e := <-f.events:
		t.Fatalf("%s before the sessions ended", e)
	default:
	}
	close(gone)
	f.expect(t, "shutdown")
	if err := r.wait(); err != nil {
		t.Error(err)
	}
	for _, url := range []string{r.public(), r.admin()} {
		if resp, err := client.Get(url); err == nil {
			resp.Body.Close()
			t.Errorf("%s still answers", url)
		}
	}
}

func TestDrainEndsInTime(t *testing.T) {
	var cause error
	r, f := startDraining(t, "50ms", func(ctx context.Context) error {
		<-ctx.Done()
		cause = ctx.Err()
		return cause
	})
	f.expect(t, "shutdown")
	if err := r.wait(); err != nil || !errors.Is(cause, context.DeadlineExceeded) {
		t.Errorf("serve: %v, drain ended by %v", err, cause)
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	r, f := startDraining(t, "1h", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	r.send(syscall.SIGHUP) // means nothing any more
	r.send(os.Interrupt)
	f.expect(t, "shutdown")
	if err := r.wait(); !errors.Is(err, errInterrupted) {
		t.Errorf("serve: %v", err)
	}
}

// A listener that fails ends the process, after the drain.
func TestListenerFails(t *testing.T) {
	r := start(t, testSettings(t, "--drain.timeout=0s"), nil)
	r.all.public[0].Listener.Close()
	if err := r.wait(); err == nil {
		t.Error("serve ended without an error")
	}
}

func TestAddressInUse(t *testing.T) {
	r := start(t, testSettings(t), nil)
	s := testSettings(t, "--admin.listen="+r.all.admin.Addr().String())
	g, err := newGateway(s, r.g.log)
	if err != nil {
		t.Fatal(err)
	}
	_, err = g.listen()
	if bad := (*settingError)(nil); !errors.As(err, &bad) || bad.key != "admin.listen" || bad.value != s.Admin {
		t.Errorf("listen: %v", err)
	}
	inTime(t.Context(), time.Second, g.bosh.Shutdown, g.websocket.Shutdown)
}
