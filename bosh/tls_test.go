package bosh

import (
	"net/http"
	"strings"
	"testing"

	"stanzagate/internal/peer"
	"stanzagate/internal/xmpptest"
)

// Browsers in the clear are sent to TLS before anything is spent on them; loopback, and what a proxy has decrypted, is as good.
//
// Covers: BOSH-166, BOSH-176, BOSH-178.
func TestXEP0124_19_1_SessionsNeedTLS(t *testing.T) {
	peers, err := peer.NewResolver([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	const outside = "X-Forwarded-For: 192.0.2.1"
	for name, c := range map[string]struct {
		uri, attrs string
		headers    []string
		status     int
		condition  string // "": a session
	}{
		"loopback":                 {"", defaultAttrs, nil, 200, ""},
		"TLS at the proxy":         {"", defaultAttrs, []string{outside, "X-Forwarded-Proto: https"}, 200, ""},
		"clear":                    {"", defaultAttrs, []string{outside}, 200, "policy-violation"},
		"clear, legacy client":     {"", "wait='60' hold='1'", []string{outside}, 403, ""},
		"clear, elsewhere known":   {"https://gw.example/b?x=1&y=2", defaultAttrs, []string{outside}, 200, "see-other-uri"},
		"clear to the proxy":       {"https://gw.example/b?x=1&y=2", defaultAttrs, []string{outside, "X-Forwarded-Proto: http"}, 200, "see-other-uri"},
		"legacy, elsewhere known":  {"https://gw.example/b?x=1&y=2", "wait='60' hold='1'", []string{outside}, 200, "see-other-uri"},
		"forged through the proxy": {"", defaultAttrs, []string{outside, "Forwarded: for=192.0.2.1;proto=http", "X-Forwarded-Proto: https"}, 200, "policy-violation"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, xmpptest.Options{}, Config{RequireTLS: true, SecureURI: c.uri, Peers: peers, Origins: anyOrigins(t)})
			b := &browser{rig: r, rid: 1000}
			out := r.post(nil, b.createBody(c.attrs), append(c.headers, "Origin: https://page.example")...)
			if out.status != c.status || out.attr("condition") != c.condition {
				t.Fatalf("%d %s", out.status, out.raw)
			}
			if out.header.Get("Access-Control-Allow-Origin") == "" {
				t.Error("the page may not read the answer")
			}
			uri, found := out.child("uri")
			if want := c.condition == "see-other-uri"; found != want || want && (uri.Text != c.uri || uri.XMLName.Space != "http://jabber.org/protocol/httpbind") {
				t.Errorf("uri %+v", uri)
			}
			if session := c.status == http.StatusOK && c.condition == ""; (out.attr("sid") != "") != session || r.counted.started != 0 != session {
				t.Errorf("session: %s", out.raw)
			}
		})
	}
}

func TestSecureURIIsSecure(t *testing.T) {
	r := newRig(t, xmpptest.Options{}, Config{})
	if _, err := New(Config{Dialer: r.h.cfg.Dialer, SecureURI: "http://gw.example/b"}); err == nil || !strings.Contains(err.Error(), "SecureURI") {
		t.Errorf("got %v", err)
	}
}
