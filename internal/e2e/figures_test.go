//go:build e2e

package e2e

import (
	"bufio"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// figures adds up what the replicas' metrics say. A replica is asked before it is killed, since its counters die with it.
type figures struct {
	kills, freezes, restarts atomic.Int64

	replicas []*replica
	mu       sync.Mutex
	sums     map[string]float64 // by series
}

func newFigures(replicas []*replica) *figures {
	return &figures{replicas: replicas, sums: map[string]float64{}}
}

func (f *figures) collect() {
	for _, r := range f.replicas {
		f.collectFrom(r)
	}
}

// collectFrom reads the metrics of a replica that is about to end. One that does not answer counts nothing.
func (f *figures) collectFrom(r *replica) {
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", r.admin))
	if err != nil {
		return
	}
	defer resp.Body.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if !ok || !strings.HasPrefix(name, "stanzagate_") {
			continue
		}
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			f.sums[name] += v
		}
	}
}

// quantile of a histogram without further labels, in seconds.
func (f *figures) quantile(name string, q float64) float64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	type bucket struct{ le, count float64 }
	var buckets []bucket
	for series, v := range f.sums {
		rest, ok := strings.CutPrefix(series, name+`_bucket{le="`)
		if !ok {
			continue
		}
		le, err := strconv.ParseFloat(strings.TrimSuffix(rest, `"}`), 64)
		if err != nil {
			le = math.Inf(1)
		}
		buckets = append(buckets, bucket{le, v})
	}
	slices.SortFunc(buckets, func(a, b bucket) int { return int(math.Copysign(1, a.le-b.le)) })
	if len(buckets) == 0 || buckets[len(buckets)-1].count == 0 {
		return math.NaN()
	}
	want, low, below := q*buckets[len(buckets)-1].count, 0.0, 0.0
	for _, b := range buckets {
		if b.count >= want && b.count > below {
			return low + (b.le-low)*(want-below)/(b.count-below)
		}
		low, below = b.le, b.count
	}
	return math.Inf(1)
}

func (f *figures) sum(series string) float64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sums[series]
}

func (f *figures) String() string {
	ms := func(name string, q float64) string { return fmt.Sprintf("%.2f", 1000*f.quantile(name, q)) }
	return fmt.Sprintf("%d kills, %d freezes, %d restarts; %.0f takeovers, p50 %s ms, p99 %s ms; %.0f requests handed on, p50 %s ms, p99 %s ms; %.2f store writes per response",
		f.kills.Load(), f.freezes.Load(), f.restarts.Load(),
		f.sum("stanzagate_takeover_seconds_count"), ms("stanzagate_takeover_seconds", .5), ms("stanzagate_takeover_seconds", .99),
		f.sum("stanzagate_relay_seconds_count"), ms("stanzagate_relay_seconds", .5), ms("stanzagate_relay_seconds", .99),
		f.sum(`stanzagate_store_calls_total{op="persist",outcome="ok"}`)/f.sum("stanzagate_bosh_responses_total"))
}
