package replica

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"syscall"
	"time"
)

// ServerConfig is what a Server needs to know.
type ServerConfig struct {
	Identity    *Identity
	Incarnation string // of this process
	// Fenced reports whether this replica has to stop (sessionstore.Store.Fenced). Requests that it holds are then given
	// back to the browser sides, which ask the store; if that does not answer them either they insist, and are served.
	Fenced func() bool
	// Handle serves a request as if it had come from the browser. mine: the session is here. If not it must have written
	// nothing. It may panic with http.ErrAbortHandler, as any handler.
	Handle func(w http.ResponseWriter, r *http.Request) (mine bool)
	Log    *slog.Logger // nil: silent
}

// Server is the owner's side: what listens on `replica.listen`. Safe for concurrent use. It ends with Shutdown.
type Server struct {
	cfg  ServerConfig // immutable
	quit chan struct{}

	mu sync.Mutex
	// guarded by mu
	working   context.Context // ends when this replica is fenced; requests that are held then are given back
	end       context.CancelFunc
	stopped   bool
	listener  net.Listener
	conns     map[*served]struct{}
	handshake map[net.Conn]struct{} // not one of the replicas' yet

	running sync.WaitGroup // connections, and what watches the fence; added to under mu, while not stopped
}

const (
	// fenceWatch is how often Fenced is asked.
	fenceWatch       = 250 * time.Millisecond
	handshakeTimeout = 10 * time.Second
)

// NewServer checks cfg. Nothing runs before Serve.
func NewServer(cfg ServerConfig) (*Server, error) {
	switch {
	case cfg.Identity == nil:
		return nil, errors.New("relay server: no identity")
	case cfg.Incarnation == "" || cfg.Fenced == nil || cfg.Handle == nil:
		return nil, errors.New("relay server: Incarnation, Fenced and Handle are needed")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, quit: make(chan struct{}), conns: map[*served]struct{}{}, handshake: map[net.Conn]struct{}{}}
	s.working, s.end = context.WithCancel(context.Background())
	return s, nil
}

// Serve accepts other replicas on l until Shutdown. Once only.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		_ = l.Close()
		return nil
	}
	s.listener = l
	s.running.Go(s.watchFence)
	s.mu.Unlock()
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			s.admit(conn)
		case s.isStopped():
			return nil
		case isTemporary(err):
			s.cfg.Log.LogAttrs(context.Background(), slog.LevelWarn, "replica listener", slog.String("reason", err.Error()))
			s.pause()
		default:
			return fmt.Errorf("replica listener: %w", err)
		}
	}
}

// isTemporary reports whether accepting may succeed later: too many files are open.
func isTemporary(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ECONNABORTED)
}

func (s *Server) pause() {
	select {
	case <-s.quit:
	case <-time.After(100 * time.Millisecond):
	}
}

func (s *Server) isStopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped
}

// admit serves a connection on a goroutine of its own.
func (s *Server) admit(raw net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		_ = raw.Close()
		return
	}
	s.handshake[raw] = struct{}{}
	s.running.Go(func() {
		if c := s.greet(raw); c != nil {
			defer s.leave(c)
			c.run()
		}
	})
}

// greet makes sure of who it is. nil: a stranger at the door, or the end.
func (s *Server) greet(raw net.Conn) *served {
	_ = raw.SetDeadline(time.Now().Add(handshakeTimeout))
	conn := tls.Server(raw, s.cfg.Identity.serverTLS())
	err := conn.HandshakeContext(context.Background()) // ends with the deadline, or with raw
	if err == nil {
		err = raw.SetDeadline(time.Time{})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.handshake, raw)
	if err != nil || s.stopped {
		_ = raw.Close()
		if err != nil {
			s.cfg.Log.LogAttrs(context.Background(), slog.LevelDebug, "replica listener", slog.String("reason", err.Error()))
		}
		return nil
	}
	c := newServed(s, conn)
	s.conns[c] = struct{}{}
	return c
}

func (s *Server) leave(c *served) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// Shutdown gives back what is held, stops listening and waits, at most until ctx ends; then it cuts what is left.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return nil
	}
	s.stopped = true
	close(s.quit)
	s.end()
	if s.listener != nil {
		_ = s.listener.Close()
	}
	for raw := range s.handshake {
		_ = raw.Close()
	}
	conns := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	defer s.running.Wait()
	var err error
	for _, c := range conns {
		err = errors.Join(err, c.finish(ctx))
	}
	return err
}

// watchFence gives held requests back when the fence comes down (failover-design 7.4): their browsers need not wait for
// what this replica may not answer.
func (s *Server) watchFence() {
	tick := time.NewTicker(fenceWatch)
	defer tick.Stop()
	for {
		select {
		case <-s.quit:
			return
		case <-tick.C:
		}
		fenced := s.cfg.Fenced()
		s.mu.Lock()
		switch {
		case s.stopped:
		case fenced:
			s.end()
		case s.working.Err() != nil:
			s.working, s.end = context.WithCancel(context.Background())
		}
		s.mu.Unlock()
	}
}

// serve answers one request that was handed on. ctx is over when nobody waits for the answer.
func (s *Server) serve(ctx context.Context, m *message, send func(*answer)) {
	if m.to != s.cfg.Incarnation {
		send(&answer{says: saysStranger})
		return
	}
	working := context.Background()
	if !m.insist {
		s.mu.Lock()
		working = s.working
		s.mu.Unlock()
		if working.Err() != nil || s.cfg.Fenced() {
			send(&answer{says: saysFenced})
			return
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(working, cancel)()
	w := &reply{header: http.Header{}, since: time.Now(), send: send}
	mine, aborted := s.handle(w, m.inbound(ctx))
	switch {
	case w.sent:
	case w.begun() && !aborted:
		w.finish()
	case working.Err() != nil:
		send(&answer{says: saysFenced})
	case aborted:
		send(&answer{says: saysAborted})
	case !mine:
		send(&answer{says: saysNotMine})
	default:
		w.finish()
	}
}

// handle contains what Handle may do to the goroutine.
func (s *Server) handle(w http.ResponseWriter, r *http.Request) (mine, aborted bool) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		aborted = true
		if p != http.ErrAbortHandler { //nolint:errorlint // net/http compares in the same way
			s.cfg.Log.LogAttrs(r.Context(), slog.LevelError, "panic while serving a request that was handed on",
				slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
		}
	}()
	return s.cfg.Handle(w, r), false
}
