package bosh

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"stanzagate/internal/parked"
	"stanzagate/internal/peer"
	"stanzagate/internal/quota"
	"stanzagate/upstream"
)

// Handler serves the BOSH endpoint. Safe for concurrent use. It ends with Shutdown.
type Handler struct {
	// immutable after New
	cfg      Config
	long     time.Duration // after which a request is parked
	machine  *machineConfig
	failover FailoverMetrics
	registry *registry
	decoders sync.Pool
	visits   sync.Pool
	ctx      context.Context
	cancel   context.CancelFunc // ends what still waits for servers

	wg   sync.WaitGroup // sessions until they are forgotten, and their goroutines; added to for sessions under mu
	live atomic.Int64   // sessions that have not ended

	mu sync.Mutex
	// guarded by mu
	draining bool          // no new sessions
	stopped  bool          // nothing at all
	settled  chan struct{} // closed when no session is live any more; nil while nobody waits for that
}

// New checks cfg. Its errors name the field.
func New(cfg Config) (*Handler, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	h := &Handler{cfg: cfg, long: restAfter, machine: cfg.machineConfig(), registry: newRegistry()}
	if h.failover, _ = cfg.Metrics.(FailoverMetrics); h.failover == nil {
		h.failover = noMetrics{}
	}
	h.visits.New = func() any { return h.newVisit() }
	h.decoders.New = func() any { return newDecoder(cfg.Limits) }
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h, nil
}

// Sessions returns how many sessions this replica owns.
func (h *Handler) Sessions() int { return int(h.live.Load()) }

// ServeHTTP answers one request. It panics with http.ErrAbortHandler to close a connection without an answer.
//
// Most requests spend most of their time in wait, so its frame and this one are kept small: then the stack of the goroutine
// that net/http gave can shrink.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.serve(w, r, false) }

// serve answers one request. It reports false if another replica has handed it on and its session is not here.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, handed bool) (mine bool) {
	v := h.visits.Get().(*visit)
	v.h, v.w, v.r, v.handed = h, w, r, handed
	defer v.contain()
	v.dispatch()
	if v.session != nil && v.x != 0 {
		how := v.session.wait(r.Context(), &v.waiter, v.long())
		if how == waitLong {
			if v.park() {
				return true
			}
			how = v.session.wait(r.Context(), &v.waiter, nil)
		}
		v.finish(how != waitGone)
	}
	mine = !v.foreign
	*v = visit{waiter: waiter{done: v.done}, timer: v.timer}
	h.visits.Put(v) // not after a panic: then nobody knows what still refers to it
	return mine
}

// dispatch answers the request, or has the session answer it (waiter.x is not 0 then).
func (v *visit) dispatch() {
	h, w, r := v.h, v.w, v.r
	v.peer, v.control = h.cfg.Peers.Of(r), *http.NewResponseController(w)
	permitted := h.cors(w.Header(), r, v.peer)
	switch {
	case r.Method == http.MethodOptions:
		h.preflight(w, permitted)
	case !permitted:
		// RFC 6454 §7: a page that may not read the answer has no business here.
		v.refuse(http.StatusForbidden, "this origin is not allowed")
	case r.Method == http.MethodPost:
		v.count()
		v.post()
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		v.get()
	default:
		w.Header()["Allow"] = allowed
		v.refuse(http.StatusMethodNotAllowed, "BOSH requests are sent with POST")
	}
}

// visit is one HTTP request while it is being served. Pooled by Handler.
type visit struct {
	h       *Handler
	w       http.ResponseWriter
	r       *http.Request // nil once parked
	peer    peer.Peer
	control http.ResponseController
	session *session         // once it is known; nil for none
	request *request         // what is to be used again after the answer; nil for nothing
	script  bool             // XEP-0252
	begun   bool             // part of the answer may be out
	unread  bool             // there is more of the body
	handed  bool             // by another replica
	foreign bool             // handed, and the session is not here: nothing is written
	timer   *time.Timer      // for long; nil where requests are not parked
	late    *parked.Response // w, once parked
	coding  coding           // what the browser accepts, once parked
	waiter                   // for the session's answer
}

// count counts a request, where it came from the browser.
func (v *visit) count() {
	if !v.handed {
		v.h.cfg.Metrics.Request()
	}
}

// post serves one POST: a <body/> (XEP-0124 §6).
func (v *visit) post() {
	req := newRequest()
	v.serve(req, v.h.receive(v.r, &v.control, req))
}

// serve answers a request that has been read; err is what was wrong with it.
func (v *visit) serve(req *request, err error) {
	if errors.Is(err, errBroken) {
		v.debug("request body broken off", err)
		panic(http.ErrAbortHandler)
	}
	req.secure, req.script = v.peer.Secure, v.script
	if !req.hasSID && !v.handed {
		// BOSH-033: only what has no sid can create a session.
		v.create(req, err)
		return
	}
	s := v.h.registry.get(keyOf(req.sidRaw))
	if s == nil {
		v.unknown(req, err)
		return
	}
	v.attend(s, req, err)
}

