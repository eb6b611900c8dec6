package upstream

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmpptest"
)

// Vectors made with another HMAC implementation (openssl dgst -sha256 -hmac).
//
// Covers: UP-087, UP-088.
func TestProofs(t *testing.T) {
	tok := &token{secret: "s3cr3t-token"}
	binding, err := hex.DecodeString("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		side    string
		binding []byte
		want    string
	}{
		{"Initiator", nil, "d4486d7d9644ab67db5dd96ed4602f08bde3c8f761f8ddce4d4e6cc98de4d780"},
		{"Responder", nil, "113e1b617a94885481822e841ba07a48032026fbacbea217d31c13089eb585d9"},
		{"Initiator", binding, "e3782bf6225eaa52480bf69697b5e21282c6b541fcd96579824913ebdfb4d1c3"},
	} {
		got := hex.EncodeToString(tok.proof(c.side, c.binding))
		if got != c.want {
			t.Errorf("%s %x: %s, want %s", c.side, c.binding, got, c.want)
		}
	}
	raw, err := base64.StdEncoding.DecodeString(tok.initialResponse("juliet", nil))
	if err != nil || string(raw) != "juliet\x00"+string(tok.proof("Initiator", nil)) {
		t.Errorf("%q, %v", raw, err)
	}
	for additional, ok := range map[string]bool{
		base64.StdEncoding.EncodeToString(tok.proof("Responder", binding)):      true,
		base64.StdEncoding.EncodeToString(tok.proof("Initiator", binding)):      false,
		base64.StdEncoding.EncodeToString(tok.proof("Responder", nil)):          false,
		base64.StdEncoding.EncodeToString(tok.proof("Responder", binding)[:31]): false,
		"": false, "!": false,
	} {
		if got := tok.verify(additional, binding); got != ok {
			t.Errorf("%q: %v", additional, got)
		}
	}
}

// The best that is offered and possible; names of other layouts are never taken.
//
// Covers: UP-085, UP-090.
func TestChooseHT(t *testing.T) {
	ca := xmpptest.NewCA(t)
	srv := xmpptest.Start(t, xmpptest.Options{TLS: ca.Good("example.org"), Direct: true})
	c := dialTo(t, srv.Setting(ca.File()), Opening{})
	all := []string{"HT-SHA-256-NONE", "HT-SHA-256-ENDP", "HT-SHA-256-UNIQ", "HT-SHA-256-EXPR", "HT2-SHA-256-EXPR", "HT-SHA3-512-EXPR"}
	for _, x := range []struct {
		offered []string
		cs      *tls.ConnectionState
		want    string
	}{
		{all, c.TLS(), htExporter},
		{all[:3], c.TLS(), htEndPoint},
		{all[:1], c.TLS(), htNone},
		{all, nil, htNone},
		{all[2:3], c.TLS(), ""},
		{all[4:], c.TLS(), ""},
		{nil, c.TLS(), ""},
	} {
		if got := chooseHT(x.offered, x.cs); got != x.want {
			t.Errorf("%q: %q, want %q", x.offered, got, x.want)
		}
	}
}

// Both sides of a connection see the same data: TLS 1.3, and TLS 1.2, which tells an empty context from none.
//
// Covers: UP-089.
func TestChannelBinding(t *testing.T) {
	ca := xmpptest.NewCA(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cfg := ca.Good("example.org")
		cfg.MaxVersion = version
		o := modern()
		o.TLS, o.Direct = cfg, true
		srv := xmpptest.Start(t, o)
		d := managedDialer(t, Config{}, srv.Setting(ca.File()))
		x := newSession()
		c := resumable(t, d, x)
		if c.m.cred.token.mechanism != htExporter {
			t.Fatal(c.m.cred.token.mechanism)
		}
		state, err := c.State()
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Cut()
		s, _, err := d.Resume(within(t), state, Opening{Owner: x.Owner}) // the server checks the proof against its own data
		if err != nil {
			t.Fatalf("%s: %v", tls.VersionName(version), err)
		}
		_ = s.Cut()
	}
	if _, err := bindingData(htExporter, nil); err == nil {
		t.Error("binding to a connection in the clear")
	}
	if b, err := bindingData(htNone, nil); err != nil || b != nil {
		t.Error(b, err)
	}
}

