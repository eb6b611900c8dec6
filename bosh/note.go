package bosh

import "log/slog"

// What sessions log: never a sid in full, nor content.

// note is a line for the log.
type note struct {
	level slog.Level
	msg   string
	attrs []slog.Attr
}

// noteLocked has a line logged by the up lane: a log may block, which nothing may under mu.
func (s *session) noteLocked(level slog.Level, msg, reason string, more ...slog.Attr) {
	if s.h.cfg.Log.Enabled(s.h.ctx, level) {
		s.up = append(s.up, upItem{kind: upNote, note: &note{level, msg, s.attrs(reason, more)}})
	}
}

// log logs at once. mu is not held.
func (s *session) log(level slog.Level, msg, reason string, more ...slog.Attr) {
	if s.h.cfg.Log.Enabled(s.h.ctx, level) {
		s.h.cfg.Log.LogAttrs(s.h.ctx, level, msg, s.attrs(reason, more)...)
	}
}

func (s *session) attrs(reason string, more []slog.Attr) []slog.Attr {
	attrs := append([]slog.Attr{slog.String("sid", s.key.String()), slog.String("remote", s.client.String())}, more...)
	if reason != "" {
		attrs = append(attrs, slog.String("reason", reason))
	}
	return attrs
}
