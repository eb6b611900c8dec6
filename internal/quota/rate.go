package quota

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Rate is a number of events per time. The zero value means no limit.
type Rate struct {
	Count int
	Per   time.Duration
}

// ParseRate reads "600/m": a count and s, m or h; "0" is no limit.
func ParseRate(s string) (Rate, error) {
	if s == "0" {
		return Rate{}, nil
	}
	count, unit, _ := strings.Cut(s, "/")
	n, err := strconv.ParseUint(count, 10, 31)
	per := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[unit]
	if err != nil || n == 0 || per == 0 {
		return Rate{}, fmt.Errorf(`%q is not a rate; want a count per s, m or h, as in "600/m", or "0" for no limit`, s)
	}
	return Rate{Count: int(n), Per: per}, nil
}

// String is the form that ParseRate reads.
func (r Rate) String() string {
	if r.Count == 0 {
		return "0"
	}
	return strconv.Itoa(r.Count) + "/" + map[time.Duration]string{time.Second: "s", time.Minute: "m", time.Hour: "h"}[r.Per]
}

// bucket is a token bucket: full at first, refilled at the rate, holding at most one period's events.
type bucket struct {
	tokens float64
	at     time.Time // when tokens was true
}

func newBucket(r Rate, now time.Time) bucket { return bucket{float64(r.Count), now} }

// level refills the bucket and returns what it holds. Without a limit it always holds enough.
func (b *bucket) level(r Rate, now time.Time) float64 {
	if r.Count == 0 {
		return 1
	}
	if passed := now.Sub(b.at); passed > 0 {
		b.tokens = min(float64(r.Count), b.tokens+float64(r.Count)*float64(passed)/float64(r.Per))
		b.at = now
	}
	return b.tokens
}

func (b *bucket) take(r Rate, now time.Time) bool {
	if b.level(r, now) < 1 {
		return false
	}
	if r.Count > 0 {
		b.tokens--
	}
	return true
}

// charge takes one even if nothing is left, down to a debt of one period: a session that is already open can go on failing.
func (b *bucket) charge(r Rate, now time.Time) {
	if r.Count > 0 {
		b.tokens = max(b.level(r, now)-1, -float64(r.Count))
	}
}

func (b *bucket) full(r Rate, now time.Time) bool {
	return r.Count == 0 || b.level(r, now) >= float64(r.Count)
}

// unused is the part of the rate that is left, 1 for all of it.
func (b *bucket) unused(r Rate, now time.Time) float64 {
	if r.Count == 0 {
		return 1
	}
	return b.level(r, now) / float64(r.Count)
}
