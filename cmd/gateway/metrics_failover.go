package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stanzagate/bosh"
	"stanzagate/internal/replica"
	"stanzagate/sessionstore"
	"stanzagate/upstream"
)

// boshMetrics is bosh.Metrics and bosh.FailoverMetrics. Immutable; safe for concurrent use.
type boshMetrics struct {
	*transportMetrics
	responses, resumed, stoodDown, givenAway prometheus.Counter
	takeover                                 prometheus.Histogram
	lost                                     map[string]prometheus.Counter
	classes                                  map[string]prometheus.Gauge
}

func newBOSHMetrics(r *prometheus.Registry, t *transportMetrics) *boshMetrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help})
		r.MustRegister(c)
		return c
	}
	m := &boshMetrics{
		transportMetrics: t,
		responses:        counter("bosh_responses_total", "Bodies given to browsers, or to the replica that they had reached."),
		resumed:          counter("resumed_in_place_total", "Streams resumed after their connection to the server broke."),
		stoodDown:        counter("stood_down_total", "Sessions that another replica has taken from this one."),
		givenAway:        counter("given_away_total", "Sessions released on drain for another replica to take."),
		takeover: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "takeover_seconds", Help: "Time from the claim of another replica's session until its stream is resumed.",
			Buckets: []float64{.01, .02, .03, .04, .05, .075, .1, .15, .2, .3, .5, 1, 2, 5, 10, 30},
		}),
		lost: map[string]prometheus.Counter{}, classes: map[string]prometheus.Gauge{},
	}
	lost := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "sessions_lost_total", Help: "Sessions that should have gone on elsewhere or on another connection and could not, by cause.",
	}, []string{"cause"})
	for _, cause := range bosh.LostCauses() {
		m.lost[cause] = lost.WithLabelValues(cause)
	}
	classes := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Name: "session_classes", Help: "BOSH sessions logged in on this replica, by how another one could take them over.",
	}, []string{"class"})
	for _, class := range upstream.Classes() {
		m.classes[string(class)] = classes.WithLabelValues(string(class))
	}
	r.MustRegister(m.takeover, lost, classes)
	return m
}

func (m *boshMetrics) Responded()                { m.responses.Inc() }
func (m *boshMetrics) TakenOver(seconds float64) { m.takeover.Observe(seconds) }
func (m *boshMetrics) Resumed()                  { m.resumed.Inc() }
func (m *boshMetrics) StoodDown()                { m.stoodDown.Inc() }
func (m *boshMetrics) GivenAway()                { m.givenAway.Inc() }

func (m *boshMetrics) Classified(class string, change int) {
	if g := m.classes[class]; g != nil {
		g.Add(float64(change))
	}
}

func (m *boshMetrics) NotResumed(cause string) {
	if c := m.lost[cause]; c != nil {
		c.Inc()
	}
}

// storeMetrics is sessionstore.Metrics. Immutable; safe for concurrent use.
type storeMetrics struct {
	calls   map[[2]string]prometheus.Counter // by operation and outcome
	seconds map[string]prometheus.Observer   // by operation
	batches prometheus.Counter
	batched prometheus.Counter
}

func newStoreMetrics(r *prometheus.Registry) *storeMetrics {
	m := &storeMetrics{
		calls: map[[2]string]prometheus.Counter{}, seconds: map[string]prometheus.Observer{},
		batches: prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "store_batches_total", Help: "Round trips of calls that share them: those for counters."}),
		batched: prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "store_batched_total", Help: "Calls that shared them."}),
	}
	calls := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "store_calls_total", Help: "Calls of the session store, by operation and outcome."}, []string{"op", "outcome"})
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: "store_seconds", Help: "Time that calls of the session store take.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .1, .5, 1, 2},
	}, []string{"op"})
	for _, op := range sessionstore.Operations() {
		m.seconds[op] = seconds.WithLabelValues(op)
		for _, outcome := range sessionstore.Outcomes() {
			m.calls[[2]string{op, outcome}] = calls.WithLabelValues(op, outcome)
		}
	}
	r.MustRegister(m.batches, m.batched, calls, seconds)
	return m
}

func (m *storeMetrics) StoreCall(op string, took time.Duration, outcome string) {
	if c := m.calls[[2]string{op, outcome}]; c != nil {
		c.Inc()
		m.seconds[op].Observe(took.Seconds())
	}
}

func (m *storeMetrics) StoreBatch(n int) {
	m.batched.Add(float64(n))
	m.batches.Inc()
}

// relayMetrics is replica.Metrics. Immutable; safe for concurrent use.
type relayMetrics struct {
	outcomes map[replica.Outcome]prometheus.Counter
	seconds  prometheus.Histogram
}

func newRelayMetrics(r *prometheus.Registry) *relayMetrics {
	m := &relayMetrics{
		outcomes: map[replica.Outcome]prometheus.Counter{},
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "relay_seconds", Help: "What handing a request on to its session's replica adds to the time until its answer.",
			Buckets: []float64{.0001, .00015, .0002, .00025, .0003, .0004, .0005, .00075, .001, .002, .005, .01, .05, .1, .5},
		}),
	}
	outcomes := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "relayed_total", Help: "Requests handed on to other replicas, by outcome."}, []string{"outcome"})
	for _, o := range replica.Outcomes() {
		m.outcomes[o] = outcomes.WithLabelValues(o.String())
	}
	r.MustRegister(m.seconds, outcomes)
	return m
}

func (m *relayMetrics) Relayed(o replica.Outcome, added time.Duration) {
	m.outcomes[o].Inc()
	if o == replica.Answered {
		m.seconds.Observe(added.Seconds())
	}
}
