package main

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"strings"
	"time"
)

//go:embed status.html
var statusSource string

var statusPage = template.Must(template.New("status").Parse(statusSource))

type status struct {
	State, Version, Since, Uptime string
	BOSH, WebSocket               int
	Domains, Replica, Store       string
	Any                           bool
	Ready                         bool
}

func (g *gateway) status() status {
	s := status{
		State: "accepting sessions", Version: version(), Ready: true,
		Since: g.started.UTC().Format(time.RFC3339), Uptime: time.Since(g.started).Round(time.Second).String(),
		BOSH: g.bosh.Sessions(), WebSocket: g.websocket.Sessions(),
		Domains: strings.Join(g.dialer.Domains(), ", "), Any: g.settings.Open,
		Replica: g.replicas.store.Self().ID, Store: g.replicas.describe(),
	}
	if reason := g.notReady(); reason != "" {
		s.State, s.Ready = reason, false
	}
	return s
}

// serveStatus is the operator's page. It reloads itself; there is no script.
func (g *gateway) serveStatus(w http.ResponseWriter, _ *http.Request) {
	var page bytes.Buffer
	if err := statusPage.Execute(&page, g.status()); err != nil {
		plain(w, http.StatusInternalServerError, "the page cannot be made")
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write(page.Bytes()) // who asked is gone: nothing to do
}
