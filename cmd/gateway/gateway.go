package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/idna"

	"stanzagate/bosh"
	"stanzagate/internal/origin"
	"stanzagate/internal/parked"
	"stanzagate/internal/peer"
	"stanzagate/internal/quota"
	"stanzagate/internal/xmlframe"
	"stanzagate/upstream"
	"stanzagate/web"
	"stanzagate/websocket"
)

// transport is what both endpoints can do.
type transport interface {
	http.Handler
	Sessions() int
	Drain(context.Context) error
	Shutdown(context.Context) error
}

// gateway is one replica, wired and not yet listening.
type gateway struct {
	// immutable after newGateway
	settings  *settings
	log       *slog.Logger
	metrics   *metrics
	started   time.Time
	peers     *peer.Resolver
	dialer    *upstream.Dialer
	lot       *parked.Lot
	replicas  *membership
	bosh      transport
	websocket transport
	hostMeta  http.Handler
	cert      *certificate                                  // nil without tls.listen
	handed    func(http.ResponseWriter, *http.Request) bool // serves a request from another replica; false: no such session

	page     atomic.Pointer[http.Handler] // replaced when the domains change
	draining atomic.Bool
}

// partError is what a package found wrong in its part of the settings. Its own error names key, value and remedy.
type partError struct {
	key    string
	origin string // where the value came from
	err    error
}

func (e *partError) Error() string {
	if e.origin == "" {
		return "bad configuration: " + e.err.Error()
	}
	return fmt.Sprintf("bad configuration (%s): %v", e.origin, e.err)
}

func (e *partError) Unwrap() error { return e.err }

// newGateway wires the packages. Its errors name the setting that is wrong.
func newGateway(s *settings, log *slog.Logger) (*gateway, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	g, err := wire(s, log)
	bad, part := (*settingError)(nil), (*partError)(nil)
	if err != nil && !errors.As(err, &bad) && !errors.As(err, &part) {
		return nil, &partError{err: err}
	}
	return g, err
}

func wire(s *settings, log *slog.Logger) (*gateway, error) {
	g := &gateway{settings: s, log: log, metrics: newMetrics(), lot: parked.New(idleTimeout), started: time.Now()}
	origins, err := origin.Parse(s.Origins)
	if err != nil {
		return nil, &partError{key: "origins", err: err}
	}
	if g.peers, err = peer.NewResolver(s.TrustedProxies); err != nil {
		return nil, &partError{key: "trusted-proxies", err: err}
	}
	if s.TLS.Listen != "" {
		if g.cert, err = loadCertificate(s.TLS.Cert, s.TLS.Key, log); err != nil {
			return nil, err
		}
	}
	g.dialer, err = upstream.NewDialer(upstream.Config{
		Domains: s.Domains, Open: s.Open, ConnectTimeout: s.Limit.ConnectTimeout, Metrics: g.metrics.upstream,
		Failover: &upstream.Failover{},
	})
	if err != nil {
		return nil, &partError{key: "domain", err: err}
	}
	if g.replicas, err = newMembership(s, g.metrics, log); err != nil {
		return nil, err
	}
	g.hostMeta, err = web.HostMeta(web.HostMetaConfig{
		Host: g.configuredHost, BOSHPath: s.PathBOSH, WebSocketPath: s.PathWebSocket,
		PublicURL: s.PublicURL, Links: s.HostMetaLinks, Peers: g.peers,
	})
	switch {
	case errors.Is(err, web.ErrLinks):
		return nil, &partError{key: "host-meta.links", err: err}
	case err != nil:
		return nil, &partError{key: "public-url", err: err}
	}
	if err := g.newHandlers(origins); err != nil {
		return nil, err
	}
	g.showDomains()
	g.registerGauges()
	return g, nil
}

