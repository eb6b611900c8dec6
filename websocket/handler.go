package websocket

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"stanzagate/internal/peer"
	"stanzagate/internal/quota"
)

const subprotocol = "xmpp" // RFC 7395 §3.1

// Handler serves the WebSocket endpoint. Safe for concurrent use. It ends with Shutdown.
type Handler struct {
	// immutable after New
	cfg    Config
	epoch  time.Time // sessions measure time from here
	ctx    context.Context
	cancel context.CancelFunc // ends what still waits for servers

	dialing context.Context
	hangUp  context.CancelFunc // ends the opening of streams

	wg sync.WaitGroup // one per session; added to under mu, while not draining

	mu sync.Mutex
	// guarded by mu
	sessions map[*session]struct{}
	open     int // sessions, and handshakes under way
	stage    stage
	empty    chan struct{} // closed once not serving and none is open
}

// New checks cfg. Its errors name the field.
func New(cfg Config) (*Handler, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	h := &Handler{cfg: cfg, epoch: time.Now(), sessions: map[*session]struct{}{}, empty: make(chan struct{})}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.dialing, h.hangUp = context.WithCancel(h.ctx)
	return h, nil
}

// now is the time of day of sessions: a monotonic reading, cheaper than time.Now.
func (h *Handler) now() time.Duration { return time.Since(h.epoch) }

// Sessions returns how many sockets are open.
func (h *Handler) Sessions() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open
}

// ServeHTTP makes the handshake. It returns at once: the session goes on in goroutines of its own, which costs a session
// less memory than the one that net/http served the request on.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.cfg.Metrics.Request()
	p := h.cfg.Peers.Of(r)
	if status, why := h.refusal(w.Header(), r, p); status != 0 {
		h.refuse(w, p, status, why)
		return
	}
	place, err := h.cfg.Quota.Admit(p.Addr.Addr())
	if err != nil {
		// RFC 6455 §4.2.2, WS-009: no more than a refused handshake is spent on who takes too much.
		status := http.StatusTooManyRequests
		if errors.Is(err, quota.ErrSessions) {
			status = http.StatusServiceUnavailable
		}
		w.Header().Set("Retry-After", "10")
		h.refuse(w, p, status, err.Error())
		return
	}
	if !h.enter() {
		place.Release()
		w.Header().Set("Retry-After", "1")
		h.refuse(w, p, http.StatusServiceUnavailable, "gateway is shutting down")
		return
	}
	s := newSession(h, p, place)
	if err := s.accept(w, r); err != nil {
		s.log(slog.LevelDebug, "websocket handshake failed", err.Error())
		place.Release()
		h.leave(s)
		return
	}
	h.cfg.Metrics.SessionStarted()
	s.start()
	go s.run()
	h.join(s)
}

// refusal checks what coder/websocket leaves open, or would refuse with another status than we want. 0 means none.
func (h *Handler) refusal(header http.Header, r *http.Request, p peer.Peer) (status int, why string) {
	origins := r.Header.Values("Origin")
	switch {
	case r.Method != http.MethodGet:
		header.Set("Allow", http.MethodGet)
		return http.StatusMethodNotAllowed, "a WebSocket handshake is a GET request"
	case !hasToken(r.Header, "Upgrade", "websocket", strings.EqualFold):
		// RFC 8441 is not offered, so HTTP/2 ends here too.
		return http.StatusBadRequest, "this is an XMPP over WebSocket endpoint (RFC 7395)"
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		// RFC 6455 §4.4: say which version would do. RFC 9110 §15.5.22: and what to upgrade to.
		header.Set("Sec-WebSocket-Version", "13")
		header.Set("Upgrade", "websocket")
		header.Set("Connection", "Upgrade")
		return http.StatusUpgradeRequired, "WebSocket version 13 is required"
	case h.cfg.RequireTLS && exposed(p):
		return http.StatusForbidden, "this endpoint is reached over wss only"
	case len(origins) > 1:
		return http.StatusBadRequest, "more than one Origin"
	case len(origins) == 0 && h.cfg.RequireOrigin:
		return http.StatusForbidden, "a handshake without Origin is not allowed"
	case len(origins) == 1 && !h.cfg.Origins.Allows(origins[0], p.Host):
		// RFC 6455 §10.2: a page of another site must not use the visitor's way in.
		return http.StatusForbidden, "origin is not allowed"
	case !hasToken(r.Header, "Sec-WebSocket-Protocol", subprotocol, func(a, b string) bool { return a == b }):
		// RFC 7395 §3.1: without it this is not XMPP, and an upgrade would only be closed again.
		return http.StatusBadRequest, "the WebSocket subprotocol xmpp is required"
	}
	return 0, ""
}

// exposed reports whether others can listen to what the browser says to us (UP-051).
func exposed(p peer.Peer) bool { return !p.Secure && p.Addr.IsValid() && !p.Addr.Addr().IsLoopback() }

// refuse answers a handshake without an upgrade. The connection ends with it: a browser makes each handshake on a fresh one,
// and whoever goes on asking without taking the answers does not hold a goroutine here.
func (h *Handler) refuse(w http.ResponseWriter, p peer.Peer, status int, why string) {
	h.cfg.Log.LogAttrs(h.ctx, slog.LevelDebug, "websocket handshake refused",
		slog.String("remote", p.Addr.String()), slog.Int("status", status), slog.String("reason", why))
	endConnection(w.Header())
	http.Error(w, why, status)
}

// endConnection makes net/http close the connection after the answer. It looks at the first value only.
func endConnection(header http.Header) {
	header["Connection"] = append([]string{"close"}, header["Connection"]...)
}

// hasToken reports whether a comma-separated header, perhaps sent in several lines, has the token.
func hasToken(header http.Header, name, token string, same func(a, b string) bool) bool {
	for _, line := range header.Values(name) {
		for t := range strings.SplitSeq(line, ",") {
			if same(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

// enter counts a handshake from before it is made, so that Drain and Shutdown miss none. It fails when they have begun.
func (h *Handler) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stage != serving {
		return false
	}
	h.open++
	h.wg.Add(1)
	return true
}

// join makes an accepted session known to Drain and Shutdown, and tells it of what they asked in the meantime.
func (h *Handler) join(s *session) {
	h.mu.Lock()
	if !s.gone {
		h.sessions[s] = struct{}{}
	}
	stage := h.stage
	h.mu.Unlock()
	if stage != serving {
		s.order()
	}
}

// leave pairs with enter.
func (h *Handler) leave(s *session) {
	h.mu.Lock()
	s.gone = true
	delete(h.sessions, s)
	h.open--
	h.notifyLocked()
	h.mu.Unlock()
	h.wg.Done()
}

// notifyLocked tells Drain and Shutdown when there is nothing left.
func (h *Handler) notifyLocked() {
	if h.stage == serving || h.open > 0 {
		return
	}
	select {
	case <-h.empty:
	default:
		close(h.empty)
	}
}
