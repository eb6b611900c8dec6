package load

import (
	"context"
	"fmt"
	"time"
)

// IdleResult is what logged-in sessions cost that do nothing.
type IdleResult struct {
	Sessions        int
	LoginsPerSecond float64
	Bytes           int64         // proportional set size of the processes under test at the end
	BytesPerSession int64         // by how much that has grown
	CPUPerSecond    time.Duration // of the same, per second of the hold
}

// Idle logs n sessions in, as fast as the other side lets it, holds them for a while and logs them out. memory and cpu
// measure the processes under test; settle is how long to wait before memory is read.
func Idle(ctx context.Context, t Target, n int, settle, hold time.Duration, memory func() (int64, error), cpu func() time.Duration) (IdleResult, error) {
	before, err := memory()
	if err != nil {
		return IdleResult{}, err
	}
	begin := now()
	sessions, _, err := loginAll(ctx, t, n)
	defer closeAll(sessions)
	if err != nil {
		return IdleResult{}, err
	}
	res := IdleResult{Sessions: n, LoginsPerSecond: float64(n) / time.Duration(now()-begin).Seconds()}
	for _, s := range sessions { // a BOSH client leaves one request with the other side; the others answer pings
		go func() {
			for s.recv(func(uint64, int64) {}) == nil {
			}
		}()
	}
	if err := sleep(ctx, settle); err != nil {
		return res, err
	}
	used := cpu()
	if err := sleep(ctx, hold); err != nil {
		return res, err
	}
	if hold > 0 {
		res.CPUPerSecond = time.Duration(float64(cpu()-used) / hold.Seconds())
	}
	after, err := memory()
	if err != nil {
		return res, fmt.Errorf("memory: %w", err)
	}
	res.Bytes, res.BytesPerSession = after, (after-before)/int64(n)
	return res, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
