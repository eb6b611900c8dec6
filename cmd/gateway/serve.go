package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"
)

type serveCommand struct {
	settings `embed:""`
}

func (c *serveCommand) Run(p *process, src *sources) error {
	if err := c.check(); err != nil {
		return src.explain(err, "default")
	}
	log := newLogger(p.stderr, c.LogLevel, c.LogFormat)
	g, err := newGateway(&c.settings, log)
	if err != nil {
		return src.explain(err, "default")
	}
	signals := make(chan os.Signal, 4) // a burst is kept; beyond it the same signal again says nothing new
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt, syscall.SIGHUP)
	defer signal.Stop(signals)
	return src.explain(g.run(signals, func() (*settings, error) { return reread(p) }), "default")
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

// run listens until a signal says to stop, and drains. It owns the goroutines of all listeners.
func (g *gateway) run(signals <-chan os.Signal, reread func() (*settings, error)) error {
	public, admin, err := g.listen()
	if err != nil {
		return err
	}
	all := public
	if admin != nil {
		all = append(slices.Clone(public), admin)
	}
	failed := make(chan error, len(all))
	var serving sync.WaitGroup
	for _, l := range all {
		g.log.LogAttrs(context.Background(), slog.LevelInfo, "listening", slog.String("address", l.Addr().String()), slog.Bool("tls", l.secure), slog.Bool("admin", l == admin))
		serving.Go(func() { failed <- l.serve() })
	}
	for {
		select {
		case s := <-signals:
			if s == syscall.SIGHUP {
				g.reload(reread)
				continue
			}
			err = g.stop(signals, public, admin)
		case err = <-failed:
			err = errors.Join(err, g.stop(signals, public, admin))
		}
		serving.Wait()
		return err
	}
}

// stop drains (design: drain): no new sessions, sessions that can go elsewhere do, the others go on until drain.timeout and
// are then told; at last the listeners close, the operator's after the others. A second signal cuts all of it short.
func (g *gateway) stop(signals <-chan os.Signal, public []*listener, admin *listener) error {
	g.draining.Store(true)
	g.log.LogAttrs(context.Background(), slog.LevelInfo, "draining", slog.Int("bosh", g.bosh.Sessions()),
		slog.Int("websocket", g.websocket.Sessions()), slog.Duration("at most", g.settings.DrainTimeout))
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
	for _, l := range public {
		closing = append(closing, l.server.Shutdown)
	}
	inTime(now, closeGrace, closing...)
	if admin != nil {
		public = append(public, admin)
	}
	for _, l := range public {
		l.server.Close() // what Shutdown left; all that could go wrong is that it is closed
	}
	close(watched)
	watching.Wait()
	interrupt(nil)
	err := context.Cause(now)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	g.log.LogAttrs(context.Background(), slog.LevelInfo, "stopped")
	return err
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
