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
	r.MustRegister(m.secured, m.connects, m.streams, m.seconds, failures)
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
