package upstream

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmlframe"
)

// Signing in again without the browser, on a connection that nobody else uses yet.

// ErrSessionLost means that a session cannot be resumed any more: the server has forgotten it, or does not accept what it
// is signed in with. Trying again is of no use.
var ErrSessionLost = errors.New("session cannot be resumed")

// LostError says how a session was lost. It matches ErrSessionLost.
type LostError struct {
	Stage     string // "sign-in", "resume" or "probe"
	Condition string // of the server, or a fixed text of ours
	H         uint32 // how many stanzas the server has handled, if it said so (UP-069)
	HasH      bool
}

func (e *LostError) Error() string        { return "session lost at " + e.Stage + ": " + e.Condition }
func (e *LostError) Is(target error) bool { return target == ErrSessionLost }

func refused(condition string) error { return &LostError{Stage: "sign-in", Condition: condition} }

// login is what of an account is needed to sign in again.
type identity struct {
	bare, agent string
	cred        credential
}

// converse runs f, which talks over l, until ctx ends.
func converse(ctx context.Context, l *link, f func() error) error {
	stop := context.AfterFunc(ctx, func() { _ = l.conn.SetDeadline(time.Unix(1, 0)) })
	err := f()
	if !stop() {
		return errors.Join(context.Cause(ctx), err)
	}
	return err
}

// signIn signs in on a fresh connection. It returns the token that the server gave in place of the old one, if it did. mode
// says what else a login by token is to do.
func (n *negotiation) signIn(id identity, mode tokenMode) (*token, error) {
	switch id.cred.class {
	case ClassFAST:
		return n.byToken(id, mode)
	case ClassPassword:
		return nil, n.byClassic(plain, id.cred.password)
	case ClassExternal:
		return nil, n.byClassic("EXTERNAL", base64.StdEncoding.EncodeToString([]byte(id.bare)))
	case ClassNone:
	}
	return nil, refused("no credential")
}

// tokenMode is what a login by token does beside signing in.
type tokenMode uint8

const (
	tokenUse tokenMode = iota
	tokenRenew
	tokenEnd
)

// byToken is FAST (XEP-0484 §3.4): row 12, without the resumption, so that there is room for a check before it.
func (n *negotiation) byToken(id identity, mode tokenMode) (*token, error) {
	t, o := id.cred.token, n.l.offer
	switch {
	case !o.sasl2 || !n.dom.trusts(n.l):
		return nil, refused("server offers no SASL2")
	case o.tampered():
		return nil, &Error{Op: OpNegotiate, Addr: n.l.addr, Err: errTampered}
	case !slices.Contains(o.fast, t.mechanism):
		return nil, refused("server does not offer " + t.mechanism) // UP-092
	}
	binding, err := bindingData(t.mechanism, n.l.tls)
	if err != nil {
		return nil, refused(err.Error())
	}
	local, _, _ := strings.Cut(id.bare, "@")
	a := authenticate{
		mechanism: t.mechanism, initial: t.initialResponse(local, binding), present: true,
		agent: id.agent, software: n.d.software(), fast: true, last: mode == tokenEnd,
	}
	if mode == tokenRenew {
		a.request = t.mechanism
	}
	el, err := n.present(a.appendTo(nil))
	if err != nil {
		return nil, err
	}
	r := readSuccess(el, t.mechanism)
	if !t.verify(r.data, binding) {
		// UP-088: who cannot prove to know the token is not the server.
		return nil, &Error{Op: OpNegotiate, Addr: n.l.addr, Err: errNoProof}
	}
	if bare := bareOf(r.jid); bare != "" && bare != id.bare {
		return nil, refused("signed in as somebody else")
	}
	return r.token, nil
}

// tokenAgain is how long after its refusal a token is presented once more.
const tokenAgain = 200 * time.Millisecond

// present makes a login by token. One server moves a token to another place at its first use, and does not find it in either
// in the moment in which another connection, of a replica that has died since, has it moved. So not-authorized is believed
// the second time; UP-093: then, and in any other case, it is final.
func (n *negotiation) present(login []byte) (success xmlframe.Element, err error) {
	for try := 1; ; try++ {
		if err := n.write(login); err != nil {
			return xmlframe.Element{}, err
		}
		el, err := n.child()
		switch {
		case err != nil:
			return el, err
		case el.Is(ns.SASL2, "success"):
			return el, nil
		case !el.Is(ns.SASL2, "failure"):
			return el, n.broken(&fault{"bad-format", "answer to <authenticate/> is neither success nor failure"})
		}
		condition := saslCondition(el)
		if try > 1 || condition != "not-authorized" {
			return el, refused(condition)
		}
		<-time.After(tokenAgain)
	}
}

var (
	errTampered = errors.New("list of mechanisms and types of channel binding contradict each other")
	errNoProof  = errors.New("server does not prove that it knows the token")
)

// byClassic is classic SASL with one message, and the restart that follows (RFC 6120 §6.4).
func (n *negotiation) byClassic(mechanism, data string) error {
	if !slices.Contains(n.l.mechanisms, mechanism) {
		return refused("server does not offer " + mechanism)
	}
	b := appendData(nil, "auth", " xmlns='"+ns.SASL+"' mechanism='"+mechanism+"'", data)
	if err := n.write(b); err != nil {
		return err
	}
	el, err := n.child()
	switch {
	case err != nil:
		return err
	case el.Is(ns.SASL, "failure"):
		return refused(saslCondition(el))
	case !el.Is(ns.SASL, "success"):
		return n.broken(&fault{"bad-format", "answer to <auth/> is neither success nor failure"})
	}
	n.l.rd.restart()
	_, err = n.open()
	return err
}

// child reads the next first-level element; a stream error of the server is returned as such.
func (n *negotiation) child() (xmlframe.Element, error) {
	tok, err := n.l.rd.next()
	switch {
	case err != nil:
		return xmlframe.Element{}, n.broken(err)
	case tok.Kind == xmlframe.End:
		return xmlframe.Element{}, n.broken(errStreamOver)
	case tok.Kind == xmlframe.Child && tok.Element.Is(ns.Stream, "error"):
		se, _ := parseStreamError(tok.Element)
		return xmlframe.Element{}, n.broken(se)
	}
	return tok.Element, nil
}

var errStreamOver = errors.New("server closed the stream")

// resume asks for the session (XEP-0198 §5). UP-066: in place of a bind request, with h as the browser has it.
func (n *negotiation) resume(previous string, h uint32) (handled uint32, err error) {
	if err := n.write(appendResume(nil, previous, h)); err != nil {
		return 0, err
	}
	for {
		el, err := n.child()
		switch {
		case err != nil:
			return 0, err
		case el.Is(ns.SM, "resumed"):
			handled, err := readCount(el)
			if err != nil {
				return 0, n.broken(&fault{"bad-format", "<resumed/> without a counter"})
			}
			return handled, nil
		case el.Is(ns.SM, "failed"):
			e := &LostError{Stage: "resume", Condition: failedCondition(el)}
			if h, err := readCount(el); err == nil {
				e.H, e.HasH = h, true
			}
			return 0, e
		case isFeatures(el): // after a login by SASL2 (XEP-0388 §3.6.1)
			n.offered = readFeatures(el)
		default:
			return 0, n.broken(&fault{"bad-format", "unexpected element before <resumed/>"})
		}
	}
}
