//go:build e2e

package e2e

import "fmt"

// benchTarget is what one figure is to be.
type benchTarget struct {
	What     string
	AtLeast  float64 `json:",omitempty"`
	AtMost   float64 `json:",omitempty"`
	Measured float64 // 0: it was not
	// Scaled is what it would be where the relay takes relayMicros, as on the machine of the targets; 0 where a target does
	// not depend on the machine so much.
	Scaled float64 `json:",omitempty"`
}

// relayMicros is the relay's CPU time per message where the targets that are in microseconds of CPU come from.
const relayMicros = 2.6

func (t benchTarget) limit() string {
	if t.AtLeast > 0 {
		return fmt.Sprintf("≥ %g", t.AtLeast)
	}
	return fmt.Sprintf("≤ %g", t.AtMost)
}

func (t benchTarget) verdict() string {
	switch {
	case t.Measured == 0:
		return "not measured"
	case t.Scaled > 0 && t.reached(t.Scaled) != t.reached(t.Measured):
		return t.reached(t.Measured) + "; scaled: " + t.reached(t.Scaled)
	}
	return t.reached(t.Measured)
}

func (t benchTarget) reached(v float64) string {
	if t.AtLeast > 0 && v < t.AtLeast || t.AtMost > 0 && v > t.AtMost {
		return "no"
	}
	return "yes"
}

// judge sets the figures against what they are to be. × is the ratio to the relay unless something else is said.
func (r *benchReport) judge() []benchTarget {
	ws, bosh := r.row(nameOf("websocket")), r.row(nameOf("bosh"))
	wsTLS, boshTLS := r.row(nameOfTLS("websocket")), r.row(nameOfTLS("bosh"))
	resumable := r.row(nameResumable)
	redis := median(resumable.Rounds, r.row(nameManaged).Rounds, func(f *benchFigures) *float64 { return &f.CPUMicros })
	poll := 0.0
	if relay := r.row(nameRelay).Median.CPUMicros; relay > 0 {
		poll = bosh.Median.PollMicros / relay
	}
	return []benchTarget{
		{What: "WebSocket, messages/s, ×", AtLeast: 0.75, Measured: ws.Ratio.PerSecond},
		{What: "WebSocket, CPU µs per message", AtMost: 5, Measured: ws.Median.CPUMicros, Scaled: ws.Ratio.CPUMicros * relayMicros},
		{What: "WebSocket, p50, ×", AtMost: 1.1, Measured: ws.Ratio.P50Micros},
		{What: "WebSocket, p99, ×", AtMost: 1.3, Measured: ws.Ratio.P99Micros},
		{What: "BOSH, messages/s, ×", AtLeast: 0.3, Measured: bosh.Ratio.PerSecond},
		{What: "BOSH, CPU µs per message", AtMost: 20, Measured: bosh.Median.CPUMicros, Scaled: bosh.Ratio.CPUMicros * relayMicros},
		{What: "BOSH, p50, ×", AtMost: 1.5, Measured: bosh.Ratio.P50Micros},
		{What: "BOSH, p99, ×", AtMost: 2, Measured: bosh.Ratio.P99Micros},
		{What: "BOSH, CPU µs of an empty poll", AtMost: 40, Measured: bosh.Median.PollMicros, Scaled: poll * relayMicros},
		{What: "WebSocket, KiB per idle session", AtMost: 14, Measured: ws.Median.KiBPerSession},
		{What: "BOSH, KiB per idle session", AtMost: 22, Measured: bosh.Median.KiBPerSession},
		{What: "WebSocket, TLS both ways, KiB per idle session", AtMost: 40, Measured: wsTLS.Median.KiBPerSession},
		{What: "BOSH, TLS both ways, KiB per idle session", AtMost: 40, Measured: boshTLS.Median.KiBPerSession},
		{What: "WebSocket, logins/s, ×", AtLeast: 0.8, Measured: ws.Ratio.LoginsPerSecond},
		{What: "BOSH, logins/s, ×", AtLeast: 0.4, Measured: bosh.Ratio.LoginsPerSecond},
		{What: "resumable on Redis, CPU per message, × the same without Redis", AtMost: 1.6, Measured: redis},
		{What: "request on the wrong replica, µs added, p50", AtMost: 250, Measured: resumable.Median.AddedP50Micros},
		{What: "request on the wrong replica, µs added, p99", AtMost: 2000, Measured: resumable.Median.AddedP99Micros},
		{What: "WebSocket, CPU per message at the most sessions, × that at the fewest", AtMost: 1.2, Measured: r.grown(nameOf("websocket"))},
		{What: "BOSH, CPU per message at the most sessions, × that at the fewest", AtMost: 1.2, Measured: r.grown(nameOf("bosh"))},
	}
}

// grown is by how much the cost of a message has grown from the first to the last size.
func (r *benchReport) grown(name string) float64 {
	for _, g := range r.Growth {
		if g.Name != name || len(g.Points) < 2 {
			continue
		}
		first, last := g.Points[0], g.Points[len(g.Points)-1]
		if first.CPUMicros > 0 && first.Failure == "" && last.Failure == "" {
			return last.CPUMicros / first.CPUMicros
		}
	}
	return 0
}
