package main

import (
	"strings"
	"testing"

	"stanzagate/bosh"
	"stanzagate/upstream"
	"stanzagate/websocket"
)

var (
	_ bosh.Metrics      = (*boshMetrics)(nil)
	_ websocket.Metrics = (*transportMetrics)(nil)
	_ upstream.Metrics  = (*upstreamMetrics)(nil)

	_ upstream.SecurityMetrics = (*upstreamMetrics)(nil)
	_ upstream.FailoverMetrics = (*upstreamMetrics)(nil)
	_ bosh.FailoverMetrics     = (*boshMetrics)(nil)
)

func TestMetrics(t *testing.T) {
	r := start(t, testSettings(t), nil)
	m := r.g.metrics
	m.bosh.Request()
	m.bosh.SessionStarted()
	m.bosh.SessionEnded("policy-violation")
	m.bosh.SessionEnded("")
	m.bosh.SessionEnded("what a browser made up\n")
	m.bosh.FromBrowser(2, 300)
	m.websocket.ToBrowser(3, 400)
	m.upstream.Connected(0.02)
	m.upstream.Connected(0.2)
	m.upstream.StreamEnded()
	m.upstream.Secured("TLS 1.3", "TLS_AES_128_GCM_SHA256", "system")
	m.upstream.ConnectFailed(upstream.OpTLS)
	m.upstream.ConnectFailed("something new")
	_, body := r.get(r.admin() + "/metrics")
	for _, line := range []string{
		`stanzagate_requests_total{transport="bosh"} 1`,
		`stanzagate_requests_total{transport="websocket"} 0`,
		`stanzagate_sessions_started_total{transport="bosh"} 1`,
		`stanzagate_sessions_ended_total{condition="policy-violation",transport="bosh"} 1`,
		`stanzagate_sessions_ended_total{condition="none",transport="bosh"} 1`,
		`stanzagate_sessions_ended_total{condition="other",transport="bosh"} 1`,
		`stanzagate_elements_total{direction="from_browser",transport="bosh"} 2`,
		`stanzagate_bytes_total{direction="from_browser",transport="bosh"} 300`,
		`stanzagate_elements_total{direction="to_browser",transport="websocket"} 3`,
		`stanzagate_bytes_total{direction="to_browser",transport="websocket"} 400`,
		`stanzagate_upstream_connects_total 2`,
		`stanzagate_upstream_failures_total{cause="tls"} 1`,
		`stanzagate_upstream_streams 1`,
		`stanzagate_upstream_secured_total{cipher="TLS_AES_128_GCM_SHA256",trust="system",version="TLS 1.3"} 1`,
		`stanzagate_upstream_connect_seconds_bucket{le="0.025"} 1`,
		`stanzagate_sessions{transport="bosh"} 0`,
		`stanzagate_sessions{transport="websocket"} 0`,
		`stanzagate_ready 1`,
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	for _, name := range []string{"go_goroutines", "process_resident_memory_bytes", "stanzagate_build_info"} {
		if !strings.Contains(body, "\n"+name) {
			t.Errorf("no metric %s", name)
		}
	}
}

// Counting is on the path of every stanza.
func TestCountingAllocatesNothing(t *testing.T) {
	m := newMetrics()
	if n := testing.AllocsPerRun(100, func() {
		m.bosh.Request()
		m.bosh.FromBrowser(1, 400)
		m.websocket.ToBrowser(1, 400)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
