package bosh

import (
	"bytes"
	"time"

	"stanzagate/internal/xmlframe"
)

// simHostile keeps no rules: random rids, repeats, floods, wrong keys, acks and pauses. It may break its own session,
// nothing else, and the machine has to stay within its bounds.
type simHostile struct {
	w       *simWorld
	site    *simSite
	sid     string
	rid     uint64
	left    int // requests to send
	born    int // sessions so far
	logsIn  bool
	stopped bool
	over    bool
}

func newSimHostile(site *simSite) *simHostile {
	return &simHostile{w: site.w, site: site, left: 50 + site.w.rng.IntN(200)}
}

func (h *simHostile) start() {
	w := h.w
	h.born++
	h.sid = ""
	h.rid = 1 + w.rng.Uint64N(1000)
	r := request{
		rid: h.rid, to: "localhost", hasVer: w.chance(0.7), ver: version{w.rng.IntN(3), w.rng.IntN(20)},
		hasWait: w.chance(0.7), wait: w.rng.IntN(100000), hasHold: w.chance(0.7), hold: w.rng.IntN(300),
		hasAck: w.chance(0.3), ack: w.rng.Uint64N(3), xmppVersion: "1.0", bytes: 100,
	}
	if w.chance(0.2) {
		r.newkey = "da39a3ee5e6b4b0d3255bfef95601890afd80709"
	}
	if w.chance(0.2) {
		r.payload = h.junk()
	}
	h.post(r)
	h.logsIn = w.chance(0.5)
	h.next()
}

// login sends what makes the server believe in it, without looking at the answers.
func (h *simHostile) login() {
	h.logsIn = false
	for i, r := range []request{
		{payload: []payload{simPayload(simAuth, 1, 0)}},
		{restart: true, to: "localhost"},
		{payload: []payload{simPayload(simBind, 2, 0)}},
	} {
		h.rid++
		r.sid, r.rid, r.bytes = h.sid, h.rid, 100
		h.w.after(time.Duration(i)*700*time.Millisecond, func() { h.post(r) })
	}
}

func (h *simHostile) stop() { h.stopped = true }

func (h *simHostile) post(r request) {
	t := &simTry{w: h.w, site: h.site, name: "hostile", orderly: true, onError: func() {}}
	t.make = func() *request { c := r; return &c }
	t.onAnswer = func(a answer) {
		if a.kind == answerBody && a.response.created != nil {
			h.sid = a.response.created.sid
		}
		if a.kind == answerBody && a.response.terminate {
			h.sid = ""
		}
	}
	if r.sid != "" && h.w.chance(0.01) {
		t.refuse = pick(h.w.rng, "bad-request", "policy-violation")
	}
	if h.w.trace != nil {
		h.w.trace.add(h.w.clock, "hostile", "sends %s", traceRequest(&r))
	}
	t.send()
	if h.w.chance(0.2) {
		h.w.after(h.w.between(0, 3*time.Second), t.abort)
	}
}

func (h *simHostile) junk() []payload {
	n := 1 + h.w.rng.IntN(5)
	var out []payload
	for range n {
		raw := append([]byte("<active>"), bytes.Repeat([]byte("y"), h.w.rng.IntN(simLargest-100))...)
		raw = append(raw, "</active>"...)
		if h.w.chance(0.3) {
			out = append(out, simPayload(simMessage, 1, h.w.rng.IntN(300)))
			continue
		}
		out = append(out, payload{frame: xmlframe.Element{Raw: raw, Space: simOtherSpace, Local: []byte(simActive)}, stanza: h.w.chance(0.5)})
	}
	return out
}

// next sends one request after the other, mostly near the right rid.
func (h *simHostile) next() {
	w := h.w
	w.after(w.between(0, 400*time.Millisecond), func() {
		if h.stopped || h.left <= 0 {
			h.over = true
			return
		}
		h.left--
		if h.sid == "" {
			if h.born < 10 && w.chance(0.1) {
				h.start()
				return
			}
			h.next()
			return
		}
		if h.logsIn {
			h.login()
			h.w.after(3*time.Second, h.next)
			return
		}
		h.post(h.strange())
		h.next()
	})
}

func (h *simHostile) strange() request {
	w := h.w
	r := request{sid: h.sid, bytes: 100}
	switch w.rng.IntN(12) {
	case 0:
		r.rid = 1 + w.rng.Uint64N(1<<53-1)
	case 1:
		r.rid = h.rid - min(h.rid-1, w.rng.Uint64N(6))
	case 2:
		r.rid = h.rid + w.rng.Uint64N(6)
	case 3:
		r.rid = h.rid
	default:
		h.rid++
		r.rid = h.rid
	}
	if w.chance(0.4) {
		r.payload = h.junk()
		for _, p := range r.payload {
			r.bytes += len(p.frame.Raw)
		}
	}
	r.hasAck, r.ack = w.chance(0.2), h.rid+w.rng.Uint64N(4)-2
	if w.chance(0.05) {
		r.hasPause, r.pause = true, w.rng.IntN(1000)
	}
	r.terminate = w.chance(0.02)
	r.restart = w.chance(0.02)
	if w.chance(0.05) {
		r.key = "aa"
	}
	if w.chance(0.05) {
		r.stream = "nowhere"
	}
	return r
}
