package bosh

import "testing"

// Covers: BOSH-086, BOSH-087, UP-124.
func TestAckStateProof(t *testing.T) {
	ack := func(rid uint64) *uint64 { return &rid }
	for _, test := range []struct {
		name          string
		explicit      bool
		rid, answered uint64
		ack           *uint64
		window        int
		special       bool
		proof         uint64
		bad           bool
	}{
		{name: "explicit", explicit: true, rid: 105, answered: 104, ack: ack(102), window: 2, proof: 102},
		{name: "explicit, none", explicit: true, rid: 105, answered: 104, window: 2, proof: 104},
		{name: "explicit, none, older open", explicit: true, rid: 105, answered: 102, window: 3, proof: 102},
		{name: "explicit, too high", explicit: true, rid: 105, answered: 102, ack: ack(103), window: 2, proof: 102, bad: true},
		{name: "implied, alone", rid: 105, answered: 104, window: 2, proof: 100},
		{name: "implied, all places taken", rid: 105, answered: 103, window: 2, proof: 103},
		{name: "implied, one place free", rid: 105, answered: 103, window: 3, proof: 97},
		{name: "implied, the extra place", rid: 105, answered: 103, window: 2, special: true, proof: 99},
		{name: "implied, the extra place and all others", rid: 105, answered: 102, window: 2, special: true, proof: 102},
		{name: "implied, at the beginning", rid: 3, answered: 2, window: 2, proof: 0},
		{name: "ack without announcement", rid: 105, answered: 104, ack: ack(104), window: 2, proof: 100},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &request{rid: test.rid}
			if test.ack != nil {
				r.hasAck, r.ack = true, *test.ack
			}
			a := ackState{explicit: test.explicit}
			proof, ok := a.proof(r, test.answered, test.window, test.special)
			if proof != test.proof || ok == test.bad {
				t.Errorf("got %d %v, want %d %v", proof, ok, test.proof, !test.bad)
			}
		})
	}
}

func TestAckStateNeverGoesBack(t *testing.T) {
	var a ackState
	a.prove(5)
	a.prove(3)
	if a.proved != 5 {
		t.Errorf("got %d", a.proved)
	}
}
