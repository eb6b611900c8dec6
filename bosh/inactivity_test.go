package bosh

import (
	"testing"
	"time"
)

// Covers: BOSH-093, BOSH-095, BOSH-101, BOSH-103.
func TestIdleState(t *testing.T) {
	i := idleState{normal: 30 * time.Second}
	i.update(0, true, true)
	if _, ok := i.deadline(false, 0); ok {
		t.Error("idle although a request waits")
	}
	i.update(5*time.Second, false, false)
	i.update(9*time.Second, false, false)
	if at, ok := i.deadline(false, 0); !ok || at != 35*time.Second {
		t.Errorf("got %v", at)
	}
	i.update(9*time.Second, false, true)
	if at, _ := i.deadline(false, 0); at != 39*time.Second {
		t.Errorf("a request that was answered at once: %v", at)
	}
	i.request(true, 100*time.Second)
	if at, _ := i.deadline(false, 0); at != 109*time.Second {
		t.Errorf("pause: %v", at)
	}
	i.request(false, 0)
	if at, _ := i.deadline(false, 0); at != 39*time.Second {
		t.Errorf("after the pause: %v", at)
	}
}

// Covers: BOSH-134.
func TestIdleStateGap(t *testing.T) {
	i := idleState{normal: 30 * time.Second, gap: 10 * time.Second}
	i.update(20*time.Second, true, true)
	if at, ok := i.deadline(true, 0); !ok || at != 40*time.Second {
		t.Errorf("a parked request waits: %v", at)
	}
	i.update(30*time.Second, false, true)
	if at, _ := i.deadline(true, 0); at != 40*time.Second {
		t.Errorf("nobody waits: %v", at)
	}
}
