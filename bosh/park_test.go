package bosh

import (
	"net/http"
	"strings"
	"testing"

	"stanzagate/internal/parked"
	"stanzagate/internal/xmpptest"
)

// parksAtOnce makes rigs park every request that has to wait, instead of only those that wait long. It is set while other
// tests run in TestParkedRequests.
var parksAtOnce bool

// parkAtOnce gives the rig's server its connections back.
func (r *rig) parkAtOnce(lot *parked.Lot) {
	r.h.long = 0
	again := lot.Listener(r.web.Config, r.web.Listener.Addr())
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = r.web.Config.Serve(again) // it ends with the server
	}()
	r.t.Cleanup(func() { // after the Handler has shut down and the server is closed
		_ = r.web.Config.Close()
		lot.Close()
		<-served
	})
}

// Parked requests are answered as others are: whatever is promised of requests that wait holds for them too.
func TestParkedRequests(t *testing.T) {
	parksAtOnce = true
	defer func() { parksAtOnce = false }()
	for name, f := range map[string]func(*testing.T){
		"LoginAndChat":               TestLoginAndChat,
		"ManySessions":               TestManySessions,
		"BrokenHeldRequest":          TestBrokenHeldRequest,
		"BrokenResponse":             TestBrokenResponse,
		"CORS":                       TestCORS,
		"CORSOnErrors":               TestCORSOnErrors,
		"CancelledHeldRequest":       TestCancelledHeldRequest,
		"ChunkedRequest":             TestChunkedRequest,
		"ConditionsComeWithStatus":   TestConditionsComeWithStatus200,
		"HTTP10":                     TestHTTP10,
		"HTTP2":                      TestHTTP2,
		"Pipelining":                 TestPipelining,
		"PipeliningInTheWrongOrder":  TestPipeliningInTheWrongOrder,
		"ResponseLength":             TestResponseLength,
		"ResponseCoding":             TestResponseCoding,
		"OwnTLS":                     TestOwnTLS,
		"ClientCertificate":          TestClientCertificate,
		"SecureSessionsStaySecure":   TestSecureSessionsStaySecure,
		"Panics":                     TestPanics,
		"ScriptContent":              TestScriptContent,
		"LegacyClients":              TestLegacyClients,
		"StreamErrorWhileOpening":    TestStreamErrorWhileOpening,
		"UnreachableServer":          TestUnreachableServer,
		"NothingOutsideTheBodies":    TestNothingOutsideTheBodies,
		"LogsTellNothing":            TestLogsTellNothing,
		"WhatIsNotForTheServer":      TestWhatIsNotForTheServer,
		"BodyTooLargeWithoutReading": TestTooLargeWithoutReading,
	} {
		t.Run(name, f)
	}
}

// A request that waits is parked, which the session does not notice: the answer comes on the same connection, and so do the
// next ones. Nothing of net/http is left for it.
func TestParking(t *testing.T) {
	parksAtOnce = true
	defer func() { parksAtOnce = false }()
	r := newRig(t, xmpptest.Options{}, Config{Origins: anyOrigins(t)})
	b := r.loginWith(nil, "alice", defaultAttrs)
	conn := r.dial()
	for _, text := range []string{"one", "two", "three"} {
		conn.post(1, b.next("", ""))
		waitFor(t, func() bool { return r.h.parkedNow() == 1 })
		r.xmpp.Session("alice@example.org").Send("<message><body>" + text + "</body></message>")
		if res, body := conn.response(); res.StatusCode != http.StatusOK || !strings.Contains(body, text) {
			t.Errorf("got %d %s", res.StatusCode, body)
		}
	}
}

// A parked request whose browser goes away is held no longer (BOSH-018).
func TestParkedAndGone(t *testing.T) {
	parksAtOnce = true
	defer func() { parksAtOnce = false }()
	r := newRig(t, xmpptest.Options{}, Config{Origins: anyOrigins(t)})
	b := r.loginWith(nil, "alice", defaultAttrs)
	conn := r.dial()
	lost := b.next("", "")
	conn.post(1, lost)
	waitFor(t, func() bool { return r.h.parkedNow() == 1 })
	conn.reset()
	waitFor(t, func() bool { return b.heldNow() == 0 })
	r.xmpp.Session("alice@example.org").Send("<message><body>once</body></message>")
	if out := r.post(nil, lost); strings.Count(out.raw, "once") != 1 {
		t.Errorf("repeat: %s", out.raw)
	}
}

// parkedNow is how many requests wait without a goroutine.
func (h *Handler) parkedNow() (n int) {
	for _, s := range h.registry.all() {
		s.mu.Lock()
		for _, w := range s.waiting {
			if w.parked != nil {
				n++
			}
		}
		s.mu.Unlock()
	}
	return n
}
