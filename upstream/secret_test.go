package upstream

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmpptest"
)

// What errors say ends up in logs: no password, no token, no SASL data, nothing that a peer sent.
//
// Covers: UP-052.
func TestErrorsTellNoSecrets(t *testing.T) {
	const secret, payload = "c2VjcmV0", "xyzzy-from-the-peer"
	var said []string
	hears := func(err error) {
		t.Helper()
		if err == nil {
			t.Error("no error")
			return
		}
		said = append(said, fmt.Sprintf("%v %+v %#v", err, err, err.Error()))
	}
	srv := xmpptest.Start(t, modern())
	d, x, state := lose(t, srv, srv.Setting(""))
	_, cred, err := decodeState(state, vault{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []xmpptest.Faults{
		{RefuseToken: "not-authorized"}, {WrongProof: true}, {NoSASL2: true}, {NoTypes: true}, {RefuseResume: "<" + payload + "/>"},
	} {
		srv.SetFaults(f)
		_, _, err := d.Resume(within(t), state, Opening{Owner: x.Owner})
		hears(err)
	}
	_, _, err = decodeState(state, nil)
	hears(err)
	_, _, err = decodeState([]byte(strings.Replace(string(state), `"juliet@example.org"`, `"x@example.org"`, 1)), vault{})
	hears(err)
	for _, raw := range []string{"<" + payload, "<message>&" + payload + ";</message>", "<!--" + payload + "-->", "<a xmlns='" + ns.SM + "' h='" + payload + "'/>"} {
		bad := xmpptest.Start(t, modern())
		c := resumable(t, managedDialer(t, Config{}, bad.Setting("")), newSession())
		bad.Session(juliet).Send(raw + "<")
		bad.Session(juliet).CloseStream()
		hears(c.end())
	}
	c := dialTo(t, xmpptest.Start(t, xmpptest.Options{}).Setting(""), Opening{Managed: true})
	c.expect("features")
	_ = c.Cut()
	hears(c.Send(c.admit("<auth xmlns='" + ns.SASL + "' mechanism='PLAIN'>" + secret + "</auth>").Bytes))
	hears(&tooHigh{1, 2})
	for _, s := range said {
		lacks(t, s, secret, payload, cred.token.secret)
	}
	var lost *LostError
	if errors.As(err, &lost) {
		t.Error("a state that does not open is no lost session")
	}
}
