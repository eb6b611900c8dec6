package sessionstore

import (
	"context"
	"errors"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// slotRounds bounds how often holders of slots are looked into; each round does up to 64 of them. What is left then counts
// as taken.
const slotRounds = 8

// TakeSlot implements Store (failover-design 9.2). Whether the holder of a slot still has a record is asked between two
// runs of takeslot.lua, as records are in other slots of a cluster than the account.
func (r *Redis) TakeSlot(ctx context.Context, account Account, session Key) (int, error) {
	if err := errors.Join(account.validate(), session.validate()); err != nil {
		return 0, err
	}
	args := []any{string(session), SlotGrace.Milliseconds(), SlotLife.Milliseconds(), MaxSlots, "ask"}
	const fixed = 5
	for round := range slotRounds {
		if round == slotRounds-1 {
			args[fixed-1] = "decide"
		}
		reply, err := r.run(ctx, opSlot, takeSlotScript, r.keys.slots(account), args...)
		if err != nil {
			return 0, err
		}
		words, err := texts(reply)
		switch {
		case err != nil:
			return 0, err
		case words[0] == "full":
			return 0, ErrFull
		case words[0] == "slot" && len(words) == 2:
			n, err := strconv.Atoi(words[1])
			if err != nil {
				return 0, unavailable(errReply)
			}
			return n, nil
		case words[0] != "ask" || len(words)%2 != 1:
			return 0, unavailable(errReply)
		}
		verdicts, err := r.lookInto(ctx, words[1:])
		if err != nil {
			return 0, err
		}
		args = append(args[:fixed:fixed], verdicts...)
	}
	return 0, unavailable(errContest)
}

// lookInto asks which of the sessions have a record. pairs are numbers of slots and the sessions that hold them.
func (r *Redis) lookInto(ctx context.Context, pairs []string) ([]any, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	pipe := r.client.Pipeline()
	var cmds []*redis.IntCmd
	for i := 1; i < len(pairs); i += 2 {
		cmds = append(cmds, pipe.Exists(ctx, r.keys.session(Key(pairs[i]))))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		r.lease.doubt(err)
		return nil, unavailable(err)
	}
	verdicts := make([]any, 0, 3*len(cmds))
	for i, cmd := range cmds {
		verdict := "dead"
		if cmd.Val() == 1 {
			verdict = "live"
		}
		verdicts = append(verdicts, pairs[2*i], pairs[2*i+1], verdict)
	}
	return verdicts, nil
}

// FreeSlot implements Store.
func (r *Redis) FreeSlot(ctx context.Context, account Account, slot int, session Key) error {
	if err := errors.Join(account.validate(), session.validate()); err != nil {
		return err
	}
	_, err := r.run(ctx, opSlot, freeSlotScript, r.keys.slots(account), slot, string(session))
	return err
}
