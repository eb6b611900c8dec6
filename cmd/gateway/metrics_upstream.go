package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"stanzagate/upstream"
)

// upstreamMetrics is upstream.Metrics. Immutable; safe for concurrent use.
type upstreamMetrics struct {
	connects prometheus.Counter
	seconds  prometheus.Histogram
	streams  prometheus.Gauge
	failures map[string]prometheus.Counter
	secured  *prometheus.CounterVec
	classes  map[upstream.Class]prometheus.Counter
	resumed  map[string]prometheus.Observer // by outcome
}

func newUpstreamMetrics(r *prometheus.Registry) *upstreamMetrics {
	m := &upstreamMetrics{
		connects: prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "upstream_connects_total", Help: "Streams opened to XMPP servers."}),
		streams:  prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: "upstream_streams", Help: "Streams open to XMPP servers."}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "upstream_connect_seconds", Help: "Time to open a stream: resolving, connecting, TLS and negotiation.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		failures: map[string]prometheus.Counter{},
	}
	failures := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "upstream_failures_total", Help: "Streams that could not be opened, by cause."}, []string{"cause"})
	for _, op := range []string{upstream.OpResolve, upstream.OpConnect, upstream.OpTLS, upstream.OpNegotiate, upstream.OpRead, upstream.OpWrite} {
		m.failures[op] = failures.WithLabelValues(op)
	}
	m.secured = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "upstream_secured_total",
		Help: "Streams opened, by TLS version and cipher, and by what the certificate was verified against.",
	}, []string{"version", "cipher", "trust"})
	m.classes, m.resumed = map[upstream.Class]prometheus.Counter{}, map[string]prometheus.Observer{}
	classes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "upstream_classes_total", Help: "Managed streams bound, by how they can be resumed on another connection.",
	}, []string{"class"})
	for _, c := range upstream.Classes() {
		m.classes[c] = classes.WithLabelValues(string(c))
	}
	resumed := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: "upstream_resume_seconds", Help: "Time to resume a managed stream, by outcome, pauses included.",
		Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 120},
	}, []string{"outcome"})
	for _, o := range []string{upstream.OutcomeResumed, upstream.OutcomeLost, upstream.OutcomeUnreachable, upstream.OutcomeRefused} {
		m.resumed[o] = resumed.WithLabelValues(o)
	}
	r.MustRegister(classes, resumed, m.secured, m.connects, m.streams, m.seconds, failures)
	return m
}

func (m *upstreamMetrics) Connected(seconds float64) {
	m.connects.Inc()
	m.seconds.Observe(seconds)
	m.streams.Inc()
}

// Secured is upstream.SecurityMetrics. The labels are crypto/tls's names and words of ours, so their number is bounded.
func (m *upstreamMetrics) Secured(version, cipher, trust string) {
	m.secured.WithLabelValues(version, cipher, trust).Inc()
}

func (m *upstreamMetrics) ConnectFailed(op string) {
	if c := m.failures[op]; c != nil {
		c.Inc()
	}
}

func (m *upstreamMetrics) StreamEnded() { m.streams.Dec() }

// Classified and Resumption are upstream.FailoverMetrics.
func (m *upstreamMetrics) Classified(c upstream.Class) {
	if n := m.classes[c]; n != nil {
		n.Inc()
	}
}

func (m *upstreamMetrics) Resumption(seconds float64, outcome string) {
	if o := m.resumed[outcome]; o != nil {
		o.Observe(seconds)
	}
}
