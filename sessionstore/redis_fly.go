package sessionstore

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

// persistChunk is how many records one run of persist.lua writes. On a cluster it is one, as records are in many slots.
const persistChunk = 32

// sending is one run of a script, for one call or for several of persist.lua.
type sending struct {
	script *redis.Script
	keys   []string
	args   []any
	calls  []*call
}

// fly carries a batch out in one round trip (on a cluster: one to each node that is concerned), two if a server does not know
// a script.
func (r *Redis) fly(batch []*call) {
	r.cfg.Metrics.StoreBatch(len(batch))
	ctx, cancel := context.WithTimeout(context.Background(), r.cfg.Timeout)
	defer cancel()
	sendings := r.pack(batch)
	if len(sendings) == 1 {
		s := &sendings[0]
		s.settle(s.script.Run(ctx, r.client, s.keys, s.args...))
		return
	}
	if missing := r.flyTogether(ctx, sendings, false); len(missing) > 0 {
		r.flyTogether(ctx, missing, true)
	}
}

// flyTogether carries out several runs in one round trip. It returns those that a server did not know the script of: one
// that was restarted, or has taken another's place. teach: servers get the scripts.
func (r *Redis) flyTogether(ctx context.Context, sendings []sending, teach bool) (missing []sending) {
	pipe := r.client.Pipeline()
	cmds := make([]*redis.Cmd, len(sendings))
	taught := map[*redis.Script]bool{}
	for i, s := range sendings {
		// One server knows a script from the first run on. In a cluster each run may go to another one.
		if teach && (r.target.cluster || !taught[s.script]) {
			cmds[i] = s.script.Eval(ctx, pipe, s.keys, s.args...)
			taught[s.script] = true
		} else {
			cmds[i] = s.script.EvalSha(ctx, pipe, s.keys, s.args...)
		}
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	for i := range sendings {
		if err := cmds[i].Err(); err != nil && !teach && redis.HasErrorPrefix(err, "NOSCRIPT") {
			missing = append(missing, sendings[i])
			continue
		}
		sendings[i].settle(cmds[i])
	}
	return missing
}

// pack makes as few runs of scripts out of a batch as may be.
func (r *Redis) pack(batch []*call) []sending {
	chunk := persistChunk
	if r.target.cluster {
		chunk = 1
	}
	sendings := make([]sending, 0, 1+len(batch)/chunk)
	open := -1 // index of the one that takes more of persist.lua
	for i, c := range batch {
		if c.script != persistScript {
			sendings = append(sendings, sending{script: c.script, keys: []string{c.key}, args: c.args, calls: batch[i : i+1]})
			continue
		}
		if open < 0 || len(sendings[open].calls) == chunk {
			open = len(sendings)
			n := min(chunk, len(batch)-i)
			sendings = append(sendings, sending{
				script: persistScript, keys: make([]string, 0, n), args: make([]any, 0, persistArgs*n), calls: make([]*call, 0, n),
			})
		}
		s := &sendings[open]
		s.keys, s.args, s.calls = append(s.keys, c.key), append(s.args, c.args...), append(s.calls, c)
	}
	return sendings
}

var errReply = errors.New("reply has an unexpected form")

// settle hands the reply out.
func (s *sending) settle(cmd *redis.Cmd) {
	reply, err := cmd.Result()
	var each []any
	if err == nil && s.script == persistScript {
		var ok bool
		if each, ok = reply.([]any); !ok || len(each) != len(s.calls) {
			err = errReply
		}
	}
	for i, c := range s.calls {
		switch {
		case err != nil:
			c.err = err
		case each != nil:
			c.reply = each[i]
		default:
			c.reply = reply
		}
	}
}
