package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
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
	http *http.Server // immutable

	mu sync.Mutex
	// guarded by mu
	working context.Context // ends when this replica is fenced; requests that are held then are given back
	end     context.CancelFunc
	stopped bool

	quit    chan struct{} // closed by Shutdown
	running sync.WaitGroup
}

const (
	// fenceWatch is how often Fenced is asked.
	fenceWatch = 250 * time.Millisecond
	// heldPerConnection is how many requests another replica may hand on at a time.
	heldPerConnection = 100_000
	headerTimeout     = 10 * time.Second // the TLS handshake included
	idleTimeout       = 10 * time.Minute
	maxHeaderBytes    = 64 * 1024
	// A side from which nothing has come for pingAfter is asked, and is gone if it does not answer within pingWait.
	pingAfter = time.Second
	pingWait  = 2 * time.Second
	// windowBytes is how much of a request or response may be on its way unread.
	windowBytes = 1 << 20
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
	s := &Server{cfg: cfg, quit: make(chan struct{})}
	s.working, s.end = context.WithCancel(context.Background())
	protocols := &http.Protocols{}
	protocols.SetHTTP2(true)
	s.http = &http.Server{
		Handler: http.HandlerFunc(s.serve), Protocols: protocols, TLSConfig: cfg.Identity.serverTLS(),
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: heldPerConnection, SendPingTimeout: pingAfter, PingTimeout: pingWait,
			MaxReceiveBufferPerConnection: windowBytes, MaxReceiveBufferPerStream: windowBytes,
		},
		ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug), // strangers at the door
	}
	return s, nil
}

// Serve accepts other replicas on l until Shutdown. Once only.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		l.Close()
		return nil
	}
	s.running.Go(s.watchFence)
	s.mu.Unlock()
	if err := s.http.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("replica listener: %w", err)
	}
	return nil
}

// Shutdown gives back what is held, stops listening and waits, at most until ctx ends; then it cuts what is left.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return nil
	}
	s.stopped = true
	s.mu.Unlock()
	close(s.quit)
	s.end()
	s.running.Wait()
	err := s.http.Shutdown(ctx)
	if err != nil {
		s.http.Close()
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

// serve is the handler of one request that was handed on.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get(headerTo) != s.cfg.Incarnation {
		s.say(w, saysStranger)
		return
	}
	working := context.Background()
	if r.Header.Get(headerInsist) == "" {
		s.mu.Lock()
		working = s.working
		s.mu.Unlock()
		if working.Err() != nil || s.cfg.Fenced() {
			s.say(w, saysFenced)
			return
		}
	}
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), http.LocalAddrContextKey, local(r.Header)))
	defer cancel()
	defer context.AfterFunc(working, cancel)()
	r = r.WithContext(ctx)
	inbound(r)
	o := &observer{ResponseWriter: w, since: time.Now()}
	mine, aborted := s.handle(o, r)
	switch {
	case o.begun && aborted:
		panic(http.ErrAbortHandler) // resets the stream; the browser side does the same to its connection
	case o.begun:
	case working.Err() != nil:
		s.say(w, saysFenced)
	case aborted:
		s.say(w, saysAborted)
	case !mine:
		s.say(w, saysNotMine)
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

// say answers the browser side, which passes none of it on.
func (s *Server) say(w http.ResponseWriter, outcome string) {
	h := w.Header()
	clear(h)
	h[headerOutcome] = []string{outcome}
	w.WriteHeader(http.StatusMisdirectedRequest)
}

// observer notes whether an answer has begun, and tells the browser side when.
type observer struct {
	http.ResponseWriter
	since time.Time
	begun bool
}

func (o *observer) begin() {
	if !o.begun {
		o.begun = true
		o.Header()[headerHeld] = []string{strconv.FormatInt(time.Since(o.since).Microseconds(), 10)}
	}
}

func (o *observer) WriteHeader(status int) {
	if status >= http.StatusOK {
		o.begin()
	}
	o.ResponseWriter.WriteHeader(status)
}

func (o *observer) Write(b []byte) (int, error) {
	o.begin()
	return o.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the rest.
func (o *observer) Unwrap() http.ResponseWriter { return o.ResponseWriter }
