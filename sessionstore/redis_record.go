package sessionstore

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// persistArgs is how many arguments persist.lua has for each key.
const persistArgs = 4

// run carries out a script on one key and returns its reply. Errors match ErrUnavailable.
func (r *Redis) run(ctx context.Context, op string, script *redis.Script, key string, args ...any) (any, error) {
	begun := time.Now()
	c := call{script: script, key: key, args: args}
	r.batch.do(ctx, &c)
	if c.err != nil {
		r.lease.doubt(c.err)
		c.err = unavailable(c.err)
		r.cfg.Metrics.StoreCall(op, time.Since(begun), outcomeFailed)
		return nil, c.err
	}
	r.cfg.Metrics.StoreCall(op, time.Since(begun), outcomeOf(c.reply))
	return c.reply, nil
}

// outcomeOf tells metrics whether a script did what it was asked for.
func outcomeOf(reply any) string {
	switch reply := reply.(type) {
	case int64:
		if reply != done {
			return outcomeRefused
		}
	case []any:
		if len(reply) == 1 { // "exists", "none", "newer", "full"
			return outcomeRefused
		}
	}
	return outcomeOK
}

// What scripts that return a number say.
const (
	done     = int64(1)
	notOwner = int64(0)
	noRecord = int64(-1)
)

// verdict reads the reply of a script that returns a number.
func verdict(reply any, err error) error {
	if err != nil {
		return err
	}
	switch reply {
	case done:
		return nil
	case notOwner:
		return ErrNotOwner
	case noRecord:
		return ErrNotFound
	}
	return unavailable(errReply)
}

// texts reads the reply of a script that returns words.
func texts(reply any) ([]string, error) {
	words, ok := reply.([]any)
	if !ok || len(words) == 0 {
		return nil, unavailable(errReply)
	}
	out := make([]string, len(words))
	for i, w := range words {
		if out[i], ok = w.(string); !ok {
			return nil, unavailable(errReply)
		}
	}
	return out, nil
}

func parseEpoch(s string) (Epoch, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n == 0 || n > maxExact {
		return 0, unavailable(errReply)
	}
	return Epoch(n), nil
}

// Create implements Store.
func (r *Redis) Create(ctx context.Context, key Key, draft Draft) (Hold, error) {
	if err := errors.Join(key.validate(), validTTL(draft.TTL), validStatic(draft.Static)); err != nil {
		return Hold{}, err
	}
	if r.Fenced() {
		return Hold{}, unavailable(errFenced) // others would take it at once
	}
	reply, err := r.run(ctx, opCreate, createScript, r.keys.session(key),
		r.owner, r.cfg.Self.Address, r.request(), r.cfg.Schema, draft.TTL.Milliseconds(), draft.Static)
	if err != nil {
		return Hold{}, err
	}
	words, err := texts(reply)
	switch {
	case err != nil:
		return Hold{}, err
	case words[0] == "exists":
		return Hold{}, ErrExists
	case len(words) != 2:
		return Hold{}, unavailable(errReply)
	}
	epoch, err := parseEpoch(words[1])
	if err != nil {
		return Hold{}, err
	}
	return Hold{Key: key, Epoch: epoch}, nil
}

// Persist implements Store.
func (r *Redis) Persist(ctx context.Context, hold Hold, c Counters) error {
	if err := errors.Join(hold.Key.validate(), c.validate()); err != nil {
		return err
	}
	return verdict(r.run(ctx, opPersist, persistScript, r.keys.session(hold.Key),
		uint64(hold.Epoch), c.Seq, c.TTL.Milliseconds(), c.Data))
}

// Touch implements Store.
func (r *Redis) Touch(ctx context.Context, hold Hold, ttl time.Duration) error {
	if err := errors.Join(hold.Key.validate(), validTTL(ttl)); err != nil {
		return err
	}
	return verdict(r.run(ctx, opCheck, persistScript, r.keys.session(hold.Key), uint64(hold.Epoch), "", ttl.Milliseconds(), ""))
}

// Check implements Store.
func (r *Redis) Check(ctx context.Context, hold Hold) error {
	if err := hold.Key.validate(); err != nil {
		return err
	}
	return verdict(r.run(ctx, opCheck, persistScript, r.keys.session(hold.Key), uint64(hold.Epoch), "", "", ""))
}

// Update implements Store.
func (r *Redis) Update(ctx context.Context, hold Hold, static []byte, ttl time.Duration) error {
	if err := errors.Join(hold.Key.validate(), validTTL(ttl), validStatic(static)); err != nil {
		return err
	}
	return verdict(r.run(ctx, opUpdate, updateScript, r.keys.session(hold.Key),
		uint64(hold.Epoch), r.updates.Add(1), ttl.Milliseconds(), static))
}

// Release implements Store.
func (r *Redis) Release(ctx context.Context, hold Hold) error {
	if err := hold.Key.validate(); err != nil {
		return err
	}
	return verdict(r.run(ctx, opRelease, releaseScript, r.keys.session(hold.Key), uint64(hold.Epoch), r.request()))
}

// Delete implements Store.
func (r *Redis) Delete(ctx context.Context, hold Hold) error {
	if err := hold.Key.validate(); err != nil {
		return err
	}
	return verdict(r.run(ctx, opDelete, deleteScript, r.keys.session(hold.Key), uint64(hold.Epoch)))
}
