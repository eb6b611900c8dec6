package bosh

import (
	"bytes"
	"slices"
	"time"
)

// simTruth is what really happened to one session, over all machines that ever served it: what the browser wrote and
// the server got, what the server wrote and the browser got. Rules that only an all-knowing observer can judge are
// checked here.
type simTruth struct {
	w       *simWorld
	sid     string
	streams []*simTruthStream

	released  map[uint64]simReleased // contents of the answers that left, by rid
	committed map[uint64]simReleased // what the newest machine decided on, left or not
	grant     simGrant
	skipped   map[uint64]bool // rids that the browser will never repeat, without having read their answer
	online    func(stream int)

	lastSeen time.Duration // a request came, was answered or broke
	toAll    int           // elements that the browser has sent to all streams
	honest   bool
	mayDie   string // why the session of an honest browser may die; "": it may not
	lossy    bool   // the store has lost a record of it
	forgiven bool   // nothing is owed to the browser any more (it gave up, or vanished)
}

// simReleased is the content of an answer.
type simReleased struct {
	stream  int
	numbers []int
}

// simGrant is what the session was promised at its creation: a machine that takes it over is bound by it.
type simGrant struct {
	wait, inactivity time.Duration
	hold, window     int
	acks, legacy     bool
}

// simTruthStream is the part of one stream.
type simTruthStream struct {
	truth  *simTruth
	index  int
	server *simStream
	upNext int // number that the server has to get next
	upSent int // highest number that the browser has put into a request

	toAllNext int // 0: none came yet

	downSent  int    // highest number that the server has sent
	delivered int    // highest number that a machine was given
	got       []bool // by number: the browser has it
	has       int    // the browser has all up to here
	read      int    // the browser has read all up to here, in rid order

	serverEnded bool
	endKind     causeKind
	errorRaw    string
}

func newSimTruth(w *simWorld, sid string) *simTruth {
	return &simTruth{
		w: w, sid: sid, released: map[uint64]simReleased{}, committed: map[uint64]simReleased{},
		skipped: map[uint64]bool{},
	}
}

func (t *simTruth) stream(i int) *simTruthStream {
	for len(t.streams) <= i {
		t.streams = append(t.streams, &simTruthStream{truth: t, index: len(t.streams), upNext: 1})
	}
	return t.streams[i]
}

func (s *simTruthStream) online() {
	if s.truth.online != nil {
		s.truth.online(s.index)
	}
}

// release notes an answer to rid that a machine let go. The same rid always gets the same content (failover-design 2.4);
// servers add a <delay/> to what they send again, so numbers are compared (6).
func (t *simTruth) release(rid uint64, stream int, els []element) {
	content := simContent(stream, els)
	if old, ok := t.released[rid]; ok && !t.lossy {
		if !slices.Equal(old.numbers, content.numbers) {
			t.w.fail("invariant-4/other-answer", "rid %d was answered with %v, now with %v", rid, old.numbers, content.numbers)
		}
		return
	}
	t.released[rid] = content
	if t.skipped[rid] {
		t.mark(content)
	}
}

// commit notes an answer that a machine decided on. It has not left yet, and perhaps never will.
func (t *simTruth) commit(rid uint64, stream int, els []element) {
	t.committed[rid] = simContent(stream, els)
	if t.skipped[rid] {
		t.mark(t.committed[rid])
	}
}

func simContent(stream int, els []element) simReleased {
	content := simReleased{stream: stream}
	for _, el := range els {
		if n, ok := simNumber(el.raw); ok {
			content.numbers = append(content.numbers, n)
		}
	}
	return content
}

// content is what rid was, or would have been, answered with.
func (t *simTruth) content(rid uint64) (simReleased, bool) {
	if content, ok := t.released[rid]; ok {
		return content, true
	}
	content, ok := t.committed[rid]
	return content, ok && t.skipped[rid]
}

// handled says whether the server has these elements of the browser, whoever brought them: a login that was under way when
// the session was taken over is not repeated.
func (t *simTruth) handled(ps []payload) bool {
	for _, p := range ps {
		if n, ok := simNumber(p.frame.Raw); ok && n >= t.stream(0).upNext {
			return false
		}
	}
	return true
}

// mark notes that the browser has an answer's content, or will never ask for it again.
func (t *simTruth) mark(content simReleased) {
	s := t.stream(content.stream)
	for _, n := range content.numbers {
		for len(s.got) <= n {
			s.got = append(s.got, false)
		}
		s.got[n] = true
	}
	for s.has+1 < len(s.got) && s.got[s.has+1] {
		s.has++
	}
}

// skip notes that the browser goes on without the answer to rid.
func (t *simTruth) skip(rid uint64) {
	t.skipped[rid] = true
	if content, ok := t.content(rid); ok {
		t.mark(content)
	}
}

// received checks what the browser got for rid against what was released.
func (t *simTruth) received(rid uint64, els []element) {
	content, ok := t.released[rid]
	if !ok && len(els) > 0 {
		t.w.fail("world/unreleased", "browser got an answer to rid %d that no machine gave", rid)
		return
	}
	t.mark(content)
}

// advance reads the answers up to rid in rid order: what they hold must continue what was read before, without a gap and
// without a repeat.
func (t *simTruth) advance(from, to uint64) {
	for rid := from; rid <= to; rid++ {
		content, ok := t.content(rid)
		if !ok {
			continue
		}
		s := t.stream(content.stream)
		for _, n := range content.numbers {
			if n <= s.read && t.lossy {
				continue // failover-design 12: nobody knows any more what went into an answer that the store forgot
			}
			if n != s.read+1 {
				t.w.fail("downstream/order", "answer to rid %d holds element %d of stream %d, the browser has read up to %d",
					rid, n, s.index, s.read)
				return
			}
			s.read = n
		}
	}
}

// terminal checks a terminate body (XBOSH-018, XBOSH-019): children only with a stream error, and then at the end.
func (t *simTruth) terminal(p response) {
	for i, el := range p.payload {
		if simName(el.raw) != simStreamError {
			continue
		}
		if i != len(p.payload)-1 {
			t.w.fail("XBOSH-018/order", "the stream error is not the last element of the terminate body")
		}
		if p.condition != "remote-stream-error" {
			t.w.fail("XBOSH-018/condition", "stream error with condition %q", p.condition)
		}
		for _, s := range t.streams {
			if s.errorRaw != "" && bytes.Equal(el.raw, []byte(s.errorRaw)) {
				return
			}
		}
		t.w.fail("XBOSH-018/copy", "the stream error was changed: %s", el.raw)
		return
	}
	if len(p.payload) > 0 {
		t.w.fail("terminate/children", "terminate body with condition %q has children without a stream error", p.condition)
	}
}
