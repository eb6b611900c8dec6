package bosh

import "time"

// The session machine is pure: no I/O, no goroutine, no clock, no randomness. Its methods are the events; each takes the
// time of the event and returns effects. It is not safe for concurrent use: the shell calls it under the session's mutex
// and carries the effects out afterwards, in the order in which they were returned.
//
//	newMachine(now, config, sid, names, x, r)  a creation request arrived; names: one opaque name per stream that the
//	                                           session may have, nil if the browser is not offered streams
//	restoreMachine(now, config, sid, names, settings, counters)
//	                               this replica took the session over (failover-design 7). Requests may be reported at
//	                               once; resumed or ended(0) follows. Its error means that the session cannot go on:
//	                               every request for it gets item-not-found
//	request(now, x, r)             another request arrived; x is new in this session
//	refused(now, x, condition)     a request of this session whose <body/> cannot be read or is too large (BOSH-015,
//	                               BOSH-022): it ends the session
//	gone(now, x)                   the HTTP connection of x broke before x was answered; a late call is harmless
//	opened(now, stream, header)    the server answered the stream header (also after a restart); before delivered
//	openFailed(now, stream, cond)  the stream could not be opened; cond is a condition of XEP-0124 §17.2
//	delivered(now, stream, els)    elements for the browser: features, SASL, stanzas, answers of Admit
//	forwarded(now, rid, stanzas)   the forwarding of rid has been written, all its streams and its restart included;
//	                               stanzas: how many of them XEP-0198 counts, skipped ones included (0 for an unmanaged stream)
//	acked(now, h)                  the server has handled h stanzas (XEP-0198 <a/>); never called on unmanaged streams
//	ackRequested(now)              the server sent <r/>
//	enabled(now, resumable)        the server answered <enable/>. Before the bind result is delivered: the first element
//	                               without stanza on stream 0 after enabled counts as the bind result. It is delivered at
//	                               once, since no server sends it again
//	saved(now, n, ok)              record n is in the store; !ok: refused, this replica is not the owner (any more)
//	resumed(now, h)                the upstream stream was resumed (in place or after a takeover) with
//	                               <resume h=resumeFrom()/>; the server had handled h stanzas. Forwardings that were
//	                               returned before and are not reported yet are void: not to be written nor reported any
//	                               more; they are returned again as far as the server lacks them. Features that
//	                               follow <resumed/> are not delivered
//	ended(now, stream, cause)      the stream is over; nothing more comes from it
//	tick(now)                      effects.next has come; early or needless calls are harmless
//	drain(now)                     give the session away: held requests are answered, new ones get 503 from the shell.
//	                               It returns nothing if no other replica could take the session: it goes on
//	shutdown(now)                  the whole service ends (system-shutdown)
//	standDown(now)                 another replica owns the session: silence
//
// Every event may also be reported after effects.forget; it then returns nothing.
//
// Questions, at any time: wantsMore, settings (what the store keeps beside the counters; it never changes after
// newMachine), and resumeFrom, asked immediately before <resume/> is written: from then until resumed the machine
// acknowledges nothing, since an <a/> that overtakes would make the server's count and ours differ.

// exchange names one HTTP request and its response inside a session. The shell counts them up from 1.
type exchange uint64

// element is one first-level element on its way to the browser.
type element struct {
	raw    []byte // complete, mended for <body/>; belongs to the machine from delivered on
	stanza bool   // XEP-0198 counts it: not the bind result, nothing before <enabled/>
	prefix bool   // it uses the prefix stream, which <body/> must then declare (XBOSH-002)
}

// effects is what the shell has to do after an event. The zero value is nothing. Two lanes, each first in, first out:
// up (open, forward, bounce, close), which may block on a server, and down (save, then answer, then end).
//
// No answer leaves before the newest record that was returned with it or earlier is in the store. As long as the store
// cannot be asked the shell gives 503 in place of the answer; the browser repeats, the machine answers again.
// A terminal answer or an end of a session that others could take over comes with a record too, changed or not: writing
// it is the check that this replica is still the owner (failover-design 6). If it is refused the end is void as well.
// The streams of such a session are closed once that record is saved, not earlier.
//
// The slices themselves are the machine's and valid until the next event: the shell copies their entries to its lanes.
// What the entries refer to (payload, raw, counters) stays: the payload of a request is the machine's until the request is
// answered.
type effects struct {
	csi     csiState // not zero: tell the server again, ahead of forward (after resumed)
	open    []opening
	forward []forwarding
	bounce  []bounce
	close   []closing

	save   *record // nil: nothing to store
	answer []answer

	ackUpstream bool   // send <a h/> now; only what the store already holds is acknowledged
	h           uint32 // for ackUpstream

	end    *ending // set once: the session is over; its record is to be deleted after the answers. Answers may follow
	forget bool    // the sid is invalid from now on and the machine can be dropped

	note string // not "": something for the debug log, a fixed text

	next time.Time // call tick then; zero: never
}

