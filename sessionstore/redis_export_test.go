package sessionstore

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// Abandon ends the view as kill -9 would: nobody renews the lease any more, and nobody gives it up.
func (r *Redis) Abandon() {
	r.mu.Lock()
	r.closed = true
	stop := r.stop
	r.mu.Unlock()
	r.batch.close()
	stop()
	r.running.Wait()
	_ = r.client.Close()
}

// Abandon likewise. A lease in memory does not run out by itself, so it ends now.
func (r *MemoryReplica) Abandon() { _ = r.Close(context.Background()) }

// Sizes returns how many records and accounts are kept.
func (m *Memory) Sizes() (records, accounts int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.records), len(m.slots)
}

// FlushScripts makes all servers forget their scripts.
func (r *Redis) FlushScripts(ctx context.Context) {
	switch c := r.client.(type) {
	case *redis.ClusterClient:
		_ = c.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return c.ScriptFlush(ctx).Err() })
	case *redis.Client:
		_ = c.ScriptFlush(ctx).Err()
	}
}
