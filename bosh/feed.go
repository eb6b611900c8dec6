package bosh

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmlframe"
	"stanzagate/upstream"
)

// feed is one stream of a session: from the server to the machine. Its goroutine opens it and then reads it; what is
// written to it goes through the up lane.
type feed struct {
	// immutable after openLocked
	s       *session
	index   int
	opening upstream.Opening
	state   []byte // of a session that was taken over; nil: it was opened here

	// set by open, immutable afterwards; read under s.mu until then
	stream *upstream.Stream
	domain string

	// guarded by s.mu
	cancel context.CancelFunc // ends Open; nil once that is over
	closed bool               // given up by us
	failed bool               // a write has failed: the reader will find out why
	over   bool               // there is nothing to read any more
	header bool               // a new stream header is to come, or came with Open
	wrote  time.Time          // when we last wrote

	// What elements that are no stanzas are mended for; owned by run. RFC 6120 §8.1.5 gives only stanzas the language of
	// the stream.
	other, streams *xmlframe.Scope

	fragments fragments // of script syntax; owned by the up lane
}

// openLocked starts a stream.
func (s *session) openLocked(o opening) {
	f := &feed{s: s, index: o.stream, opening: upstream.Opening{
		Domain: o.to, From: o.from, Lang: o.lang, Client: s.client, Local: s.local, Managed: s.h.machine.managed && o.stream == 0, Exposed: s.exposed,
	}}
	for len(s.feeds) <= o.stream {
		s.feeds = append(s.feeds, nil)
	}
	if f.opening.Managed {
		f.opening.Owner = s.owner()
	}
	s.feeds[o.stream] = f
	ctx, cancel := context.WithCancel(s.h.ctx)
	f.cancel = cancel
	s.goLocked(func() {
		if f.open(ctx, cancel) {
			f.run()
		}
	})
}

// restAfter is the silence of a server after which the goroutine that reads from it is replaced; it may be twice that.
const restAfter = 2 * time.Second

// run reads the stream to its end.
func (f *feed) run() {
	for f.wanted() {
		if !f.stream.Wait(restAfter) {
			// A goroutine that has passed stanzas on has a stack of 8 KiB. While nothing comes there is none, or where that
			// cannot be a fresh one waits, in the 2 KiB that goroutines begin with.
			f.s.h.wg.Add(1)
			if !f.stream.Await(f.awake) {
				f.s.h.wg.Done()
				f.s.goLocked(f.rest)
			}
			return
		}
		if err := f.receive(); err != nil {
			f.end(err)
			return
		}
	}
}

// awake is run again. Handler.wg has counted it all the time.
func (f *feed) awake() {
	defer f.s.h.wg.Done()
	defer f.s.contain()
	f.run()
}

// rest is run while there is nothing to read.
func (f *feed) rest() {
	f.stream.Park()
	f.s.goLocked(f.run)
}

// open opens the stream. It reports false if there is nothing to read.
func (f *feed) open(ctx context.Context, cancel context.CancelFunc) bool {
	defer cancel()
	s := f.s
	st, err := s.h.cfg.Dialer.Open(ctx, f.opening)
	if err != nil {
		f.unopened(err)
		return false
	}
	// It was served a moment ago. If it is not any more, no restart for it will be.
	domain, _ := s.h.cfg.Dialer.Serves(f.opening.Domain)
	s.mu.Lock()
	unwanted := f.closed || s.over
	if !unwanted {
		f.stream, f.domain, f.header, f.wrote, f.cancel = st, domain, true, time.Now(), nil
	}
	s.mu.Unlock()
	if unwanted {
		_ = st.Cut() // nothing has been said on it yet
	}
	return !unwanted
}

// unopened reports that the server cannot be reached, or does not want us.
func (f *feed) unopened(err error) {
	s := f.s
	s.log(slog.LevelDebug, "stream not opened", err.Error())
	s.event(func(now time.Time) effects {
		var se *upstream.StreamError
		if errors.As(err, &se) {
			return s.m.ended(now, f.index, cause{kind: causeError, raw: prefixed(se.Raw, 0), condition: se.Condition})
		}
		return s.m.openFailed(now, f.index, hostCondition(err))
	})
}

// wanted waits until the machine wants more (BOSH-080). It always returns true: a stream that has been given up is read to
// its end, for the server to have its say.
func (f *feed) wanted() bool {
	s := f.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for !f.closed && !f.failed && !s.over && !s.m.wantsMore() {
		s.more.Wait()
	}
	return true
}

const (
	batchBytes    = 64 << 10
	batchElements = 128
)

// batch collects elements that the server sent in one go, so that they reach the browser in one response. Pooled.
type batch struct {
	raw  []byte
	ends []int
	els  []element

	h            uint32 // of the last <a/>
	acked, asked bool   // by an <a/>, an <r/>
}

var batches = sync.Pool{New: func() any { return new(batch) }}