// Lists that contradict each other.
//
// Covers: UP-101.
func TestTamperedOffers(t *testing.T) {
	for _, c := range []struct {
		o    fastOffer
		want bool
	}{
		{fastOffer{mechanisms: []string{"PLAIN"}, fast: []string{htNone}}, false},
		{fastOffer{mechanisms: []string{"SCRAM-SHA-1-PLUS"}, types: 1}, false},
		{fastOffer{fast: []string{htNone, htExporter}, types: 2}, false},
		{fastOffer{mechanisms: []string{"SCRAM-SHA-1-PLUS"}}, true},
		{fastOffer{fast: []string{htExporter}}, true},
		{fastOffer{mechanisms: []string{"PLAIN"}, fast: []string{htNone}, types: 1}, true},
	} {
		if got := c.o.tampered(); got != c.want {
			t.Errorf("%+v: %v", c.o, got)
		}
	}
}

// What a token says of itself is believed within reason.
//
// Covers: UP-086.
func TestReadToken(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for raw, want := range map[string]time.Duration{ // until it is due for renewal; 0: no token
		"token='x' expiry='2026-11-27T12:00:00Z'":             24 * time.Hour,
		"token='x' expiry='2026-11-27T12:00:00.000000+00:00'": 24 * time.Hour,
		"token='x' expiry='2081-01-01T00:00:00Z'":             7 * 24 * time.Hour,
		"token='x' expiry='2020-01-01T00:00:00Z'":             7 * 24 * time.Hour,
		"token='x' expiry='soon'":                             7 * 24 * time.Hour,
		"token='x'":                                           7 * 24 * time.Hour,
		"token=''":                                            0,
		"expiry='2026-11-27T12:00:00Z'":                       0,
		"token='" + strings.Repeat("x", maxToken+1) + "'":     0,
	} {
		tok := readToken(parse(t, "<token xmlns='"+ns.FAST+"' "+raw+"/>"), htNone, now)
		switch {
		case (tok == nil) != (want == 0):
			t.Errorf("%s: %+v", raw, tok)
		case tok != nil && tok.due() != now.Add(want):
			t.Errorf("%s: due %v", raw, tok.due())
		}
	}
	if readToken(parse(t, "<token xmlns='"+ns.FAST+"' token='x'/>"), "", now) != nil {
		t.Error("a token that nobody asked for was taken")
	}
}

// A token is renewed over a connection of its own, by LOCAL, and stored before it is used.
//
// Covers: UP-091, UP-092, UP-120.
func TestRenewToken(t *testing.T) {
	o := modern()
	o.Proxy = true
	srv := xmpptest.Start(t, o)
	d := managedDialer(t, Config{}, srv.Setting("")+"&proxy=v2")
	x := newSession()
	c := resumable(t, d, x)
	if due := c.TokenDue(); due.Before(time.Now()) || due.After(time.Now().Add(tokenLife)) {
		t.Error(due)
	}
	old := c.m.cred.token.secret
	x.Owner.Renewed = func(context.Context, []byte) error { return errors.New("store is away") }
	if err := c.RenewToken(within(t)); err == nil || c.m.cred.token.secret != old {
		t.Errorf("used before it was stored: %v", err)
	}
	var saved []byte
	x.Owner.Renewed = func(_ context.Context, state []byte) error { saved = state; return nil }
	if err := c.RenewToken(within(t)); err != nil || c.m.cred.token.secret == old {
		t.Fatal(err)
	}
	now, err := c.State()
	if err != nil || string(now) != string(saved) {
		t.Errorf("%v\n%s\n%s", err, now, saved)
	}
	for range srv.Accepted() - 1 {
		srv.Next()
	}
	peer := srv.Next()
	contains(t, peer.Await(closingTag), wantsToken, "from='juliet@example.org'", "mechanism='"+htNone+"'")
	lacks(t, peer.Received(), "<bind", "<resume")
	if string(peer.Proxy()) != string(appendProxyHeader(nil, proxyV2, netip.AddrPort{}, netip.AddrPort{})) {
		t.Errorf("%q", peer.Proxy())
	}
	c.forward(chatTo("romeo")) // the live session is not disturbed
	_ = c.Cut()
	s, _, err := d.Resume(within(t), saved, Opening{Owner: x.Owner})
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Cut()
}

