package websocket

import (
	"fmt"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"stanzagate/internal/peer"
	"stanzagate/internal/quota"
	"stanzagate/upstream"
)

// phase is how far the browser's stream has come.
type phase uint8

const (
	silent  phase = iota // the browser has said nothing, so nothing is said to it (RFC 7395 §3.4)
	opening              // it has spoken, and has no <open/> of ours yet
	opened
)

// session is one WebSocket and the stream on it.
type session struct {
	// immutable after start
	h          *Handler
	remote     netip.AddrPort
	local      netip.AddrPort
	exposed    bool // others can listen to what the browser says
	place      *quota.Place
	compressed bool
	began      time.Duration // all times are Handler.now
	timer      *time.Timer

	sock socket
	upstate
	downstate

	lastSent atomic.Int64 // when something last went to the server
	sending  atomic.Bool  // up waits for the server to take something, and hears nothing of the browser

	mu sync.Mutex
	// guarded by mu
	phase   phase
	domain  string           // normalised; "" until known
	from    string           // what the browser calls itself
	stream  *upstream.Stream // nil until open
	closing bool             // the browser has sent <close/>
	ended   bool             // end is decided, and what the browser is told of it is sealed
	end     ending
	endedAt time.Duration
	loss    string        // why we dropped the connection ourselves
	pinged  time.Duration // when the ping left that is not answered yet; 0 for none
	ordered bool          // Drain or Shutdown has something to say
	stopped bool          // no tick does anything any more
	ticking sync.WaitGroup

	reopened signal // the browser has its new <open/> after SASL, or never gets it
	downOver signal // the server has nothing more to say, and down has ended

	gone bool // guarded by Handler.mu: left
}

func newSession(h *Handler, p peer.Peer, place *quota.Place) *session {
	s := &session{h: h, remote: p.Addr, local: p.Local, exposed: exposed(p), place: place, began: h.now()}
	s.sock.out.bound = h.cfg.QueueBytes
	return s
}

// signal is something that happens once. Few sessions ever wait for it, so the channel, 96 bytes, is made when one does.
type signal struct {
	happened bool
	c        chan struct{}
}

// happen is for the owner of the lock that guards the signal; so is wait.
func (g *signal) happen() {
	if !g.happened && g.c != nil {
		close(g.c)
	}
	g.happened = true
}

// wait returns a channel that is closed when it happens, or has happened.
func (g *signal) wait() <-chan struct{} {
	if g.c == nil {
		g.c = make(chan struct{})
		if g.happened {
			close(g.c)
		}
	}
	return g.c
}

// start sets the timer; the rest of the session is complete.
func (s *session) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.h.now()
	s.timer = time.AfterFunc(s.nextTickLocked(now)-now, s.tick)
}

// run is the goroutine `up`: it serves the browser, and takes the session down.
func (s *session) run() {
	s.guard(s.up)
	if s.resting {
		s.pause()
		return
	}
	defer s.h.leave(s)
	s.guard(s.takeDown)
	s.guard(s.account)
}

// guard runs f. A panic ends this session and no other.
func (s *session) guard(f func()) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		s.h.cfg.Log.LogAttrs(s.h.ctx, slog.LevelError, "websocket session panicked", slog.String("remote", s.remote.String()),
			slog.String("panic", fmt.Sprint(p)), slog.String("stack", string(debug.Stack())))
		s.finish(faultEnding(internalError))
		s.sock.wake(0)
	}()
	f()
}

// account settles what the session took. It comes last.
func (s *session) account() {
	_ = s.sock.Close() // again, in case takeDown did not come so far
	s.place.Release()
	s.mu.Lock()
	condition := s.end.condition
	s.mu.Unlock()
	s.log(slog.LevelInfo, "websocket session ended", condition)
	s.h.cfg.Metrics.SessionEnded(condition)
}

// log says what became of a session, never what passed through it.
func (s *session) log(level slog.Level, msg, reason string) {
	if !s.h.cfg.Log.Enabled(s.h.ctx, level) {
		return
	}
	s.mu.Lock()
	domain := s.domain
	s.mu.Unlock()
	s.h.cfg.Log.LogAttrs(s.h.ctx, level, msg, slog.String("remote", s.remote.String()), slog.String("domain", domain),
		slog.String("reason", reason))
}
