package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Plan is one measurement.
type Plan struct {
	Pairs    int
	InFlight int           // closed loop: messages on their way per pair at any time
	Rate     float64       // > 0: open loop instead, that many messages per second over all pairs
	Warmup   time.Duration // not measured
	Duration time.Duration // measured
}

// Result of a Plan.
type Result struct {
	Messages  uint64  // received while measuring
	PerSecond float64 // likewise
	Latency   Latency
	// Over the whole run. Lost are messages that never came although the run waited for them.
	Lost, Doubled, Reordered uint64
	// CPUPerMessage is the user and system time of the processes under test, 0 without any.
	CPUPerMessage time.Duration
}

// peer is one side of a pair.
type peer struct {
	s        session
	other    *peer
	received atomic.Uint64 // read by the controller
	sent     atomic.Uint64

	// owned by the reader
	tally tally
	// guarded by mu: in the open loop the pacer sends
	mu  sync.Mutex
	env *envelope
	out []byte
}

// send sends n more messages. With stop set it does nothing.
func (p *peer) send(n int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out = p.out[:0]
	seq := p.sent.Load()
	for range n {
		p.out = append(p.out, p.env.stamp(seq, now())...)
		seq++
	}
	p.sent.Store(seq)
	return p.s.send(p.out, n)
}

// run is one measurement in progress.
type run struct {
	plan      Plan
	peers     []*peer
	measuring atomic.Bool
	stopping  atomic.Bool
	failed    chan error // capacity: one per reader
}

// Run logs the sessions in, runs the plan and logs them out. cpu returns the processor time that the processes under test
// have used so far; it may be nil.
func Run(ctx context.Context, t Target, plan Plan, cpu func() time.Duration) (Result, error) {
	if cpu == nil {
		cpu = func() time.Duration { return 0 }
	}
	sessions, jids, err := loginAll(ctx, t, 2*plan.Pairs)
	defer closeAll(sessions)
	if err != nil {
		return Result{}, err
	}
	r := &run{plan: plan, failed: make(chan error, len(sessions))}
	for i, s := range sessions {
		r.peers = append(r.peers, &peer{s: s, env: newEnvelope(jids[i^1], s.namespace())})
	}
	for i, p := range r.peers {
		p.other = r.peers[i^1]
	}
	var readers sync.WaitGroup
	for _, p := range r.peers {
		readers.Go(func() { r.read(p) })
	}
	res, err := r.measure(ctx, cpu)
	closeAll(sessions)
	readers.Wait()
	if err != nil {
		return Result{}, err
	}
	r.sum(&res)
	return res, nil
}

// read is the loop of one session. It ends when the session is closed.
func (r *run) read(p *peer) {
	for {
		n := 0
		err := p.s.recv(func(seq uint64, sent int64) {
			n++
			p.tally.take(seq, sent, r.measuring.Load())
		})
		p.received.Add(uint64(n))
		if err == nil && n > 0 && r.plan.Rate == 0 && !r.stopping.Load() {
			err = p.send(n)
		}
		if err != nil {
			r.failed <- err
			return
		}
	}
}

func (r *run) measure(ctx context.Context, cpu func() time.Duration) (Result, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var pacing sync.WaitGroup
	if r.plan.Rate > 0 {
		pacing.Go(func() { r.pace(ctx) })
	} else {
		for i := 0; i < len(r.peers); i += 2 {
			if err := r.peers[i].send(r.plan.InFlight); err != nil {
				return Result{}, err
			}
		}
	}
	if err := r.wait(ctx, r.plan.Warmup); err != nil {
		return Result{}, err
	}
	r.measuring.Store(true)
	begin, count, used := now(), r.received(), cpu()
	if err := r.wait(ctx, r.plan.Duration); err != nil {
		return Result{}, err
	}
	end, used := now(), cpu()-used
	res := Result{Messages: r.received() - count}
	r.measuring.Store(false)
	r.stopping.Store(true)
	stop()
	pacing.Wait()
	if res.Messages == 0 {
		return res, errors.New("nothing arrived")
	}
	res.PerSecond = float64(res.Messages) / time.Duration(end-begin).Seconds()
	res.CPUPerMessage = used / time.Duration(res.Messages)
	return res, r.drain()
}

func (r *run) wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case err := <-r.failed:
		return fmt.Errorf("session failed: %w", err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// drain waits until everything that was sent has arrived, or nothing more comes for a while.
func (r *run) drain() error {
	const patience = 5 * time.Second
	last, since := r.received(), now()
	for last < r.sent() && time.Duration(now()-since) < patience {
		time.Sleep(10 * time.Millisecond)
		if n := r.received(); n != last {
			last, since = n, now()
		}
	}
	select {
	case err := <-r.failed:
		return fmt.Errorf("session failed: %w", err)
	default:
		return nil
	}
}

// pace sends the open loop's messages from the even side of each pair to the other, at most a tick late.
func (r *run) pace(ctx context.Context) {
	const tick = time.Millisecond
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	begin, sent, turn := now(), 0, 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for due := int(r.plan.Rate * time.Duration(now()-begin).Seconds()); sent < due; sent++ {
			p := r.peers[turn%len(r.peers)&^1]
			turn += 2
			if err := p.send(1); err != nil {
				return // its reader reports it
			}
		}
	}
}

func (r *run) received() (n uint64) {
	for _, p := range r.peers {
		n += p.received.Load()
	}
	return n
}

func (r *run) sent() (n uint64) {
	for _, p := range r.peers {
		n += p.sent.Load()
	}
	return n
}

// sum adds up the tallies; the readers have ended.
func (r *run) sum(res *Result) {
	var all []time.Duration
	for _, p := range r.peers {
		res.Doubled += p.tally.doubled
		res.Reordered += p.tally.reordered
		res.Lost += p.tally.lost
		if sent := p.other.sent.Load(); sent > p.tally.next {
			res.Lost += sent - p.tally.next
		}
		all = append(all, p.tally.latency.values...)
	}
	res.Latency = summarise(all)
}

// loginAll opens n sessions, some at a time. On an error it returns those that are open as well.
func loginAll(ctx context.Context, t Target, n int) ([]session, []string, error) {
	d, err := newDialer(t)
	if err != nil {
		return nil, nil, err
	}
	sessions, jids := make([]session, n), make([]string, n)
	atOnce := t.AtOnce
	if atOnce == 0 {
		atOnce = 64
	}
	turns := make(chan struct{}, atOnce)
	var failure atomic.Pointer[error]
	var wg sync.WaitGroup
	for i := range n {
		turns <- struct{}{}
		if failure.Load() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-turns }()
			s, jid, err := d.login(ctx, t, i)
			if err != nil {
				failure.CompareAndSwap(nil, &err)
				return
			}
			sessions[i], jids[i] = s, jid
		})
	}
	wg.Wait()
	if e := failure.Load(); e != nil {
		return sessions, nil, *e
	}
	return sessions, jids, nil
}

func closeAll(sessions []session) {
	for _, s := range sessions {
		if s != nil {
			s.close()
		}
	}
}
