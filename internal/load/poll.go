package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// PollResult is what it costs to answer requests that bring nothing and get nothing.
type PollResult struct {
	Polls       uint64
	PerSecond   float64
	CPUPerEmpty time.Duration
}

// Poll logs n BOSH sessions in whose requests are held for t.Wait, and has them poll.
func Poll(ctx context.Context, t Target, n int, warmup, duration time.Duration, cpu func() time.Duration) (PollResult, error) {
	sessions, err := loginBOSH(ctx, t, n)
	defer closeAll(sessions)
	if err != nil {
		return PollResult{}, err
	}
	var polls atomic.Uint64
	var over atomic.Bool
	var polling sync.WaitGroup
	failed := make(chan error, 1)
	polling.Go(func() {
		failed <- each(sessions, func(i int, s *boshSession) error {
			for !over.Load() {
				if err := s.recv(func(uint64, int64) {}); err != nil {
					return fmt.Errorf("session %d: %w", i, err)
				}
				polls.Add(1)
			}
			return nil
		})
	})
	res, err := func() (res PollResult, err error) {
		if err := sleep(ctx, warmup); err != nil {
			return res, err
		}
		begin, count, used := now(), polls.Load(), cpu()
		if err := sleep(ctx, duration); err != nil {
			return res, err
		}
		res.Polls, used = polls.Load()-count, cpu()-used
		if res.Polls == 0 {
			return res, errors.New("no poll was answered")
		}
		res.PerSecond = float64(res.Polls) / time.Duration(now()-begin).Seconds()
		res.CPUPerEmpty = used / time.Duration(res.Polls)
		return res, nil
	}()
	over.Store(true)
	polling.Wait()
	return res, errors.Join(err, <-failed)
}
