package bosh

import "testing"

func TestRidWindowGrowsAndShrinksInOrder(t *testing.T) {
	w := newRidWindow(10)
	for _, rid := range []uint64{20, 11, 13} {
		w.add(rid).x = exchange(rid)
	}
	if w.at(12) != nil || w.at(10) != nil || w.at(21) != nil {
		t.Error("slots of requests that never came")
	}
	for _, rid := range []uint64{11, 13, 20} {
		if s := w.at(rid); s == nil || s.x != exchange(rid) {
			t.Errorf("rid %d: %+v", rid, s)
		}
	}
	w.received = 11
	if !w.gap() || w.unanswered() != 1 || w.waiting() != 3 || w.oldest().rid != 11 || w.find(13).rid != 13 || w.find(99) != nil {
		t.Errorf("got %+v", w)
	}
	w.finish()
	if w.at(11) != nil || w.oldest() != nil || w.answered != 11 || w.sent != 11 || w.written != 11 {
		t.Errorf("got %+v", w)
	}
}

// Rids wrap around the ring many times over.
func TestRidWindowSlotsAreReused(t *testing.T) {
	w := newRidWindow(0)
	for rid := uint64(1); rid < 1000; rid++ {
		if s := w.add(rid); s.x != 0 {
			t.Fatalf("rid %d: an old slot: %+v", rid, s)
		}
		w.at(rid).x = 1
		w.received = rid
		if rid > 2 {
			w.finish()
		}
	}
	if len(w.slots) != 4 {
		t.Errorf("%d slots", len(w.slots))
	}
}

func TestRidWindowBacklog(t *testing.T) {
	w := newRidWindow(0)
	w.add(1).bytes = 5
	w.add(3).bytes = 7
	if w.backlog() != 12 {
		t.Errorf("got %d", w.backlog())
	}
	w.add(2).pause = true
	w.at(2).x = 1
	if !w.special() {
		t.Error("a pause is special")
	}
	w.received = 3
	w.finish()
	if w.backlog() != 7 {
		t.Errorf("got %d", w.backlog())
	}
}
