package bosh

import (
	"errors"
	"log/slog"
	"time"

	"stanzagate/upstream"
)

// The up lane of a session: what it writes to servers, first in, first out. Writing may block for as long as a server
// takes nothing, so it is never done by a goroutine that reads from one. There is no goroutine for it either: a request
// writes its own payload on the goroutine that net/http serves it on, which is free to do so because a request is not
// answered before it is forwarded. Whatever else is in the lane gets a goroutine that ends with it.

type upKind uint8

const (
	upForward upKind = iota
	upBounce
	upClose
	upNote
	upAck
	upCSI
	upAsk
	upProceed
)

// upItem is one entry of the lane.
type upItem struct {
	kind    upKind
	forward forwarding
	bounce  bounce
	close   closing
	note    *note
	csi     csiState
	past    uint32 // upProceed

	generation int  // upForward: of the session when it was returned
	late       bool // upForward: stream 0 was resumed since; nothing is reported any more
}

// turnLocked reports whether there is work that nobody does; the caller has to do it then, with work. Shutdown waits for
// whoever has the turn: the session counts until it is forgotten, so this is never the first to be added.
func (s *session) turnLocked() bool {
	if s.working || len(s.up) == 0 {
		return false
	}
	s.working = true
	s.h.wg.Add(1)
	return true
}

// delegateLocked has the work done by a goroutine.
func (s *session) delegateLocked() {
	if s.turnLocked() {
		s.goLocked(func() { s.work(false) })
	}
}

// work carries out the lane's entries until there are none. For a request that is the first one only: others, which came in
// meanwhile, would keep it from its answer.
func (s *session) work(request bool) {
	defer s.h.wg.Done()
	for {
		item, ok := s.nextItem()
		if !ok {
			return
		}
		s.perform(&item)
		if request {
			s.handOver()
			return
		}
	}
}

// nextItem takes the next entry. At the end it gives the turn back.
func (s *session) nextItem() (upItem, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.up) == 0 {
		s.working = false
		return upItem{}, false
	}
	item := s.up[0]
	n := copy(s.up, s.up[1:])
	s.up[n] = upItem{}
	s.up = s.up[:n]
	return item, true
}

// handOver gives the turn back, to a goroutine of its own if there is more to do.
func (s *session) handOver() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.working = false
	s.delegateLocked()
}

func (s *session) perform(item *upItem) {
	switch item.kind {
	case upForward:
		s.forward(item)
	case upBounce:
		s.bounce(&item.bounce)
	case upClose:
		s.closeStream(item.close)
	case upAck:
		s.acknowledge()
	case upAsk:
		s.ask()
	case upCSI:
		s.tellCSI(item.csi)
	case upProceed:
		if f := s.feedOf(0); f != nil {
			f.stream.Proceed(item.past)
		}
	case upNote:
		s.h.cfg.Log.LogAttrs(s.h.ctx, item.note.level, item.note.msg, item.note.attrs...)
	}
}

// feedOf returns a stream that can be written to, nil if there is none.
func (s *session) feedOf(stream int) *feed {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stream >= len(s.feeds) {
		return nil
	}
	f := s.feeds[stream]
	if f.stream == nil || f.closed {
		return nil
	}
	return f
}