// Whoever gets another token, or has the state stored, does so alone: a state that comes late would take the newest token away.
//
// Covers: UP-091.
func TestOneTokenAtATime(t *testing.T) {
	srv := xmpptest.Start(t, modern())
	x := newSession()
	c := resumable(t, managedDialer(t, Config{}, srv.Setting("")), x)
	meanwhile := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := c.RenewToken(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("not alone: %v", err)
		}
		if err := c.Publish(ctx, func(context.Context, []byte) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("not alone: %v", err)
		}
	}
	if err := c.Publish(t.Context(), func(context.Context, []byte) error { meanwhile(); return nil }); err != nil {
		t.Error(err)
	}
	renewed, resuming := x.Owner.Renewed, x.Owner.Resuming
	x.Owner.Renewed = func(ctx context.Context, state []byte) error { meanwhile(); return renewed(ctx, state) }
	if err := c.RenewToken(t.Context()); err != nil {
		t.Error(err)
	}
	x.Owner.Resuming = func(ctx context.Context) (uint32, error) { meanwhile(); return resuming(ctx) }
	srv.Session(juliet).Cut()
	c.Proceed(c.until(KindResumed).Break)
	x.Owner.Renewed, x.Owner.Resuming = renewed, resuming
	if err := c.RenewToken(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// The connection of an attempt to resume breaks right after the server has given another token. The next attempt signs in by
// that, so the one before is worth nothing from then on.
//
// Covers: UP-091.
func TestTokenOfAnAttemptThatFailed(t *testing.T) {
	o := modern()
	srv := xmpptest.Start(t, o)
	x := newSession()
	c := resumable(t, managedDialer(t, Config{}, srv.Setting("")), x)
	attempts := 0
	x.Owner.Renewed = func(context.Context, []byte) error {
		attempts++
		o.SASL2.Rotate = false
		srv.Next().Cut() // the one in hand is last
		return nil
	}
	for range srv.Accepted() {
		srv.Next()
	}
	o.SASL2.Rotate = true
	srv.Session(juliet).Cut()
	c.Proceed(c.until(KindResumed).Break)
	if attempts != 1 {
		t.Errorf("%d tokens", attempts)
	}
	srv.Session(juliet).Cut()
	c.Proceed(c.until(KindResumed).Break)
}

// At the end the token is worthless.
//
// Covers: UP-094, UP-120.
func TestForgetToken(t *testing.T) {
	srv := xmpptest.Start(t, modern())
	d := managedDialer(t, Config{}, srv.Setting(""))
	for _, live := range []bool{true, false} {
		x := newSession()
		c := resumable(t, d, x)
		state, err := c.State()
		if err != nil || srv.Tokens("juliet") != 1 {
			t.Fatal(err, srv.Tokens("juliet"))
		}
		c.leave()
		if live {
			err = c.ForgetToken(within(t))
		} else {
			err = d.Forget(within(t), state, vault{})
		}
		if err != nil || srv.Tokens("juliet") != 0 {
			t.Errorf("%v, %d tokens", err, srv.Tokens("juliet"))
		}
		if _, _, err := d.Resume(within(t), state, Opening{Owner: x.Owner}); !errors.Is(err, ErrSessionLost) {
			t.Error(err)
		}
	}
}

// leave closes while Recv runs.
func (c *conn) leave() {
	wait := c.background()
	if err := c.Close(within(c.t)); err != nil {
		c.t.Error(err)
	}
	_ = wait()
}
