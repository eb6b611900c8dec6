package bosh

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stanzagate/internal/xmpptest"
)

// Covers: BOSH-017, BOSH-128.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := bound(t, defaultAttrs)
		drained := make(chan error, 1)
		go func() { drained <- b.h.Drain(t.Context()) }()
		synctest.Wait()
		if _, out := b.open(defaultAttrs); out.status != http.StatusServiceUnavailable || out.header.Get("Retry-After") == "" {
			t.Errorf("a new session: %d %s", out.status, out.raw)
		}
		c.Send("<message><body>goes on</body></message>")
		if out := b.say("", ""); !strings.Contains(out.raw, "goes on") {
			t.Errorf("got %s", out.raw)
		}
		select {
		case err := <-drained:
			t.Fatalf("drained with a live session: %v", err)
		default:
		}
		end := b.hold("type='terminate'", "")
		c.ExpectEnd()
		c.CloseStream()
		b.get(end)
		if err := <-drained; err != nil {
			t.Error(err)
		}
		if err := b.h.Drain(t.Context()); err != nil {
			t.Errorf("again: %v", err)
		}
	})
}

func TestDrainEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := bound(t, defaultAttrs)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := b.h.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		go func() { _ = b.h.Drain(t.Context()) }() // several may wait
		b.shutdown()
		synctest.Wait()
	})
}

// Covers: BOSH-162.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := bound(t, defaultAttrs)
		held := b.hold("", "")
		synctest.Wait()
		over := make(chan error, 1)
		go func() { over <- b.h.Shutdown(t.Context()) }()
		if out := b.get(held); out.attr("type") != "terminate" || out.attr("condition") != "system-shutdown" {
			t.Errorf("held request: %s", out.raw)
		}
		c.ExpectEnd()
		select {
		case err := <-over:
			t.Fatalf("it did not wait for the server: %v", err)
		default:
		}
		c.CloseStream()
		if err := <-over; err != nil {
			t.Error(err)
		}
		if b.h.Sessions() != 0 || len(b.h.registry.all()) != 0 {
			t.Errorf("%d sessions", b.h.Sessions())
		}
		if out := b.say("", ""); out.status != http.StatusServiceUnavailable {
			t.Errorf("afterwards: %d %s", out.status, out.raw)
		}
		if got := b.counted.endings(); len(got) != 1 || got[0] != "system-shutdown" {
			t.Errorf("counted %q", got)
		}
	})
}

// A server that does not close its side, and one that is never reached, are not waited for beyond the context.
func TestShutdownIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newBubble(t, xmpptest.Options{Handler: func(c *xmpptest.Conn) {
			_, _ = c.ReadHeader()
			for {
				if _, err := c.Read(); err != nil && !strings.Contains(err.Error(), "closed by the client") {
					return
				}
				time.Sleep(time.Millisecond)
			}
		}}, Config{})
		held := make(chan reply, 1)
		b := &browser{rig: r, rid: 1}
		go func() { held <- r.post(nil, b.createBody(defaultAttrs)) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		began := time.Now()
		_ = r.h.Shutdown(ctx)
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("took %v", took)
		}
		r.get(held)
	})
}
