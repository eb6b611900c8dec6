package upstream

import (
	"io"
	"strings"
	"testing"
	"time"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmpptest"
)

const (
	fTLS    = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>"
	fZip    = "<compression xmlns='http://jabber.org/features/compress'><method>zlib</method></compression>"
	fSM     = "<sm xmlns='urn:xmpp:sm:3'/>"
	fSM2    = "<sm xmlns='urn:xmpp:sm:2'><optional/></sm>"
	fCB     = "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/></sasl-channel-binding>"
	fSASL   = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>SCRAM-SHA-1-PLUS</mechanism> <mechanism>SCRAM-SHA-1</mechanism><mechanism>PLAIN</mechanism></mechanisms>"
	fSASL2  = "<authentication xmlns='urn:xmpp:sasl:2'><mechanism>SCRAM-SHA-1</mechanism><mechanism> PLAIN </mechanism><inline><sm xmlns='urn:xmpp:sm:3'/></inline></authentication>"
	fAuth   = "<auth xmlns='http://jabber.org/features/iq-auth'/>"
	fAck    = "<ack:ack/>"
	fLimits = "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>10000</max-bytes><idle-seconds>840</idle-seconds></limits>"
)

// What is hidden is hidden whole; all else stays byte for byte.
//
// Covers: UP-051, UP-098, UP-100, UP-102.
func TestFeaturesThatABrowserSees(t *testing.T) {
	all := []string{"\n ", fTLS, "\n ", fZip, fSM, fSM2, fCB, fSASL, fSASL2, fAuth, fAck, fLimits, "\n"}
	without := func(drop ...string) string {
		var b strings.Builder
		for _, f := range all {
			gone := false
			for _, d := range drop {
				gone = gone || d == f
			}
			if !gone {
				b.WriteString(f)
			}
		}
		return b.String()
	}
	noPlain := strings.NewReplacer("<mechanism>PLAIN</mechanism>", "", "<mechanism> PLAIN </mechanism>", "")
	for name, c := range map[string]struct {
		p    policy
		want string
	}{
		"pass-through":    {policy{}, without(fTLS, fZip)},
		"managed":         {policy{managed: true}, without(fTLS, fZip, fSM, fSM2, fSASL2)},
		"exposed":         {policy{noPlain: true}, noPlain.Replace(without(fTLS, fZip, fAuth))},
		"without binding": {policy{noPlus: true}, strings.Replace(without(fTLS, fZip, fCB), "<mechanism>SCRAM-SHA-1-PLUS</mechanism>", "", 1)},
	} {
		el := parse(t, "<stream:features xmlns:stream='"+ns.Stream+"' xmlns:ack='urn:ack'>"+strings.Join(all, "")+"</stream:features>")
		got := c.p.filter(el)
		want := "<stream:features xmlns:stream='" + ns.Stream + "' xmlns:ack='urn:ack'>" + c.want + "</stream:features>"
		if string(got.Raw) != want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got.Raw, want)
		}
		if parse(t, string(got.AppendTo(nil, nil))); !got.Is(ns.Stream, "features") {
			t.Errorf("%s: not the features any more", name)
		}
	}
}

// Features without anything to hide are not even copied.
//
// Covers: UP-098.
func TestFeaturesWithoutChange(t *testing.T) {
	el := parse(t, "<stream:features xmlns:stream='"+ns.Stream+"'>"+fSASL+fCB+"</stream:features>")
	if got := (policy{managed: true, noPlain: false}).filter(el); &got.Raw[0] != &el.Raw[0] {
		t.Error("copied")
	}
}

// A set: order does not matter, unknown ones neither, unless one is required and nothing else is there.
//
// Covers: UP-027.
func TestReadFeatures(t *testing.T) {
	for raw, ok := range map[string]bool{
		"":                                 true,
		"<x xmlns='urn:x'/>":               true,
		"<x xmlns='urn:x'><required/></x>": false,
		"<x xmlns='urn:x'><required/></x>" + fSASL:                                   true,
		fSASL + "<x xmlns='urn:x'><required/></x>":                                   true,
		"<x xmlns='urn:x'><required/></x>" + fTLS:                                    true,
		"<x xmlns='urn:x'><y><required/></y></x>":                                    true,
		"<session xmlns='urn:ietf:params:xml:ns:xmpp-session'><required/></session>": true,
		"<x xmlns='urn:x'><required/></x>" + fAuth:                                   true,
	} {
		el := parse(t, "<stream:features xmlns:stream='"+ns.Stream+"' xmlns:ack='urn:ack'>"+raw+"</stream:features>")
		if err := checkFeatures(readFeatures(el)); (err == nil) != ok {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

// Limits are believed as far as they are sane, and observed.
//
// Covers: UP-031.
func TestStreamLimits(t *testing.T) {
	for raw, want := range map[string][2]int64{
		fLimits: {10000, 840},
		"<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes> 7 </max-bytes></limits>":                              {7, 0},
		"<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>-1</max-bytes><idle-seconds>x</idle-seconds></limits>": {0, 0},
		"<limits xmlns='urn:x'><max-bytes>7</max-bytes></limits>":                                                   {0, 0},
	} {
		f := readFeatures(parse(t, "<stream:features xmlns:stream='"+ns.Stream+"'>"+raw+"</stream:features>"))
		if f.maxBytes != want[0] || f.idleSeconds != want[1] {
			t.Errorf("%s: %d, %d", raw, f.maxBytes, f.idleSeconds)
		}
	}
	var p progress
	if p.learn(features{idleSeconds: 1 << 62}); p.idle <= 0 {
		t.Error("overflow: ", p.idle)
	}
	srv := xmpptest.Start(t, xmpptest.Options{PostAuth: fLimits})
	c := dialTo(t, srv.Setting(""), Opening{})
	c.login("juliet")
	if c.MaxBytes() != 10000 || c.Idle() != 840*time.Second {
		t.Error(c.MaxBytes(), c.Idle())
	}
	body := strings.Repeat("x", 10000)
	a := c.admit("<message xmlns='jabber:client' to='r@example.org' id='1&amp;2'><body>" + body + "</body></message>")
	want := "<message xmlns='jabber:client' type='error' id='1&amp;2' from='r@example.org'><error type='modify'>" +
		"<policy-violation xmlns='" + ns.Stanzas + "'/></error></message>"
	if a.Action != Answer || string(a.Bytes) != want {
		t.Errorf("%d %s", a.Action, a.Bytes)
	}
	for _, typ := range []string{"error", "result"} {
		if a := c.admit("<iq xmlns='jabber:client' type='" + typ + "' id='1'><x xmlns='x'>" + body + "</x></iq>"); a.Action != Drop {
			t.Errorf("%s: %d", typ, a.Action)
		}
	}
	c.forward("<message xmlns='jabber:client'><body>still alive</body></message>")
	wait := c.background()
	if err := c.Close(within(t)); err != nil {
		t.Error(err)
	}
	if err := wait(); err != io.EOF {
		t.Error(err)
	}
}
