package sessionstore

import (
	"context"
	"strings"
	"time"
)

// claimRounds bounds how often a claim starts anew because the owner has changed under it.
const claimRounds = 4

// leastTTL is how long a record lives at least after a claim, so that it does not end during the takeover.
const leastTTL = time.Minute

// Claim implements Store (failover-design 7.1). It takes up to three steps: claim.lua, which takes what has no owner, or
// one known to be dead; then, if there is an owner, whether its lease stands; if not, claim.lua again, which takes the
// session from that owner under that epoch only. The owner's lease and the session are different keys, in a cluster on
// different servers, so no script can see both. An owner that renews its lease between the last two steps has been
// without one for a while, so it has fenced itself; it keeps nothing that it has not lost already.
func (r *Redis) Claim(ctx context.Context, key Key, claim Claim) (Claimed, error) {
	if err := key.validate(); err != nil {
		return Claimed{}, err
	}
	if r.Fenced() {
		return Claimed{}, unavailable(errFenced) // others would take it from us at once
	}
	request := r.request()
	condition, arg, epoch := "free", claim.Dead, ""
	loss := LossDead
	if claim.Force {
		condition, loss = "force", LossForced
	}
	for range claimRounds {
		reply, err := r.run(ctx, opClaim, claimScript, r.keys.session(key),
			r.owner, r.cfg.Self.Address, request, r.cfg.Schema, leastTTL.Milliseconds(), condition, arg, epoch,
			r.keys.notices(""), string(key))
		if err != nil {
			return Claimed{}, err
		}
		words, err := texts(reply)
		if err != nil {
			return Claimed{}, err
		}
		switch {
		case words[0] == "none":
			return Claimed{}, ErrNotFound
		case words[0] == "newer":
			return Claimed{}, ErrNewer
		case words[0] == "taken" && len(words) == 6:
			return taken(key, words, loss)
		case words[0] != "owned" || len(words) != 4:
			return Claimed{}, unavailable(errReply)
		}
		owner := ownedBy(words[2], words[3])
		if words[2] == "" {
			condition, arg, epoch, loss = "free", claim.Dead, "", LossDead // it was given away in between
			continue
		}
		answer, gone, err := r.holder(ctx, owner)
		if err != nil || gone == LossNone {
			return answer, err
		}
		condition, arg, epoch, loss = "same", words[2], words[1], gone
	}
	return Claimed{}, unavailable(errContest)
}

// holder asks whether an owner's lease stands. LossNone: it does, or has to be presumed to.
func (r *Redis) holder(ctx context.Context, owner Replica) (Claimed, Loss, error) {
	if owner.Incarnation == r.cfg.Self.Incarnation {
		return Claimed{Owner: r.cfg.Self}, LossNone, nil
	}
	reply, err := r.run(ctx, opHolder, holderScript, r.keys.lease(owner.ID))
	if err != nil {
		return Claimed{}, LossNone, err
	}
	value, ok := reply.(string)
	if !ok {
		return Claimed{}, LossNone, unavailable(errReply)
	}
	incarnation, address, _ := strings.Cut(value, " ")
	switch {
	case incarnation == owner.Incarnation:
		owner.Address = address
		return Claimed{Owner: owner}, LossNone, nil
	case incarnation != "":
		return Claimed{}, LossDead, nil
	case r.lease.settling() > 0:
		// The store was away, and with it all leases: their owners need a moment to come back.
		return Claimed{Owner: owner, Presumed: true}, LossNone, nil
	}
	return Claimed{}, LossExpired, nil
}

// taken reads the answer of a claim that was met.
func taken(key Key, words []string, loss Loss) (Claimed, error) {
	epoch, err := parseEpoch(words[1])
	if err != nil {
		return Claimed{}, err
	}
	c := Claimed{
		Hold: Hold{Key: key, Epoch: epoch}, Owner: ownedBy(words[2], words[3]), Static: []byte(words[4]), Counters: words[5], Loss: loss,
	}
	if words[2] == "" {
		c.Owner, c.Loss = Replica{}, LossReleased
	}
	return c, nil
}
