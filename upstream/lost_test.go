package upstream

import (
	"errors"
	"testing"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmpptest"
)

// Sessions that cannot be resumed, and those that can at the second try.

// What ends a session for good, and how it is told.
//
// Covers: UP-069, UP-088, UP-092, UP-093, UP-101.
func TestLostSessions(t *testing.T) {
	const gone = "<item-not-found xmlns='" + ns.Stanzas + "'/>"
	ownerSays := errors.New("another replica owns it")
	for _, c := range []struct {
		name   string
		faults xmpptest.Faults
		refuse error
		want   LostError
		is     error
	}{
		{"forgotten", xmpptest.Faults{RefuseResume: gone}, nil, LostError{Stage: "resume", Condition: "item-not-found"}, ErrSessionLost},
		{"expired, with a count", xmpptest.Faults{RefuseResume: gone, FailedAttrs: " h='7'"}, nil, LostError{Stage: "resume", Condition: "item-not-found", H: 7, HasH: true}, ErrSessionLost},
		{"wrapped", xmpptest.Faults{RefuseResume: "<error type='cancel'><feature-not-implemented xmlns='" + ns.Stanzas + "'/></error>"}, nil, LostError{Stage: "resume", Condition: "feature-not-implemented"}, ErrSessionLost},
		{"without a condition", xmpptest.Faults{RefuseResume: " "}, nil, LostError{Stage: "resume", Condition: "undefined-condition"}, ErrSessionLost},
		{"token expired", xmpptest.Faults{RefuseToken: "credentials-expired"}, nil, LostError{Stage: "sign-in", Condition: "credentials-expired"}, ErrSessionLost},
		{"token refused", xmpptest.Faults{RefuseToken: "not-authorized", BareFailure: true}, nil, LostError{Stage: "sign-in", Condition: "not-authorized"}, ErrSessionLost},
		{"mechanism gone", xmpptest.Faults{FAST: []string{"HT-SHA-256-UNIQ"}}, nil, LostError{Stage: "sign-in", Condition: "server does not offer " + htNone}, ErrSessionLost},
		{"SASL2 gone", xmpptest.Faults{NoSASL2: true}, nil, LostError{Stage: "sign-in", Condition: "server offers no SASL2"}, ErrSessionLost},
		{"server without the token", xmpptest.Faults{WrongProof: true}, nil, LostError{}, errNoProof},
		{"lists tampered with", xmpptest.Faults{NoTypes: true}, nil, LostError{}, errTampered},
		{"owner refuses", xmpptest.Faults{}, ownerSays, LostError{}, ownerSays},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := modern()
			srv := xmpptest.Start(t, o)
			d, x, state := lose(t, srv, srv.Setting(""))
			srv.SetFaults(c.faults)
			x.refuse = c.refuse
			_, _, err := d.Resume(within(t), state, Opening{Owner: x.Owner})
			if !errors.Is(err, c.is) {
				t.Fatal(err)
			}
			var lost *LostError
			if errors.As(err, &lost) && *lost != c.want {
				t.Errorf("%+v", lost)
			}
			if lost == nil && c.want != (LostError{}) {
				t.Error(err)
			}
			for range srv.Accepted() - 1 {
				srv.Next()
			}
			srv.Wait()
			last := srv.Next().Received()
			lacks(t, last, "xmpp-bind") // AMB-3: never a fresh session behind the browser
			if c.want.Stage != "resume" {
				lacks(t, last, "<resume")
			}
		})
	}
}

// A token that a server does not find for a moment is presented once more; one that has expired is not.
//
// Covers: UP-093.
func TestTokenIsPresentedTwice(t *testing.T) {
	for condition, want := range map[string]error{"not-authorized": nil, "credentials-expired": ErrSessionLost} {
		t.Run(condition, func(t *testing.T) {
			srv := xmpptest.Start(t, modern())
			d, x, state := lose(t, srv, srv.Setting(""))
			srv.SetFaults(xmpptest.Faults{RefuseToken: condition, RefuseOnce: true})
			st, _, err := d.Resume(within(t), state, Opening{Owner: x.Owner})
			if !errors.Is(err, want) {
				t.Fatal(err)
			}
			if err == nil {
				_ = st.Cut()
			}
		})
	}
}
