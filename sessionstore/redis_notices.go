package sessionstore

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Notices tell a replica that one of its sessions was taken (failover-design 7.1). Publishing is at most once, and a
// replica that is frozen or cut off gets nothing: so they only make it stand down sooner than its next write would. claim.lua
// sends them, to the channel of the owner's name; its incarnation is part of the notice.

// Watch implements Store.
func (r *Redis) Watch(f func(Key)) (stop func()) { return r.notices.watch(f) }

// silence is after how long without a notice the connection is tried.
const silence = 30 * time.Second

// listen passes notices on until ctx ends. One goroutine per replica, with a connection of its own.
func (r *Redis) listen(ctx context.Context) {
	for ctx.Err() == nil {
		r.listenOnce(ctx)
		r.lease.doubt(nil) // the server may have gone
		select {
		case <-ctx.Done():
		case <-time.After(r.lease.retry()):
		}
	}
}

// listenOnce passes notices on until the connection breaks.
func (r *Redis) listenOnce(ctx context.Context) {
	sub := r.client.Subscribe(ctx, r.keys.notices(r.cfg.Self.ID))
	stop := context.AfterFunc(ctx, func() { _ = sub.Close() })
	defer func() {
		stop()
		_ = sub.Close()
	}()
	asked := false
	for {
		message, err := sub.ReceiveTimeout(ctx, silence)
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() && !asked {
			if asked = true; sub.Ping(ctx) != nil {
				return
			}
			continue
		}
		if err != nil {
			return
		}
		asked = false
		if m, ok := message.(*redis.Message); ok {
			r.noticed(m.Payload)
		}
	}
}

// noticed passes one notice on. Whoever can publish could have written it.
func (r *Redis) noticed(text string) {
	incarnation, key, _ := strings.Cut(text, " ")
	if incarnation == r.cfg.Self.Incarnation && Key(key).validate() == nil {
		r.notices.tell(Key(key))
	}
}
