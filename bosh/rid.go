package bosh

import "time"

// stage is how far an unanswered request has come on its way to the server.
type stage uint8

const (
	stageParked  stage = iota // there is a gap below (XEP-0124 §14.2)
	stageReady                // its turn has come
	stageSent                 // the shell was told to forward it
	stageWritten              // it is on the wire, or had nothing for the server
)

// slot is a request that has been received and not been answered.
type slot struct {
	rid   uint64        // 0: the slot is free
	x     exchange      // the HTTP request that waits for the answer; 0: none does
	at    time.Duration // arrival of x
	born  time.Duration // arrival of the first copy
	proof uint64        // what it says about responses: the browser has all up to here
	u     uint32        // stanzas up to and with this request, once written
	key   uint64        // fingerprint of its key, once its turn has come
	next  [20]byte      // keyState.next behind it
	hash  uint64        // of its body (BOSH-140)

	parked  *request  // until it is sent
	payload []payload // until the server has it
	streams streamSet
	bytes   int

	stage   stage
	told    bool // it got type=error: some browsers take that for an answer
	stanzas int  // in it, as the browser sent it
	counted int  // of those, what XEP-0198 counts; once written

	created, empty, pause, terminate, restart bool
	adds                                      int8 // the stream that it opens; 0: none
	closes                                    bool // the browser closes streams with it (XEP-0124 §16.5)
}

// ridWindow orders requests (XEP-0124 §14.1, §14.2). It holds the slots of all rids above answered.
type ridWindow struct {
	slots    []slot // by rid; a power of two
	answered uint64 // highest rid answered, all below are
	written  uint64 // highest rid on the wire, all below are
	sent     uint64 // highest rid handed to the shell
	received uint64 // highest rid received without a gap below: R
	highest  uint64 // highest rid received
}

func newRidWindow(answered uint64) ridWindow {
	return ridWindow{slots: make([]slot, 2), answered: answered, written: answered, sent: answered, received: answered, highest: answered}
}

// at returns the slot of an unanswered request, nil if it has not been received.
func (w *ridWindow) at(rid uint64) *slot {
	if rid <= w.answered || rid > w.highest {
		return nil
	}
	if s := &w.slots[rid&uint64(len(w.slots)-1)]; s.rid == rid {
		return s
	}
	return nil
}

// add makes a slot for rid, which must be above answered and have none.
func (w *ridWindow) add(rid uint64) *slot {
	for rid-w.answered > uint64(len(w.slots)) {
		w.grow()
	}
	w.highest = max(w.highest, rid)
	s := &w.slots[rid&uint64(len(w.slots)-1)]
	*s = slot{rid: rid}
	return s
}

func (w *ridWindow) grow() {
	old := w.slots
	w.slots = make([]slot, 2*len(old))
	for i := range old {
		if rid := old[i].rid; rid > w.answered {
			w.slots[rid&uint64(len(w.slots)-1)] = old[i]
		}
	}
}

// gap says whether a request waits for a lower one.
func (w *ridWindow) gap() bool { return w.highest > w.received }

// unanswered is how many rids received in order have no answer yet.
func (w *ridWindow) unanswered() int { return int(w.received - w.answered) }

// finish frees the lowest slot: its request is answered.
func (w *ridWindow) finish() {
	if s := w.at(w.answered + 1); s != nil {
		*s = slot{}
	}
	w.answered++
	w.written, w.sent = max(w.written, w.answered), max(w.sent, w.answered)
	w.received, w.highest = max(w.received, w.answered), max(w.highest, w.answered)
}

// find returns the slot in which x waits.
func (w *ridWindow) find(x exchange) *slot {
	for i := range w.slots {
		if s := &w.slots[i]; s.rid != 0 && s.x == x {
			return s
		}
	}
	return nil
}

// waiting counts the requests for whose answer somebody waits.
func (w *ridWindow) waiting() int {
	n := 0
	for i := range w.slots {
		if s := &w.slots[i]; s.rid != 0 && s.x != 0 {
			n++
		}
	}
	return n
}

// special says whether one of those is a pause or a terminate.
func (w *ridWindow) special() bool {
	for i := range w.slots {
		if s := &w.slots[i]; s.rid != 0 && s.x != 0 && (s.pause || s.terminate) {
			return true
		}
	}
	return false
}

// backlog is how many bytes wait to be handled by the server.
func (w *ridWindow) backlog() int {
	n := 0
	for i := range w.slots {
		n += w.slots[i].bytes
	}
	return n
}

// oldest returns the lowest request received in order for whose answer somebody waits.
func (w *ridWindow) oldest() *slot {
	for rid := w.answered + 1; rid <= w.received; rid++ {
		if s := w.at(rid); s != nil && s.x != 0 {
			return s
		}
	}
	return nil
}
