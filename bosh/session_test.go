package bosh

import (
	"testing"

	"stanzagate/internal/xmpptest"
)

func TestLoginAndChat(t *testing.T) {
	r := newRig(t, xmpptest.Options{}, Config{Origins: anyOrigins(t)})
	alice, bob := r.login("alice"), r.login("bob")
	held := bob.hold("", "")
	alice.hold("", message("bob@example.org", "hi"))
	if m, ok := r.get(held).child("message"); !ok || m.attr("from") != "alice@example.org/browser" {
		t.Errorf("got %v", m)
	}
}