// attend has a session answer a request; err is what was wrong with it.
func (v *visit) attend(s *session, req *request, err error) {
	v.session = s
	if !s.belongs(v.r, v.peer) {
		// BOSH-177: whoever asks is not told anything, and the session is none the worse for it.
		v.debug("request without the session's TLS or address", nil)
		panic(http.ErrAbortHandler)
	}
	if err != nil {
		v.debug("request refused", err)
		v.closeIfTooLarge(err)
		v.unread = errors.Is(err, errTooLarge)
		s.refuse(&v.waiter, conditionOf(err))
		return
	}
	req.sid = s.sid
	if !s.serve(&v.waiter, req) {
		v.request = req
	}
}

// create serves a creation request (XEP-0124 §7.1).
func (v *visit) create(req *request, err error) {
	h := v.h
	// AMB-13: who says nothing of a version is a legacy client, once that much can be read.
	legacy := err == nil && !req.hasVer
	switch {
	case errors.Is(err, errTooLarge):
		v.closeIfTooLarge(err)
		v.refuse(http.StatusRequestEntityTooLarge, "request body is too large") // BOSH-015
		return
	case err != nil:
		v.debug("request refused", err)
		v.reject(conditionOf(err), legacy)
		return
	case h.cfg.RequireTLS && exposed(v.peer):
		v.debug("session without TLS refused", nil)
		v.sendToTLS(legacy)
		return
	case h.refusesSessions():
		v.unavailable() // BOSH-017
		return
	}
	if req.to == "" {
		req.to = h.cfg.DefaultDomain // BOSH-035
	}
	if req.to == "" {
		v.reject(improperAddressing, legacy) // BOSH-034
		return
	}
	domain, err := h.cfg.Dialer.Serves(req.to)
	if err != nil {
		v.debug("domain not served", err)
		v.reject(hostCondition(err), legacy)
		return
	}
	req.to = domain
	place, err := h.cfg.Quota.Admit(v.peer.Addr.Addr())
	switch {
	case errors.Is(err, quota.ErrSessions):
		v.debug("session refused", err)
		v.unavailable() // BOSH-052: this replica is full, others may not be
		return
	case err != nil:
		v.debug("session refused", err)
		v.reject(policyViolation, legacy)
		return
	}
	s := newSession(h, v.r, v.peer, place, v.script)
	if !s.register(v.r.Context()) {
		place.Release()
		v.unavailable()
		return
	}
	v.session = s
	h.cfg.Metrics.SessionStarted()
	s.create(&v.waiter, req)
}

// unknown answers a request for a session that this replica does not have. BOSH-143: not a byte tells whether the sid or
// the rid is to blame.
func (v *visit) unknown(req *request, err error) {
	v.closeIfTooLarge(err)
	switch member := v.h.cfg.Replica; {
	case v.handed:
		v.foreign = true
	case v.h.isStopped():
		v.unavailable()
	case errors.Is(err, errTooLarge):
		v.refuse(http.StatusRequestEntityTooLarge, "request body is too large")
	case member != nil && member.Shared() && isSID(req.sidRaw) && (req.buffer != nil || v.script):
		v.route(req, err)
	case err != nil:
		v.reject(conditionOf(err), false)
	default:
		req.recycle()
		v.reject(itemNotFound, false) // BOSH-142
	}
}

// get answers GET and HEAD: with the page for people who look the address up, or as a request in script syntax.
func (v *visit) get() {
	if !hasBody(v.r.URL.RawQuery) {
		v.page()
		return
	}
	if !v.h.cfg.ScriptSyntax || v.r.Method == http.MethodHead {
		v.refuse(http.StatusNotFound, "script syntax is not supported") // BOSH-172
		return
	}
	v.count()
	v.script = true
	req := newRequest()
	v.serve(req, v.h.receiveScript(v.r, req))
}

// hasBody reports whether a query is a <body/> rather than something for people.
func hasBody(query string) bool {
	return strings.HasPrefix(query, "<") || len(query) >= 3 && strings.EqualFold(query[:3], "%3c")
}

// Conditions that the machine does not cause (XEP-0124 §17.2).
const (
	hostGone               = "host-gone"
	hostUnknown            = "host-unknown"
	internalServerError    = "internal-server-error"
	remoteConnectionFailed = "remote-connection-failed"
)

// conditionOf returns the condition that the browser is told (XEP-0124 §17.2).
func conditionOf(err error) string {
	var b *bodyError
	if errors.As(err, &b) {
		return b.condition
	}
	return policyViolation // errTooLarge: BOSH-015
}

// hostCondition is what an error of upstream means to the browser (BOSH-034, BOSH-068).
func hostCondition(err error) string {
	switch {
	case errors.Is(err, upstream.ErrHostUnknown):
		return hostUnknown
	case errors.Is(err, upstream.ErrHostGone):
		return hostGone
	}
	return remoteConnectionFailed
}

func (v *visit) debug(msg string, err error) {
	if !v.h.cfg.Log.Enabled(v.h.ctx, slog.LevelDebug) {
		return
	}
	attrs := []slog.Attr{slog.String("remote", v.peer.Addr.String())}
	if v.session != nil {
		attrs = append(attrs, slog.String("sid", v.session.key.String()))
	}
	if err != nil {
		attrs = append(attrs, slog.String("reason", err.Error()))
	}
	v.h.cfg.Log.LogAttrs(v.h.ctx, slog.LevelDebug, msg, attrs...)
}