func (g *gateway) newHandlers(origins origin.Policy) error {
	s := g.settings
	limits := xmlframe.Limits{ElementBytes: s.Limit.StanzaBytes, Depth: s.Limit.Depth, Attributes: s.Limit.Attributes}
	shared := quota.New(quota.Config{
		Sessions: s.Limit.Sessions, SessionsPerAddress: s.Limit.SessionsPerAddress,
		Creations: s.Limit.Creations, AuthFailures: s.Limit.AuthFailures,
	})
	maxPause := s.BOSH.MaxPause
	if maxPause == 0 {
		maxPause = -1 // none
	}
	overHTTP, err := bosh.New(bosh.Config{
		Dialer: g.dialer, DefaultDomain: s.BOSH.DefaultDomain, Origins: origins, Peers: g.peers, Quota: shared, Lot: g.lot,
		RequireTLS: s.RequireTLS, SecureURI: secureURI(s),
		Limits: limits, BodyBytes: s.Limit.BodyBytes, QueueBytes: s.Limit.QueueBytes,
		BodyTimeout: s.Limit.BodyTimeout, AuthTimeout: s.Limit.AuthTimeout,
		Wait: s.BOSH.Wait, Inactivity: s.BOSH.Inactivity, MaxPause: maxPause, Polling: s.BOSH.Polling,
		Replica: g.replicas.member,
		Hold:    s.BOSH.Hold, ScriptSyntax: s.BOSH.ScriptSyntax, Keys: s.BOSH.Keys, Streams: s.BOSH.Streams, SameAddress: s.BOSH.SameAddress,
		Log: g.log.With(slog.String("transport", "bosh")), Metrics: g.metrics.bosh,
	})
	if err != nil {
		return fmt.Errorf("bosh: %w", err)
	}
	ping := s.WebSocket.Ping
	if ping == 0 {
		ping = -1 // none
	}
	overWebSocket, err := websocket.New(websocket.Config{
		Dialer: g.dialer, Origins: origins, Peers: g.peers, Quota: shared, RequireTLS: s.RequireTLS, RequireOrigin: s.RequireOrigin,
		Limits: limits, QueueBytes: s.Limit.QueueBytes, AuthTimeout: s.Limit.AuthTimeout,
		Ping: ping, Compression: s.WebSocket.Compression, SeeOther: s.WebSocket.SeeOther,
		Log: g.log.With(slog.String("transport", "websocket")), Metrics: g.metrics.websocket,
	})
	if err != nil {
		return fmt.Errorf("websocket: %w", err)
	}
	g.bosh, g.websocket, g.handed = overHTTP, overWebSocket, overHTTP.Handed
	return nil
}

// secureURI is where a BOSH client in the clear is sent; "" if only the request would say, which is not to be trusted.
func secureURI(s *settings) string {
	if s.PublicURL == "" {
		return ""
	}
	return strings.TrimSuffix(s.PublicURL, "/") + s.PathBOSH
}

// configuredHost returns the DNS name of a requested host that is a configured domain. With `open` any other name would
// do as well, but then the discovery document would repeat whatever a request asks for.
func (g *gateway) configuredHost(host string) (string, bool) {
	domain, err := upstream.Normalise(host)
	if err != nil || !slices.Contains(g.dialer.Domains(), domain) {
		return "", false
	}
	name, err := idna.Lookup.ToASCII(domain)
	return name, err == nil
}

// showDomains gives the page, and the operator if there are none, the domains that are served now.
func (g *gateway) showDomains() {
	page := web.Handler(web.Config{
		BOSHPath: g.settings.PathBOSH, WebSocketPath: g.settings.PathWebSocket,
		Domains: g.dialer.Domains(), AnyDomain: g.settings.Open,
	})
	g.page.Store(&page)
	if len(g.dialer.Domains()) == 0 && !g.settings.Open {
		g.log.LogAttrs(context.Background(), slog.LevelWarn, "no domain is served; name one as in --domain example.org, or set open to true")
	}
}

func (g *gateway) registerGauges() {
	const help = "Sessions open on this replica."
	g.metrics.gauge("sessions", help, prometheus.Labels{"transport": "bosh"}, func() float64 { return float64(g.bosh.Sessions()) })
	g.metrics.gauge("sessions", help, prometheus.Labels{"transport": "websocket"}, func() float64 { return float64(g.websocket.Sessions()) })
	g.replicas.registerGauges(g.metrics)
	g.metrics.gauge("ready", "1 while new sessions are accepted.", nil, func() float64 {
		if g.notReady() == "" {
			return 1
		}
		return 0
	})
}

// notReady says why no new sessions are accepted, "" if they are.
func (g *gateway) notReady() string {
	if g.draining.Load() {
		return "draining"
	}
	return g.replicas.notReady()
}
