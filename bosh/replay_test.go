package bosh

import "testing"

func TestReplayKeepsWhatIsNotConfirmed(t *testing.T) {
	p := replay{low: 100, high: 100}
	for i := range uint32(20) {
		k := p.push()
		k.u, k.d, k.x = i, 2*i, exchange(i%2)
	}
	if p.at(100) != nil || p.at(121) != nil || p.at(120).u != 19 || p.before(101) != 0 || p.before(111) != 18 {
		t.Errorf("got %+v", p)
	}
	if xs := p.forget(110); len(xs) != 5 || p.low != 110 || p.d != 18 || p.at(110) != nil {
		t.Errorf("waiting %v, low %d, d %d", xs, p.low, p.d)
	}
	if xs := p.forget(1000); len(xs) != 5 || p.low != 120 {
		t.Errorf("waiting %v, low %d", xs, p.low)
	}
	if u, d := p.last(); u != 19 || d != 38 {
		t.Errorf("u %d, d %d", u, d)
	}
	p.push()
	if n := len(p.ring); n != 32 {
		t.Errorf("%d places", n)
	}
}

func TestReplayRefill(t *testing.T) {
	p := replay{low: 10, high: 10, d: 5}
	for _, d := range []uint32{7, 7, 8} {
		k := p.push()
		k.d = d
		k.lacks = d - p.before(p.high)
	}
	for n, want := range map[uint32]uint64{5: 0, 6: 11, 7: 11, 8: 13, 9: 0} {
		if rid := p.refill(n, element{prefix: true}); rid != want {
			t.Errorf("stanza %d: rid %d, want %d", n, rid, want)
		}
	}
	if a, b := p.at(11), p.at(13); len(a.payload) != 2 || a.lacks != 0 || len(b.payload) != 1 || !b.prefix {
		t.Errorf("got %+v and %+v", a, b)
	}
}
