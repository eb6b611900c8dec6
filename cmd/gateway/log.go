package main

import (
	"context"
	"io"
	"log"
	"log/slog"
	"os"
	"strings"
)

var levels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

// newLogger writes to w: as text on a terminal, else as JSON, unless the setting says which.
func newLogger(w io.Writer, level, format string) *slog.Logger {
	options := &slog.HandlerOptions{Level: levels[level]}
	if format == "text" || format == "auto" && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// serverLog is where net/http reports: mostly browsers that break off, so at debug level, and panics, which are ours.
type serverLog struct{ log *slog.Logger }

func (s serverLog) Write(line []byte) (int, error) {
	level := slog.LevelDebug
	if strings.Contains(string(line), "panic") {
		level = slog.LevelError
	}
	s.log.LogAttrs(context.Background(), level, "http server", slog.String("error", strings.TrimSpace(string(line))))
	return len(line), nil
}

func newServerLog(logger *slog.Logger) *log.Logger { return log.New(serverLog{logger}, "", 0) }