// opening asks for a stream to the server. The shell reports opened or openFailed.
type opening struct {
	stream  int
	to      string // domain
	from    string // JID, "" if not named
	lang    string
	route   string
	version string // of the stream (XBOSH-006)
}

// forwarding is one request's part for the server. The shell writes it in one go and reports forwarded, also if
// some element was refused or a stream is lost; forwardings never overtake each other.
type forwarding struct {
	rid     uint64
	streams streamSet // where to; more than one: a copy to each (BOSH-157)
	payload []payload // may be empty
	skip    int       // leave out that many stanzas at the front: the server has them (takeover)
	restart bool      // open a new stream on the connection first; payload is then empty (XBOSH-014)
	to      string    // restart: from the request, "" as at creation
	lang    string    // restart: likewise
	from    string    // restart: likewise
	sync    bool      // ask for <a/> (managed streams)
}

// reset empties e. It keeps the memory of the slices that are always needed, but nothing that they referred to.
func (e *effects) reset() {
	clear(e.forward)
	clear(e.answer)
	*e = effects{forward: e.forward[:0], answer: e.answer[:0]}
}

// bounce hands over stanzas that the browser will never get because its session ends while the stream lives. The shell
// sends to the server what RFC 6120 §8.3 wants for each (XBOSH-020): nothing for presence, nor for type error or result;
// recipient-unavailable for message; service-unavailable for iq. Never on a stream with XEP-0198 (XBOSH-021).
type bounce struct {
	stream int
	els    []element
}

// csiState is what the browser last told the server with XEP-0352.
type csiState uint8

const (
	csiUnknown csiState = iota
	csiActive
	csiInactive
)

// streamSet has bit i set for stream i.
type streamSet uint32

func (s streamSet) has(stream int) bool { return s>>uint(stream)&1 != 0 }

// answerKind says how an exchange ends.
type answerKind uint8

const (
	answerBody        answerKind = iota // the response
	answerUnavailable                   // HTTP 503 with Retry-After: the browser repeats the request (BOSH-017)
	answerNothing                       // the connection is closed without an answer (stand down)
)

// answer ends one exchange. Each exchange gets exactly one, unless it was reported gone before.
type answer struct {
	x        exchange
	kind     answerKind
	response response // answerBody only
}

// closeHow says how an upstream stream is given up.
type closeHow uint8

const (
	closeClean closeHow = iota // </stream:stream>: the server ends the session
	closeCut                   // the TCP connection alone: the server keeps the session resumable
)

type closing struct {
	stream int
	how    closeHow
}

// ending says why a session ended, for log, metrics and store.
type ending struct {
	condition string // of XEP-0124 §17.2; "" for a plain end
	reason    string // a fixed text for the log
	keep      bool   // the record must stay: the session lives on elsewhere
	release   bool   // with keep: it is given away, once its record is stored (drain); else it has been taken
}

// streamHeader is what the server's stream header said.
type streamHeader struct{ id, from, lang, version string }

// causeKind says how an upstream stream ended.
type causeKind uint8

const (
	causeClean   causeKind = iota // </stream:stream>
	causeError                    // <stream:error/>
	causeLost                     // the connection broke, and could not be resumed: item-not-found for the browser
	causeRefused                  // Admit refused an element of the browser; the machine closes the stream
)

// cause of an upstream stream's end.
type cause struct {
	kind      causeKind
	raw       []byte // causeError: the stream:error element, mended for <body/> (XBOSH-018); causeRefused: one made for it, or nil
	condition string // causeRefused: the RFC 6120 §4.9.3 condition; else for the log
}