// forward writes one request's part to its streams (BOSH-070: in rid order, as the lane is).
func (s *session) forward(item *upItem) {
	f := &item.forward
	if s.record != nil && !s.record.MayWrite() && s.record.Confirm(s.h.ctx) != nil {
		return // UP-127: the session is another replica's, or all is over
	}
	counted, void := 0, item.late
	for stream := 0; f.streams>>uint(stream) != 0; stream++ {
		if !f.streams.has(stream) {
			continue
		}
		if to := s.feedOf(stream); to != nil {
			n, interrupted := to.write(f)
			counted += n
			void = void || interrupted
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if void || item.generation != s.generation {
		return // it is returned again when the stream has been resumed
	}
	s.written = f.rid
	s.eventLocked(func(now time.Time) effects { return s.m.forwarded(now, f.rid, counted) })
	s.askLocked()
	s.delegateLocked()
}

// write carries out a forwarding on one stream: everything in one write. It returns how many stanzas of it XEP-0198 counts,
// and whether the connection broke and the stream is being resumed.
func (f *feed) write(fw *forwarding) (counted int, interrupted bool) {
	if fw.restart {
		f.restart(fw)
		return 0, false
	}
	if len(fw.payload) == 0 {
		return 0, false
	}
	size := 0
	for i := range fw.payload {
		size += len(fw.payload[i].frame.Raw) + 64
	}
	out := getBuffer(size)
	defer putBuffer(out)
	d := draft{feed: f, out: f.appendAck(out.b), skip: fw.skip}
	if f.s.script {
		f.fragments.each(fw.payload, &d)
	} else {
		for i := range fw.payload {
			if !d.add(&fw.payload[i]) {
				break
			}
		}
	}
	if fw.sync && d.fresh > 0 {
		before := len(d.out)
		d.out = f.stream.AppendAckRequest(d.out)
		d.unasked = len(d.out) == before
	}
	out.b = d.out
	return d.counted, d.send()
}

// draft is what one forwarding writes to one stream.
type draft struct {
	feed     *feed
	out      []byte // admitted
	cuts     []int  // where out is cut into records
	elements int
	bytes    int
	skip     int       // stanzas to leave out: the server has them (failover-design 7.3)
	counted  int       // stanzas that XEP-0198 counts, those that are left out included
	fresh    int       // those that are not left out
	unasked  bool      // for an <a/>
	answers  []element // of the gateway, to the browser
	refused  string    // stream error condition; "" for none
}

// add asks upstream what becomes of an element. It reports whether more may follow.
func (d *draft) add(p *payload) bool {
	before := len(d.out)
	a, err := d.feed.stream.Admit(d.out, p.frame)
	if err != nil {
		d.refused = internalServerError
		return false
	}
	switch a.Action {
	case upstream.Forward:
		if a.Stanza {
			d.counted++
			if d.skip > 0 {
				d.skip--
				return true
			}
			d.fresh++
		}
		d.out = a.Bytes
		d.cut(before)
		d.elements++
		d.bytes += len(p.frame.Raw)
	case upstream.Answer:
		d.answers = append(d.answers, element{raw: append([]byte(nil), a.Bytes[before:]...)})
	case upstream.Refuse:
		d.refused = a.Condition
		return false
	case upstream.Drop:
	}
	return true
}

// recordBytes is what is written at once, if it is more than one element: a TLS record holds 16 KiB, and an <r/> may follow.
const recordBytes = 16<<10 - 128

// cut begins another record with the element from before on, if this one would grow too large. Some servers read what comes
// on a resumed stream as the rest of an element that was torn when the former owner died (failover-design 11); a record is
// read as a whole or not at all.
func (d *draft) cut(before int) {
	from := 0
	if n := len(d.cuts); n > 0 {
		from = d.cuts[n-1]
	}
	if before > from && len(d.out)-from > recordBytes {
		d.cuts = append(d.cuts, before)
	}
}

// write writes the records.
func (d *draft) write() error {
	from := 0
	for _, to := range d.cuts {
		if err := d.feed.stream.Send(d.out[from:to]); err != nil {
			return err
		}
		from = to
	}
	return d.feed.stream.Send(d.out[from:])
}

// send writes the draft, and reports what else came of it. If it is interrupted all of it will come again.
func (d *draft) send() (interrupted bool) {
	f, s := d.feed, d.feed.s
	if len(d.out) > 0 {
		if err := d.write(); err != nil {
			f.fail(err)
			if errors.Is(err, upstream.ErrInterrupted) {
				return true
			}
		} else {
			s.h.cfg.Metrics.FromBrowser(d.elements, d.bytes)
			f.written()
		}
	}
	if d.unasked {
		s.mu.Lock()
		s.acks.unasked = true
		s.mu.Unlock()
	}
	if len(d.answers) > 0 {
		s.event(func(now time.Time) effects { return s.m.delivered(now, f.index, d.answers) })
	}
	if d.refused != "" {
		f.refuse(d.refused)
	}
	return false
}

// restart opens a new stream on the connection (XBOSH-013).
func (f *feed) restart(fw *forwarding) {
	if fw.to != "" {
		// XBOSH-015: the domain of a session does not change.
		if domain, err := f.s.h.cfg.Dialer.Serves(fw.to); err != nil || domain != f.domain {
			f.refuse(improperAddressing)
			return
		}
	}
	o := f.opening
	if fw.lang != "" {
		o.Lang = fw.lang
	}
	if fw.from != "" {
		o.From = fw.from
	}
	f.expectHeader()
	if err := f.stream.Restart(o); err != nil {
		// XEP-0206 §5 follows RFC 6120 §6.4.6: a restart comes after SASL success, and only once. If it is the connection
		// that is at fault the reader finds the same.
		f.refuse("not-authorized")
		return
	}
	f.written()
}

// refuse ends a stream because of what the browser wanted of it.
func (f *feed) refuse(condition string) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.s.refuseLocked(f.index, condition)
	f.s.delegateLocked()
}

func (s *session) refuseLocked(stream int, condition string) {
	s.noteLocked(slog.LevelDebug, "stream refused", condition)
	s.eventLocked(func(now time.Time) effects {
		return s.m.ended(now, stream, cause{kind: causeRefused, raw: appendStreamError(nil, condition), condition: condition})
	})
}

// lastAckLocked has what is due said with the last words (UP-065).
func (s *session) lastAckLocked(f *feed) {
	if h, due := s.acks.take(); due {
		f.stream.AppendAck(nil, h)
	}
}

// closeStream gives a stream up. What takes time is done beside the lane: the other streams of the session live on.
func (s *session) closeStream(c closing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeLocked(c)
}

func (s *session) closeLocked(c closing) {
	if c.stream >= len(s.feeds) {
		return
	}
	f := s.feeds[c.stream]
	if f.closed {
		return
	}
	f.closed = true
	s.more.Broadcast() // its reader has to see the end
	switch {
	case f.cancel != nil:
		f.cancel() // it is not open yet
	case f.stream == nil:
	case (c.how == closeCut && !s.gone || s.kept) && s.class != "" && s.class != upstream.ClassNone: // else the server keeps it for nobody
		s.goLocked(func() { _ = f.stream.Cut() })
	default:
		if c.stream == 0 {
			s.lastAckLocked(f)
		}
		// What Close cannot say in time to a server that does not listen stays unsaid.
		s.goLocked(func() { _ = f.stream.Close(s.h.ctx) })
	}
}
