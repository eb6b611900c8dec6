package bosh

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"stanzagate/internal/peer"
	"stanzagate/internal/replica"
	"stanzagate/sessionstore"
	"stanzagate/upstream"
)

// Requests for sessions of other replicas, and sessions that this replica takes over (failover-design 7). What is the same
// for any transport is in internal/replica; here is what is BOSH.

const transportName = "bosh" // in records

// own is the transport's part of a record: what a replica that takes the session over needs beside the counters.
type own struct {
	Settings string         `json:"s"` // machine.settings
	Client   netip.AddrPort `json:"c"` // of the creation request
	Local    netip.AddrPort `json:"l"`
	Cert     []byte         `json:"x,omitempty"` // of the browser's certificate (BOSH-179)
}

// ownLocked is what the record of this session says.
func (s *session) ownLocked() ([]byte, error) {
	o := own{Settings: s.m.settings(), Client: s.client, Local: s.local}
	if s.cert != ([len(s.cert)]byte{}) {
		o.Cert = s.cert[:]
	}
	return json.Marshal(o)
}

// isSID reports whether it can be one of ours, so that nothing is asked for others.
func isSID(raw []byte) bool {
	const length = (sidBytes*8 + 5) / 6 // in base64
	if len(raw) != length {
		return false
	}
	for _, c := range raw {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// route brings a request to the replica that has its session, or the session here. err is what was wrong with the request:
// that is for the session's owner to judge.
func (v *visit) route(req *request, err error) {
	var body []byte
	if req.buffer != nil {
		body = req.buffer.b
		v.r.Header.Del("Content-Encoding") // it has been decoded
	}
	sid := string(req.sidRaw)
	for range 2 {
		switch v.h.cfg.Replica.Route(replica.Request{W: v.w, R: v.r, Peer: v.peer, Body: body}, sid, arrival{v.h, sid}) {
		case replica.Done:
			req.recycle()
			return
		case replica.Here:
			if s := v.h.registry.get(keyOf(sid)); s != nil {
				v.attend(s, req, err)
				return
			}
			continue // it was, a moment ago, or could not go on: somebody else has it, or nobody
		case replica.NoSession:
			req.recycle()
			v.reject(itemNotFound, false) // BOSH-142; the store has been asked
			return
		case replica.Unavailable:
		case replica.Abort:
			panic(http.ErrAbortHandler)
		}
		break
	}
	v.unavailable()
}

// Handed serves a request that another replica has handed on. It reports whether the session is here; if it is not, nothing
// has been written. It panics with http.ErrAbortHandler to close a connection without an answer.
func (h *Handler) Handed(w http.ResponseWriter, r *http.Request) (mine bool) {
	return h.serve(w, r, true)
}

// arrival is what the sessions of this replica are for one request. It implements replica.Sessions.
type arrival struct {
	h   *Handler
	sid string
}

func (a arrival) Has(sessionstore.Key) bool { return a.h.registry.get(keyOf(a.sid)) != nil }

// Adopt makes the session that this replica has claimed. It goes on when its stream has been resumed; requests wait.
func (a arrival) Adopt(_ sessionstore.Key, claimed sessionstore.Claimed) {
	s := &session{h: a.h, sid: a.sid, key: keyOf(a.sid)}
	s.more.L = &s.mu
	state, entered, err := s.adopt(claimed)
	switch {
	case err != nil:
		a.h.lost(s, state, err)
	case !entered:
		a.h.errand(func() { _ = s.record.Release(a.h.ctx) }) // else our lease will be over soon
	}
}

// adopt has the session go on here. It holds mu from before the session's record is known until all is set up: Lost may be
// called meanwhile, and requests may come. Of a session that is not entered nothing is left but its record.
func (s *session) adopt(claimed sessionstore.Claimed) (state []byte, entered bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	record, static, err := s.h.cfg.Replica.Adopted(s.sid, claimed, s.h.cfg.recordTTL(), s)
	s.record = record
	if err == nil && static.Transport != transportName {
		err = fmt.Errorf("it is a session of %q", static.Transport)
	}
	if err == nil {
		err = s.restore(&static, claimed.Counters)
	}
	if err != nil || !s.h.enter(s) {
		s.over = true
		return static.Upstream, false, err
	}
	s.place = s.h.cfg.Quota.Readmit(s.client.Addr())
	s.h.cfg.Metrics.SessionStarted()
	s.noteLocked(slog.LevelInfo, "bosh session taken over", "", slog.String("loss", claimed.Loss.String()))
	s.resumeLocked(static.Upstream)
	s.delegateLocked()
	return nil, true, nil
}

// restore sets up a session from its record.
func (s *session) restore(static *replica.Static, counters string) error {
	var o own
	if err := json.Unmarshal(static.Own, &o); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	s.client, s.local = o.Client, o.Local
	copy(s.cert[:], o.Cert)
	var names []string
	if s.h.cfg.Streams > 1 {
		names = newNames(s.h.cfg.Streams)
	}
	m, e, err := restoreMachine(time.Now(), s.h.machine, s.sid, names, o.Settings, counters)
	if err != nil {
		return err
	}
	s.m, s.next = m, e.next
	s.secure, s.script, s.scope = m.set.secure, m.set.script, bodyScope(m.set.lang)
	s.exposed = exposed(peer.Peer{Addr: s.client, Secure: s.secure})
	return nil
}

// resumeLocked begins to resume the stream of a session that was just taken over.
func (s *session) resumeLocked(state []byte) {
	f := &feed{s: s, state: state, opening: upstream.Opening{
		Domain: s.m.set.to, Lang: s.m.set.lang, Client: s.client, Local: s.local, Managed: true,
	}}
	f.opening.Owner = s.owner()
	s.feeds = []*feed{f}
	s.adopting = true
	ctx, cancel := context.WithCancel(s.h.ctx)
	f.cancel = cancel
	s.keepBy, s.upkeepBy = time.Now().Add(keepAlive), s.record.TouchDue()
	s.armLocked()
	s.goLocked(func() {
		defer cancel()
		if f.adopt(ctx) {
			f.run()
		}
	})
}

const (
	firstResumePause   = 100 * time.Millisecond // between attempts; doubled each time
	longestResumePause = 10 * time.Second
)

// adopt resumes the stream. As long as the server cannot be reached, or the store cannot be asked whether the session still
// is ours, it tries again, until the server must have given the session up (UP-070). It reports whether there is a stream to
// read.
func (f *feed) adopt(ctx context.Context) bool {
	s := f.s
	window := time.Now().Add(f.opening.Owner.Max)
	for wait := firstResumePause; ; wait = min(2*wait, longestResumePause) {
		st, resumed, err := s.h.cfg.Dialer.Resume(ctx, f.state, f.opening)
		passing := errors.Is(err, upstream.ErrUnreachable) || errors.Is(err, sessionstore.ErrUnavailable)
		switch {
		case err == nil:
			f.adopted(st, resumed)
			return true
		case passing && time.Now().Before(window) && ctx.Err() == nil:
			s.log(slog.LevelDebug, "stream not resumed yet", err.Error())
			_ = replica.Pause(ctx, wait) // ended early if the session is over
		default:
			f.end(err)
			return false
		}
	}
}

// adopted goes on with the resumed stream.
func (f *feed) adopted(st *upstream.Stream, resumed upstream.Resumed) {
	s := f.s
	lang := st.Scope().Lang
	f.other, f.streams = bodyScope(lang), streamScope(lang)
	took := time.Since(s.record.Since())
	s.mu.Lock()
	f.stream, f.cancel, f.wrote = st, nil, time.Now()
	s.adopting, s.acks.sent = false, resumed.Told
	s.classLocked(st.Class())
	unwanted := f.closed || s.over
	if unwanted {
		f.closed = false // it had no stream
		s.closeLocked(closing{how: closeClean})
	} else {
		s.upkeepBy = earliest(s.upkeepBy, st.TokenDue())
		s.armLocked()
		s.eventLocked(func(now time.Time) effects { return s.m.resumed(now, resumed.H) })
		s.delegateLocked()
	}
	s.mu.Unlock()
	if unwanted {
		return
	}
	s.h.failover.TakenOver(took.Seconds())
	s.log(slog.LevelInfo, "bosh session goes on", "", slog.String("class", string(st.Class())), slog.Duration("after", took))
	if s.record.IsOutdated() {
		f.reseal()
	}
}

// reseal stores the secret under the newest key (failover-design 9.3).
func (f *feed) reseal() {
	if err := f.stream.Publish(f.s.h.ctx, f.s.renewed); err != nil {
		f.s.log(slog.LevelDebug, "secret not sealed again", err.Error())
	}
}

// lost ends a session that was claimed and cannot go on: whoever asks for it gets item-not-found.
func (h *Handler) lost(s *session, state []byte, err error) {
	h.failover.NotResumed(causeRecord)
	s.log(slog.LevelInfo, "bosh session lost", err.Error())
	_ = s.record.End(h.ctx) // before anybody asks again; it is forgotten after a while anyway
	h.errand(func() { s.forgetCredential(state) })
}

// errand runs something that no session waits for. Shutdown does.
func (h *Handler) errand(run func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		return
	}
	h.wg.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				h.cfg.Log.LogAttrs(h.ctx, slog.LevelError, panicMessage, panicAttrs(p)...)
			}
		}()
		run()
	})
}
