package sessionstore

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
func (r *MemoryReplica) Abandon() { _ = r.Close(nil) }

// Sizes returns how many records and accounts are kept.
func (m *Memory) Sizes() (records, accounts int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.records), len(m.slots)
}
