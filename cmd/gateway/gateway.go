package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stanzagate/bosh"
	"stanzagate/internal/origin"
	"stanzagate/internal/peer"
	"stanzagate/internal/quota"
	"stanzagate/internal/xmlframe"
	"stanzagate/upstream"
	"stanzagate/web"
	"stanzagate/websocket"
)

// gateway is one replica, wired and not yet listening.
type gateway struct {
	// immutable after newGateway
	settings  *settings
	log       *slog.Logger
	metrics   *metrics
	started   time.Time
	peers     *peer.Resolver
	dialer    *upstream.Dialer
	bosh      *bosh.Handler
	websocket *websocket.Handler
	cert      *certificate // nil without tls.listen

	page     atomic.Pointer[http.Handler] // replaced when the domains change
	draining atomic.Bool
}

// newGateway wires the packages. Its errors name the setting that is wrong.
func newGateway(s *settings, log *slog.Logger) (*gateway, error) {
	g := &gateway{settings: s, log: log, metrics: newMetrics(), started: time.Now()}
	origins, err := origin.Parse(s.Origins)
	if err != nil {
		return nil, err
	}
	if g.peers, err = peer.NewResolver(s.TrustedProxies); err != nil {
		return nil, err
	}
	if s.TLS.Listen != "" {
		if g.cert, err = loadCertificate(s.TLS.Cert, s.TLS.Key, log); err != nil {
			return nil, err
		}
	}
	g.dialer, err = upstream.NewDialer(upstream.Config{
		Domains: s.Domains, Open: s.Open, ConnectTimeout: s.Limit.ConnectTimeout, Metrics: g.metrics.upstream,
	})
	if err != nil {
		return nil, err
	}
	if err := g.newHandlers(origins); err != nil {
		return nil, err
	}
	g.showDomains()
	g.registerGauges()
	return g, nil
}

func (g *gateway) newHandlers(origins origin.Policy) (err error) {
	s := g.settings
	limits := xmlframe.Limits{ElementBytes: s.Limit.StanzaBytes, Depth: s.Limit.Depth, Attributes: s.Limit.Attributes}
	shared := quota.New(quota.Config{
		Sessions: s.Limit.Sessions, SessionsPerAddress: s.Limit.SessionsPerAddress,
		Creations: s.Limit.Creations, AuthFailures: s.Limit.AuthFailures,
	})
	g.bosh, err = bosh.New(bosh.Config{
		Dialer: g.dialer, DefaultDomain: s.BOSH.DefaultDomain, Origins: origins, Peers: g.peers, Quota: shared,
		Limits: limits, BodyBytes: s.Limit.BodyBytes, QueueBytes: s.Limit.QueueBytes,
		BodyTimeout: s.Limit.BodyTimeout, AuthTimeout: s.Limit.AuthTimeout,
		Wait: s.BOSH.Wait, Inactivity: s.BOSH.Inactivity, MaxPause: s.BOSH.MaxPause, Polling: s.BOSH.Polling,
		Hold: s.BOSH.Hold, ScriptSyntax: s.BOSH.ScriptSyntax, Keys: s.BOSH.Keys, Streams: s.BOSH.Streams,
		Log: g.log.With(slog.String("transport", "bosh")), Metrics: g.metrics.bosh,
	})
	if err != nil {
		return fmt.Errorf("bosh: %w", err)
	}
	ping := s.WebSocket.Ping
	if ping == 0 {
		ping = -1 // none
	}
	g.websocket, err = websocket.New(websocket.Config{
		Dialer: g.dialer, Origins: origins, Peers: g.peers, Quota: shared,
		Limits: limits, QueueBytes: s.Limit.QueueBytes, AuthTimeout: s.Limit.AuthTimeout,
		Ping: ping, Compression: s.WebSocket.Compression, SeeOther: s.WebSocket.SeeOther,
		Log: g.log.With(slog.String("transport", "websocket")), Metrics: g.metrics.websocket,
	})
	if err != nil {
		return fmt.Errorf("websocket: %w", err)
	}
	return nil
}

// showDomains gives the page the domains that are served now.
func (g *gateway) showDomains() {
	page := web.Handler(web.Config{
		BOSHPath: g.settings.PathBOSH, WebSocketPath: g.settings.PathWebSocket,
		Domains: g.dialer.Domains(), AnyDomain: g.settings.Open,
	})
	g.page.Store(&page)
}

func (g *gateway) registerGauges() {
	const help = "Sessions open on this replica."
	g.metrics.gauge("sessions", help, prometheus.Labels{"transport": "bosh"}, func() float64 { return float64(g.bosh.Sessions()) })
	g.metrics.gauge("sessions", help, prometheus.Labels{"transport": "websocket"}, func() float64 { return float64(g.websocket.Sessions()) })
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
	return ""
}
