package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"reflect"
)

// reload is SIGHUP: the certificate's files, the domains and the keys are read again. On an error everything stays as it was.
func (g *gateway) reload(reread func() (*settings, error)) {
	ctx := context.Background()
	if g.cert != nil {
		g.cert.refresh(true)
	}
	fresh, err := reread()
	var useKeys func() error
	if err == nil {
		useKeys, err = g.replicas.reload(fresh)
	}
	if err == nil {
		err = g.dialer.SetDomains(fresh.Domains)
	}
	if err == nil {
		err = useKeys()
	}
	if err != nil {
		g.log.LogAttrs(ctx, slog.LevelError, "settings not reloaded, the old ones stay", slog.Any("error", err))
		return
	}
	g.showDomains()
	g.log.LogAttrs(ctx, slog.LevelInfo, "domains reloaded", slog.Any("domains", g.dialer.Domains()))
	if changed := needRestart(g.settings, fresh); len(changed) > 0 {
		g.log.LogAttrs(ctx, slog.LevelWarn, "these settings have changed and need a restart", slog.Any("settings", changed))
	}
}

// needRestart lists the settings that differ and are only read at the start.
func needRestart(old, fresh *settings) []string {
	before, after := entries(reflect.ValueOf(*old), ""), entries(reflect.ValueOf(*fresh), "")
	var changed []string
	for i, e := range after {
		isRead := e.key == "domain" || e.key == "failover.key" && len(old.Failover.Key) > 0 && len(fresh.Failover.Key) > 0
		if !isRead && e.text != before[i].text {
			changed = append(changed, e.key)
		}
	}
	return changed
}

// pathCause is the reason in an error about a file, whose name is told elsewhere.
func pathCause(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}
