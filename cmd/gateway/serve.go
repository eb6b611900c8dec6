package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

type serveCommand struct {
	settings `embed:""`
}

func (c *serveCommand) Run(p *process, src *sources) error {
	g, err := newGateway(&c.settings, newLogger(p.stderr, c.LogLevel, c.LogFormat))
	if err != nil {
		return src.explain(err, "default")
	}
	signals := make(chan os.Signal, 4) // a burst is kept; beyond it the same signal again says nothing new
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt, syscall.SIGHUP)
	defer signal.Stop(signals)
	all, err := g.listen()
	if err != nil {
		return src.explain(err, "default")
	}
	return g.serve(all, signals, func() (*settings, error) { return reread(p) })
}

// reread finds the settings anew, for SIGHUP.
func reread(p *process) (*settings, error) {
	var c commands
	src, _, err := parse(&c, *p)
	if err != nil {
		return nil, err
	}
	if err := c.Serve.check(); err != nil {
		return nil, src.explain(err, "default")
	}
	return &c.Serve.settings, nil
}

// closeGrace bounds each of the last steps of a shutdown: telling the sessions that are left, and closing connections.
const closeGrace = 5 * time.Second

// errInterrupted is the end by a second signal.
var errInterrupted = errors.New("ended at once by a second signal; sessions were cut")

// serve answers on the listeners until a signal says to stop, and drains. It owns their goroutines.
func (g *gateway) serve(all *listeners, signals <-chan os.Signal, reread func() (*settings, error)) error {
	failed := make(chan error, len(all.all())+1) // holds the end of every listener, so that none waits
	var serving sync.WaitGroup
	defer serving.Wait()
	trimming, stopTrimming := context.WithCancel(context.Background())
	defer stopTrimming()
	serving.Go(func() { trim(trimming, g.lot.Freed) })
	for _, l := range all.all() {
		g.log.LogAttrs(context.Background(), slog.LevelInfo, "listening", slog.String("address", l.Addr().String()),
			slog.Bool("tls", l.secure), slog.Bool("admin", l == all.admin))
		serving.Go(func() { failed <- l.serve() })
	}
	for _, l := range all.public {
		again := g.lot.Listener(l.server, l.Addr())
		serving.Go(func() { _ = l.server.Serve(again) }) // it ends with the server, which has said why already
	}
	relay, err := g.replicas.start(all.replica, g.handed, g.log)
	switch {
	case err != nil:
		return errors.Join(err, g.stop(signals, all))
	case relay != nil:
		g.log.LogAttrs(context.Background(), slog.LevelInfo, "one of several replicas", slog.String("id", g.replicas.store.Self().ID),
			slog.String("address", g.replicas.store.Self().Address))
		serving.Go(func() { failed <- relay() })
	}
	for {
		select {
		case s := <-signals:
			if s != syscall.SIGHUP {
				return g.stop(signals, all)
			}
			g.reload(reread)
		case err := <-failed:
			return errors.Join(err, g.stop(signals, all))
		}
	}
}

// stop drains (design: drain): no new sessions, sessions that can go elsewhere do, the others go on until drain.timeout and
// are then told; at last the listeners close, the operator's after the others. A second signal cuts all of it short.
func (g *gateway) stop(signals <-chan os.Signal, all *listeners) error {
	g.draining.Store(true)
	g.log.LogAttrs(context.Background(), slog.LevelInfo, "draining", slog.Int("bosh", g.bosh.Sessions()),
		slog.Int("websocket", g.websocket.Sessions()), slog.String("at most", g.settings.DrainTimeout.String()))
	now, interrupt := context.WithCancelCause(context.Background())
	watched := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			select {
			case s := <-signals:
				if s != syscall.SIGHUP {
					interrupt(errInterrupted)
					return
				}
			case <-watched:
				return
			}
		}
	})

	inTime(now, g.settings.DrainTimeout, g.bosh.Drain, g.websocket.Drain)
	inTime(now, closeGrace, g.bosh.Shutdown, g.websocket.Shutdown)
	var closing []func(context.Context) error
	for _, l := range all.public {
		closing = append(closing, l.server.Shutdown)
	}
	inTime(now, closeGrace, closing...)
	inTime(now, closeGrace, g.replicas.stop)
	for _, l := range all.all() {
		l.server.Close() // what Shutdown left; all that could go wrong is that it is closed
	}
	g.lot.Close()
	close(watched)
	watching.Wait()
	interrupt(nil)
	g.log.LogAttrs(context.Background(), slog.LevelInfo, "stopped")
	if errors.Is(context.Cause(now), errInterrupted) {
		return errInterrupted
	}
	return nil
}

// inTime runs the steps side by side. What they leave undone when the time is over the next step deals with.
func inTime(ctx context.Context, limit time.Duration, steps ...func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var running sync.WaitGroup
	for _, step := range steps {
		running.Go(func() { _ = step(ctx) })
	}
	running.Wait()
}
