package bosh

import "time"

// kept is an answered request (XEP-0124 §14.3): what a repeat of it gets, and how far both counts had come with it.
type kept struct {
	x     exchange      // a repeat that waits until the server has sent everything again; 0: none
	since time.Duration // of x
	at    time.Duration // when it was answered, the last time

	u, d  uint32 // stanzas up in requests, and down in responses, up to this one
	lacks uint32 // stanzas that the server has yet to send again (takeover)

	payload []element
	ack     uint64    // 0: not sent
	rare    *response // all of it, if it had more than payload and ack

	hash   uint64 // of the request's body (BOSH-140)
	key    uint64 // fingerprint of its key (BOSH-148)
	stream int8   // of payload; -1: not named
	prefix bool

	opaque  bool // holds something else that only this replica has
	unheard bool // taken over: nobody knows whether the browser has it
}

// replay is the response buffer: the answered requests above those that the browser surely has (XEP-0124 §14.3).
type replay struct {
	ring []kept // by rid; a power of two
	low  uint64 // highest rid whose response the browser surely has, with all below: rA
	high uint64 // highest rid answered: rL
	u, d uint32 // counts at low
}

// at returns the answered request, nil if it is too old or not answered yet.
func (p *replay) at(rid uint64) *kept {
	if rid <= p.low || rid > p.high {
		return nil
	}
	return &p.ring[rid&uint64(len(p.ring)-1)]
}

// last returns both counts at the highest answered rid.
func (p *replay) last() (u, d uint32) {
	if k := p.at(p.high); k != nil {
		return k.u, k.d
	}
	return p.u, p.d
}

// push makes room for the next answered rid.
func (p *replay) push() *kept {
	if p.high-p.low == uint64(len(p.ring)) {
		p.grow()
	}
	p.high++
	k := p.at(p.high)
	*k = kept{stream: -1}
	return k
}

func (p *replay) grow() {
	old := p.ring
	p.ring = make([]kept, max(2, 2*len(old)))
	for rid := p.low + 1; rid <= p.high; rid++ {
		p.ring[rid&uint64(len(p.ring)-1)] = old[rid&uint64(len(old)-1)]
	}
}

// forget drops what the browser has: everything up to rid. It returns the exchanges that waited for a repeat of it.
func (p *replay) forget(rid uint64) (waiting []exchange) {
	for p.low < min(rid, p.high) {
		k := p.at(p.low + 1)
		if k.x != 0 {
			waiting = append(waiting, k.x)
		}
		p.u, p.d = k.u, k.d
		*k = kept{}
		p.low++
	}
	return waiting
}

// bytes is what all of it takes.
func (p *replay) bytes() (n int) {
	for rid := p.low + 1; rid <= p.high; rid++ {
		for i := range p.at(rid).payload {
			n += len(p.at(rid).payload[i].raw)
		}
	}
	return n
}

// before is the downward count in front of rid's response.
func (p *replay) before(rid uint64) uint32 {
	if k := p.at(rid - 1); k != nil {
		return k.d
	}
	return p.d
}

// refill puts stanza n, which the server sent again, back into the response that carried it. It returns that response's
// rid, 0 if n was never in one.
func (p *replay) refill(n uint32, el element) uint64 {
	for rid := p.low + 1; rid <= p.high && beyond(n, p.d); rid++ {
		k := p.at(rid)
		if !beyond(n, k.d) {
			k.payload = append(k.payload, el)
			k.prefix = k.prefix || el.prefix
			k.lacks--
			return rid
		}
	}
	return 0
}

// any says whether some answered request is so.
func (p *replay) any(is func(*kept) bool) bool {
	for rid := p.low + 1; rid <= p.high; rid++ {
		if is(p.at(rid)) {
			return true
		}
	}
	return false
}

// find returns the answered request of which a repeat waits as x.
func (p *replay) find(x exchange) *kept {
	for rid := p.low + 1; rid <= p.high; rid++ {
		if k := p.at(rid); k.x == x {
			return k
		}
	}
	return nil
}

// waiting says whether a repeat waits.
func (p *replay) waiting() bool { return p.any(func(k *kept) bool { return k.x != 0 }) }

// drop forgets everything.
func (p *replay) drop() {
	u, d := p.last()
	*p = replay{low: p.high, high: p.high, u: u, d: d}
}
