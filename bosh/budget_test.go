package bosh

import (
	"bytes"
	"context"
	"testing"
)

// Allocations are what costs most per request, so their number is a promise: a message up and down again, both streams and
// the session machine included, without what net/http itself allocates.
func TestAllocationsPerRequest(t *testing.T) {
	if raceEnabled {
		t.Log("the race detector allocates too; nothing is asserted")
		return
	}
	h := benchHandler(t)
	c, sid, rid := benchSession(t, h, "1")
	ctx, cancel := context.WithCancel(context.Background()) // as net/http has it
	defer cancel()
	r := newRoundTrip(sid, rid)
	base := c.r
	got := testing.AllocsPerRun(500, func() {
		c.r = base.WithContext(ctx) // one allocation
		if out := c.do(r.next()); !bytes.Contains(out, []byte("lorem")) {
			t.Fatalf("got %s", out)
		}
	}) - 1
	if got > 10 {
		t.Errorf("%v allocations for a message up and down", got)
	}
}
