package sessionstore

import (
	"context"
	"log/slog"
	"strings"
	"time"
)

// keepLease renews the lease until ctx ends or another process has taken its name. One goroutine per replica.
func (r *Redis) keepLease(ctx context.Context) {
	l := &r.lease
	how := "take"
	timer := time.NewTimer(0)
	defer timer.Stop()
	for last := (time.Time{}); ; {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-l.poke:
			if wait := l.retry() - time.Since(last); wait > 0 {
				timer.Reset(wait) // not more often than that, whatever fails
				continue
			}
		}
		last = time.Now()
		answer, err := r.renew(ctx, how)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if l.missed(last, err) {
				r.log(slog.LevelWarn, "session store does not answer", slog.String("error", err.Error()))
			}
			timer.Reset(l.retry())
			continue
		case answer == "lost":
			l.replaced.Store(true)
			r.log(slog.LevelError, "another process goes by the name of this replica; this one stands down")
			return
		}
		r.renewed(ctx, last, answer, how == "take")
		how = "renew"
		timer.Reset(l.interval())
	}
}

// renew makes one attempt. It does not share a flight with other calls, so that it does not wait behind them.
func (r *Redis) renew(ctx context.Context, how string) (string, error) {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(ctx, min(r.cfg.Timeout, r.lease.interval()))
	defer cancel()
	answer, err := leaseScript.Run(ctx, r.client, []string{r.keys.lease(r.cfg.Self.ID)},
		r.cfg.Self.Incarnation, r.cfg.Self.Address, r.cfg.Lease.Milliseconds(), how).Text()
	outcome := outcomeOK
	if err != nil {
		outcome = outcomeFailed
	}
	r.cfg.Metrics.StoreCall(opLease, time.Since(begun), outcome)
	return answer, err
}

// renewed notes a success.
func (r *Redis) renewed(ctx context.Context, sent time.Time, answer string, first bool) {
	away := r.lease.status().Away
	// Absent before its time: the store was restarted, emptied, or another server with older data has taken its place.
	lost := answer == "made" && !first && !r.Fenced()
	r.lease.kept(sent, lost)
	switch {
	case first:
		r.log(slog.LevelInfo, "session store reached", slog.String("store", r.target.String()),
			slog.Bool("took the name of another process", answer == "taken"))
		r.warn(ctx)
	case lost:
		r.log(slog.LevelWarn, "session store has lost data: the lease of this replica was gone")
	case away > 0:
		r.log(slog.LevelInfo, "session store answers again", slog.Duration("away", away))
	}
}

// warn tells the operator of a setting that makes a Redis forget sessions.
func (r *Redis) warn(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	text, err := r.client.Info(ctx, "memory").Result()
	if err != nil {
		return // not permitted, perhaps; it is only a hint
	}
	info := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		info[name] = value
	}
	if policy := info["maxmemory_policy"]; info["maxmemory"] != "0" && policy != "" && policy != "noeviction" {
		r.log(slog.LevelWarn, "session store may drop live sessions when its memory is full; set maxmemory-policy noeviction",
			slog.String("maxmemory-policy", policy))
	}
}

func (r *Redis) log(level slog.Level, text string, attrs ...slog.Attr) {
	r.cfg.Log.LogAttrs(context.Background(), level, text, append(attrs, slog.String("replica", r.cfg.Self.ID))...)
}
