package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// DetourResult compares requests that go to the replica that owns the session with those that another one hands on to it.
type DetourResult struct {
	Direct, Detour Latency
}

var errNotBOSH = errors.New("target is no BOSH endpoint")

const ping = "<iq xmlns='jabber:client' type='get' id='trip'><ping xmlns='urn:xmpp:ping'/></iq>"

// Detour logs n BOSH sessions in at the target. Each then pings the server again and again, in turn by the target and by
// other, which is the endpoint of another replica. rate is how many requests there are per second over all sessions.
func Detour(ctx context.Context, t Target, other string, n int, rate float64, warmup, duration time.Duration) (DetourResult, error) {
	away := t
	away.URL = other
	second, err := newDialer(away)
	if err != nil {
		return DetourResult{}, err
	}
	sessions, err := loginBOSH(ctx, t, n)
	defer closeAll(sessions)
	if err != nil {
		return DetourResult{}, err
	}
	begin := now()
	from, to := begin+int64(warmup), begin+int64(warmup+duration)
	every := time.Duration(float64(n) / rate * float64(time.Second))
	took := make([][2][]time.Duration, n)
	err = each(sessions, func(i int, s *boshSession) error {
		s.mu.Lock()
		s.d[1] = second
		s.mu.Unlock()
		for turn, next := 0, begin+int64(every)*int64(i)/int64(n); next < to; turn, next = turn+1, next+int64(every) {
			if err := sleep(ctx, time.Duration(next-now())); err != nil {
				return err
			}
			by := turn % 2
			s.mu.Lock()
			s.first = by
			s.mu.Unlock()
			sent := now()
			if _, err := s.exchange(ping, "'trip'", `"trip"`); err != nil {
				return fmt.Errorf("session %d: %w", i, err)
			}
			if sent >= from {
				took[i][by] = append(took[i][by], time.Duration(now()-sent))
			}
		}
		return nil
	})
	if err != nil {
		return DetourResult{}, err
	}
	var all [2][]time.Duration
	for i := range took {
		for by := range all {
			all[by] = append(all[by], took[i][by]...)
		}
	}
	return DetourResult{Direct: summarise(all[0]), Detour: summarise(all[1])}, nil
}

// loginBOSH is loginAll for what only BOSH has.
func loginBOSH(ctx context.Context, t Target, n int) ([]session, error) {
	d, err := newDialer(t)
	if err != nil {
		return nil, err
	}
	if d.scheme != "http" && d.scheme != "https" {
		return nil, errNotBOSH
	}
	sessions, _, err := loginAll(ctx, t, n)
	return sessions, err
}

// each runs f for every session at the same time, and returns the first error.
func each(sessions []session, f func(i int, s *boshSession) error) error {
	var wg sync.WaitGroup
	failed := make(chan error, len(sessions))
	for i, s := range sessions {
		wg.Go(func() {
			if err := f(i, s.(*boshSession)); err != nil { //nolint:forcetypeassert // the target is BOSH
				failed <- err
			}
		})
	}
	wg.Wait()
	close(failed)
	return <-failed
}
