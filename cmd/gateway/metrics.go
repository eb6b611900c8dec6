package main

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

const namespace = "stanzagate"

// metrics are all that operators count. Handles are made once, because looking them up costs more than counting.
type metrics struct {
	registry  *prometheus.Registry
	bosh      *boshMetrics
	websocket *transportMetrics
	upstream  *upstreamMetrics
	store     *storeMetrics
	relay     *relayMetrics
}

func newMetrics() *metrics {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: "build_info", Help: "Version of the gateway; always 1."}, []string{"version"})
	build.WithLabelValues(version()).Set(1)
	r.MustRegister(build)
	byTransport := newTransportVecs(r)
	return &metrics{
		registry: r,
		bosh:     newBOSHMetrics(r, byTransport.of("bosh")), websocket: byTransport.of("websocket"),
		upstream: newUpstreamMetrics(r), store: newStoreMetrics(r), relay: newRelayMetrics(r),
	}
}

// gauge registers a number that is asked for when it is scraped.
func (m *metrics) gauge(name, help string, labels prometheus.Labels, value func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help, ConstLabels: labels}, value))
}

// transportVecs are the metrics that exist per transport.
type transportVecs struct {
	requests, started, ended, elements, bytes *prometheus.CounterVec
}

func newTransportVecs(r *prometheus.Registry) *transportVecs {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, append([]string{"transport"}, labels...))
		r.MustRegister(v)
		return v
	}
	return &transportVecs{
		requests: counter("requests_total", "HTTP requests of BOSH, handshakes of WebSocket."),
		started:  counter("sessions_started_total", "Sessions begun."),
		ended:    counter("sessions_ended_total", "Sessions ended, by the condition that the browser was told; none for a plain end.", "condition"),
		elements: counter("elements_total", "First-level elements forwarded, by direction.", "direction"),
		bytes:    counter("bytes_total", "Bytes of forwarded elements, by direction.", "direction"),
	}
}

// Directions as label values.
const (
	fromBrowser = "from_browser"
	toBrowser   = "to_browser"
)

// conditions that a session can end with: XEP-0124 §17.2, RFC 6120 §4.9.3. Others are counted together, so that nothing
// from outside makes new time series.
var conditions = []string{
	"bad-format", "bad-namespace-prefix", "bad-request", "conflict", "connection-timeout", "host-gone", "host-unknown",
	"improper-addressing", "internal-server-error", "invalid-from", "invalid-namespace", "invalid-xml", "item-not-found",
	"not-authorized", "not-well-formed", "other-request", "policy-violation", "remote-connection-failed",
	"remote-stream-error", "reset", "resource-constraint", "restricted-xml", "see-other-host", "see-other-uri",
	"system-shutdown", "undefined-condition", "unsupported-encoding", "unsupported-feature", "unsupported-stanza-type",
	"unsupported-version",
}

func (v *transportVecs) of(transport string) *transportMetrics {
	m := &transportMetrics{
		requests: v.requests.WithLabelValues(transport), started: v.started.WithLabelValues(transport),
		elementsIn: v.elements.WithLabelValues(transport, fromBrowser), bytesIn: v.bytes.WithLabelValues(transport, fromBrowser),
		elementsOut: v.elements.WithLabelValues(transport, toBrowser), bytesOut: v.bytes.WithLabelValues(transport, toBrowser),
		ended: map[string]prometheus.Counter{"": v.ended.WithLabelValues(transport, "none")},
		other: v.ended.WithLabelValues(transport, "other"),
	}
	for _, c := range conditions {
		m.ended[c] = v.ended.WithLabelValues(transport, c)
	}
	return m
}

// transportMetrics is bosh.Metrics and websocket.Metrics. Immutable; safe for concurrent use.
type transportMetrics struct {
	requests, started                          prometheus.Counter
	elementsIn, bytesIn, elementsOut, bytesOut prometheus.Counter
	ended                                      map[string]prometheus.Counter
	other                                      prometheus.Counter
}

func (m *transportMetrics) Request()        { m.requests.Inc() }
func (m *transportMetrics) SessionStarted() { m.started.Inc() }

func (m *transportMetrics) SessionEnded(condition string) {
	if c := m.ended[condition]; c != nil {
		c.Inc()
		return
	}
	m.other.Inc()
}

func (m *transportMetrics) FromBrowser(elements, bytes int) {
	m.elementsIn.Add(float64(elements))
	m.bytesIn.Add(float64(bytes))
}

func (m *transportMetrics) ToBrowser(elements, bytes int) {
	m.elementsOut.Add(float64(elements))
	m.bytesOut.Add(float64(bytes))
}
