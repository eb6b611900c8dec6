package bosh

import (
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
)

// upItem is one entry of the lane.
type upItem struct {
	kind    upKind
	forward forwarding
	bounce  bounce
	close   closing
	note    *note
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
		s.forward(&item.forward)
	case upBounce:
		s.bounce(&item.bounce)
	case upClose:
		s.closeStream(item.close)
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
func (s *session) forward(f *forwarding) {
	for stream := 0; f.streams>>uint(stream) != 0; stream++ {
		if !f.streams.has(stream) {
			continue
		}
		if to := s.feedOf(stream); to != nil {
			to.write(f)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written = f.rid
	s.eventLocked(func(now time.Time) effects { return s.m.forwarded(now, f.rid, 0) })
	s.delegateLocked()
}

// write carries out a forwarding on one stream: everything in one write.
func (f *feed) write(fw *forwarding) {
	if fw.restart {
		f.restart(fw)
		return
	}
	if len(fw.payload) == 0 {
		return
	}
	size := 0
	for i := range fw.payload {
		size += len(fw.payload[i].frame.Raw) + 64
	}
	out := getBuffer(size)
	defer putBuffer(out)
	d := draft{feed: f, out: out.b}
	if f.s.script {
		f.fragments.each(fw.payload, &d)
	} else {
		for i := range fw.payload {
			if !d.add(&fw.payload[i]) {
				break
			}
		}
	}
	out.b = d.out
	d.send()
}

// draft is what one forwarding writes to one stream.
type draft struct {
	feed     *feed
	out      []byte // admitted
	elements int
	bytes    int
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
		d.out = a.Bytes
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

// send writes the draft, and reports what else came of it.
func (d *draft) send() {
	f, s := d.feed, d.feed.s
	if len(d.out) > 0 {
		if err := f.stream.Send(d.out); err != nil {
			f.fail()
		} else {
			s.h.cfg.Metrics.FromBrowser(d.elements, d.bytes)
			f.written()
		}
	}
	if len(d.answers) > 0 {
		s.event(func(now time.Time) effects { return s.m.delivered(now, f.index, d.answers) })
	}
	if d.refused != "" {
		f.refuse(d.refused)
	}
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

// closeStream gives a stream up. What takes time is done beside the lane: the other streams of the session live on.
func (s *session) closeStream(c closing) {
	s.mu.Lock()
	defer s.mu.Unlock()
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
	case c.how == closeCut:
		s.goLocked(func() { _ = f.stream.Cut() })
	default:
		// What Close cannot say in time to a server that does not listen stays unsaid.
		s.goLocked(func() { _ = f.stream.Close(s.h.ctx) })
	}
}