// receive waits for something from the server, and reports it and what follows it without waiting.
func (f *feed) receive() error {
	ev, err := f.stream.Recv()
	if err != nil {
		return err
	}
	b := batches.Get().(*batch)
	defer b.release()
	for {
		if ev.Kind == upstream.KindElement {
			f.element(b, ev.Element, ev.Counted)
		} else {
			f.manage(b, &ev)
		}
		if len(b.raw) >= batchBytes || len(b.els) >= batchElements || !f.stream.Buffered() {
			break
		}
		if ev, err = f.stream.Recv(); err != nil {
			break
		}
	}
	f.deliver(b)
	f.counts(b)
	return err
}

// element adds one element to a batch.
func (f *feed) element(b *batch, el xmlframe.Element, counted bool) {
	s := f.s
	switch string(el.Space) {
	case ns.Client:
		b.add(el, s.scope, false)
		b.els[len(b.els)-1].stanza = counted
		return
	case ns.Stream:
		if string(el.Local) == "features" {
			f.deliver(b)
			f.opened()
		}
		b.add(el, f.streams, true)
		return
	case ns.SASL, ns.SASL2:
		if string(el.Local) == "failure" {
			s.place.AuthFailed()
		}
	}
	b.add(el, f.other, false)
}

func (b *batch) add(el xmlframe.Element, to *xmlframe.Scope, prefix bool) {
	from := len(b.raw)
	b.raw = el.AppendTo(b.raw, to)
	if prefix {
		b.raw = prefixed(b.raw, from)
	}
	b.ends = append(b.ends, len(b.raw))
	b.els = append(b.els, element{prefix: prefix})
}

// deliver reports what the batch has, and empties it. The elements share one allocation.
func (f *feed) deliver(b *batch) {
	if len(b.els) == 0 {
		return
	}
	own, from := bytes.Clone(b.raw), 0
	for i, end := range b.ends {
		b.els[i].raw = own[from:end:end]
		from = end
	}
	f.s.event(func(now time.Time) effects { return f.s.m.delivered(now, f.index, b.els) })
	b.empty()
}

func (b *batch) empty() {
	clear(b.els)
	b.raw, b.ends, b.els = b.raw[:0], b.ends[:0], b.els[:0]
}

func (b *batch) release() {
	b.empty()
	if cap(b.raw) <= 2*batchBytes {
		batches.Put(b)
	}
}

// opened reports the server's stream header once it is known: with the first features that follow it.
func (f *feed) opened() {
	lang := f.stream.Scope().Lang
	f.other, f.streams = bodyScope(lang), streamScope(lang)
	s := f.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.header {
		f.header = false
		h := f.stream.Header()
		s.eventLocked(func(now time.Time) effects {
			return s.m.opened(now, f.index, streamHeader{id: h.ID, from: h.From, lang: h.Lang, version: h.Version})
		})
		s.delegateLocked()
	}
	if !s.keepBy.IsZero() {
		s.keepBy = earliest(s.keepBy, f.wrote.Add(f.patience())) // the features may say how patient the server is
		s.armLocked()
	}
}

// expectHeader is called before a restart.
func (f *feed) expectHeader() {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.header = true
}

// written notes that the server has heard from us.
func (f *feed) written() {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.wrote = time.Now()
}

// fail notes that a write has failed. The reader, even if it waits for the browser to fetch more, is to see the end: unless
// it has, and the stream goes on over another connection.
func (f *feed) fail(err error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if errors.Is(err, upstream.ErrInterrupted) && !f.stream.Down() {
		return
	}
	f.failed = true
	f.s.more.Broadcast()
}

// patience is how long the server may go without a sign of life.
func (f *feed) patience() time.Duration {
	if idle := f.stream.Idle(); idle > 0 {
		return min(idle/2, keepAlive)
	}
	return keepAlive
}

// end reports the end of the stream.
func (f *feed) end(err error) {
	s := f.s
	c := cause{kind: causeLost, condition: err.Error()}
	var se *upstream.StreamError
	switch {
	case errors.As(err, &se):
		c = cause{kind: causeError, raw: prefixed(se.Raw, 0), condition: se.Condition}
	case errors.Is(err, io.EOF):
		c = cause{kind: causeClean}
	}
	s.log(slog.LevelDebug, "stream ended", err.Error())
	if c.kind == causeLost && f.index == 0 && s.record != nil {
		f.unresumed(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f.over, f.cancel = true, nil
	s.eventLocked(func(now time.Time) effects { return s.m.ended(now, f.index, c) })
	s.retireLocked()
	s.delegateLocked()
}

// unresumed tells the operator why a session is lost, if it was one that could have gone on (UP-069).
func (f *feed) unresumed(err error) {
	s := f.s
	s.mu.Lock()
	expected := f.closed || s.over || s.class == "" && !s.adopting || s.class == upstream.ClassNone
	s.mu.Unlock()
	if expected {
		return
	}
	s.h.failover.NotResumed(lostCause(err))
	s.log(slog.LevelInfo, "bosh session lost", err.Error())
}
