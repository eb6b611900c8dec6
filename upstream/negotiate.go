package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmlframe"
)

// link is one connection to a server, with a stream open on it. A Stream may change its link (a redirect), so
// all that belongs to a connection is here.
type link struct {
	conn   net.Conn // TCP, or TLS over it
	addr   string
	target target
	tls    *tls.ConnectionState // nil for a plain connection
	rd     *reader              // owned by who reads: Open, then Recv

	header Header
	scope  *xmlframe.Scope

	writeBy time.Time // the write deadline; owned by who holds the stream's writing token
	readBy  time.Time // the read deadline; guarded by Stream.mu
	quietBy time.Time // that of Wait; guarded by Stream.mu

	*greeting // managed streams only, and nil once the login is over
}

// greeting is how a connection introduced itself to a login.
type greeting struct {
	from       string    // of our header
	guessed    bool      // which was read off the browser's login attempt
	mechanisms []string  // of classic SASL
	offer      fastOffer // of SASL2
}

// way says how establish is to do its work when it is not for a browser that just came.
type way struct {
	see     *redirect        // elsewhere than the domain's servers
	at      []target         // these, in place of the domain's
	from    string           // bare JID for the header; unlike Opening.From also over a network that is declared private
	secured bool             // never in the clear
	cert    *tls.Certificate // of ours
	clear   *[]string        // where to leave the mechanisms that are offered before STARTTLS, nil for nowhere
}

// close closes the connection; TLS says close_notify first, with a deadline of its own (crypto/tls).
func (l *link) close() {
	_ = l.conn.Close()
	l.ring()
}

// establish finds, connects, secures and opens: it returns a link whose reader stands right behind the features, and
// those, which are valid until the next read. Redirects are followed (UP-044).
func (d *Dialer) establish(ctx context.Context, dom *Domain, o Opening, w way) (*link, xmlframe.Element, error) {
	for redirects := 0; ; redirects++ {
		where, targets, err := d.where(ctx, dom, w)
		if err != nil {
			return nil, xmlframe.Element{}, &Error{Op: OpResolve, Err: err}
		}
		l, el, err := d.tryAll(ctx, where, o, w, targets)
		w.see = nil
		if !errors.As(err, &w.see) {
			return l, el, err
		}
		if redirects == maxRedirects {
			return nil, xmlframe.Element{}, &Error{Op: OpNegotiate, Err: errRedirects}
		}
	}
}

// where returns the targets to try, and the domain with the rules for their addresses.
func (d *Dialer) where(ctx context.Context, dom *Domain, w way) (*Domain, []target, error) {
	switch {
	case w.see != nil:
		return d.redirected(ctx, dom, w.see)
	case w.at != nil:
		return dom, w.at, nil
	}
	targets, err := d.targets(ctx, dom)
	return dom, targets, err
}

// tryAll tries the targets until one has a stream open. A server that answers with a stream error has answered: the
// others are not asked, unless it only cannot serve now.
func (d *Dialer) tryAll(ctx context.Context, dom *Domain, o Opening, w way, targets []target) (*link, xmlframe.Element, error) {
	var errs error
	for len(targets) > 0 {
		conn, t, rest, err := d.race(ctx, dom, targets)
		if err != nil {
			return nil, xmlframe.Element{}, errors.Join(errs, err)
		}
		l, el, err := d.openOn(ctx, dom, o, w, conn, t, len(rest) > 0)
		if err == nil {
			return l, el, nil
		}
		_ = conn.Close()
		var see *redirect
		var se *StreamError
		if errors.As(err, &see) || errors.As(err, &se) && !passing[se.Condition] {
			return nil, xmlframe.Element{}, err
		}
		errs = errors.Join(errs, err)
		if dom.security == tlsOptional && opOf(err) == OpTLS {
			break // a failed handshake must not lead to a target that is spoken to in the clear
		}
		targets = rest
	}
	return nil, xmlframe.Element{}, errs
}

// passing are the stream errors that concern one server of a domain rather than the domain (RFC 6120 §4.9.3).
var passing = map[string]bool{
	"connection-timeout": true, "internal-server-error": true, "remote-connection-failed": true, "reset": true,
	"resource-constraint": true, "system-shutdown": true,
}

// openOn opens the stream on a fresh TCP connection. With spare targets left it uses half of the time that is left, so
// that a server which accepts and then stays silent does not use it all.
func (d *Dialer) openOn(ctx context.Context, dom *Domain, o Opening, w way, conn net.Conn, t target, spare bool) (*link, xmlframe.Element, error) {
	deadline, _ := ctx.Deadline()
	if spare {
		deadline = time.Now().Add(time.Until(deadline) / 2)
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	n := &negotiation{d: d, dom: dom, o: o, w: w, l: &link{conn: conn, addr: t.addr(), target: t}}
	el, err := n.run(ctx)
	if err != nil {
		var e *Error
		var se *StreamError
		if !errors.As(err, &e) && !errors.As(err, &se) {
			err = &Error{Op: OpNegotiate, Addr: t.addr(), Err: err}
		}
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", err, context.Cause(ctx))
		}
		return nil, xmlframe.Element{}, err
	}
	if !stop() {
		return nil, xmlframe.Element{}, &Error{Op: OpNegotiate, Addr: t.addr(), Err: context.Cause(ctx)}
	}
	return n.l, el, nil
}

// negotiation brings one connection from its first byte to the features that the browser may see.
type negotiation struct {
	d   *Dialer
	dom *Domain
	o   Opening
	w   way
	l   *link

	offered features // the last ones that were read, for what they say beyond the login
}

func (n *negotiation) run(ctx context.Context) (xmlframe.Element, error) {
	if n.dom.proxy != proxyOff {
		// UP-116: the very first bytes, before TLS, in one write.
		if err := n.write(appendProxyHeader(nil, n.dom.proxy, n.o.Client, n.o.Local)); err != nil {
			return xmlframe.Element{}, err
		}
	}
	if n.l.target.direct {
		if err := n.secure(ctx); err != nil {
			return xmlframe.Element{}, err
		}
		return n.open()
	}
	n.l.rd = newReader(n.l.conn, n.d.cfg.Limits, n.o.Managed)
	el, err := n.open()
	if err != nil || n.dom.security == tlsNone && !n.w.secured {
		return el, err
	}
	if !readFeatures(el).startTLS {
		if n.dom.security == tlsOptional && !n.w.secured {
			return el, nil
		}
		// UP-012: no offer is no reason to go on in the clear.
		return xmlframe.Element{}, &Error{Op: OpTLS, Addr: n.l.addr, Err: ErrNoTLS}
	}
	if n.w.clear != nil {
		*n.w.clear = readClassicList(el)
	}
	if err := n.startTLS(ctx); err != nil {
		return xmlframe.Element{}, err
	}
	return n.open()
}

var errTLSRefused = errors.New("server refused STARTTLS")

// startTLS upgrades the connection (RFC 6120 §5.4).
func (n *negotiation) startTLS(ctx context.Context) error {
	if err := n.write([]byte(startTLS)); err != nil {
		return err
	}
	tok, err := n.l.rd.next()
	switch {
	case err != nil:
		return n.broken(err)
	case tok.Kind != xmlframe.Child || !tok.Element.Is(ns.TLS, "proceed"):
		return &Error{Op: OpTLS, Addr: n.l.addr, Err: errTLSRefused}
	}
	return n.secure(ctx)
}

// secure does the handshake. UP-013, UP-014: the reader starts anew, so that nothing learnt in the clear remains, nor what was
// injected behind <proceed/>.
func (n *negotiation) secure(ctx context.Context) error {
	tc, err := n.dom.secure(ctx, n.l.conn, n.l.target.direct, n.w.cert)
	if err != nil {
		return &Error{Op: OpTLS, Addr: n.l.addr, Err: err}
	}
	state := tc.ConnectionState()
	n.l.tls = &state
	n.l.conn = tc
	n.l.rd = newReader(tc, n.d.cfg.Limits, n.o.Managed)
	n.l.header, n.l.scope = Header{}, nil
	return nil
}

// open sends our header and reads the server's, then its features.
func (n *negotiation) open() (xmlframe.Element, error) {
	from := headerFrom(n.o, n.l.tls != nil)
	if n.w.from != "" && n.dom.trusts(n.l) {
		from = n.w.from
	}
	if n.o.Managed {
		n.l.greeting = &greeting{from: from}
	}
	if err := n.write(appendHeader(nil, n.o.Domain, from, n.o.Lang)); err != nil {
		return xmlframe.Element{}, err
	}
	tok, err := n.l.rd.next()
	if err != nil {
		return xmlframe.Element{}, n.broken(err)
	}
	if err := n.l.accept(tok, n.o.Domain); err != nil {
		return xmlframe.Element{}, n.broken(err)
	}
	if tok, err = n.l.rd.next(); err != nil {
		return xmlframe.Element{}, n.broken(err)
	}
	el, err := n.features(tok)
	if err != nil {
		return xmlframe.Element{}, n.broken(err)
	}
	return el, nil
}

// accept takes the server's stream header.
func (l *link) accept(tok xmlframe.Token, domain string) error {
	if tok.Kind != xmlframe.Header {
		return &fault{"bad-format", "no stream header"}
	}
	h, err := readHeader(tok.Element, domain, l.tls != nil)
	if err != nil {
		return err
	}
	l.header, l.scope = h, l.rd.scan.Scope()
	return nil
}

func (n *negotiation) features(tok xmlframe.Token) (xmlframe.Element, error) {
	el := tok.Element
	switch {
	case tok.Kind == xmlframe.End:
		return el, errStreamOver
	case el.Is(ns.Stream, "error"):
		se, other := parseStreamError(el)
		if se.Condition == seeOtherHost {
			return el, &redirect{host: other, direct: n.l.target.direct}
		}
		return el, se
	case !isFeatures(el):
		return el, &fault{"bad-format", "first element is not the features"}
	}
	if n.o.Managed {
		n.l.mechanisms, n.l.offer = readClassicList(el), readFastOffer(el)
		if n.l.from != "" && (n.l.offer.sasl2 || len(n.l.mechanisms) > 0) {
			n.d.offers.remember(n.dom.Name, n.l.offer.fast)
		}
	}
	n.offered = readFeatures(el)
	return el, checkFeatures(n.offered)
}

// checkFeatures refuses features that leave no way on: one is required that we do not know, and nothing else is there
// (UP-027).
func checkFeatures(f features) error {
	if f.unknownNeed && !f.login && !f.startTLS {
		return &fault{"unsupported-feature", "server requires a feature that is not known here"}
	}
	return nil
}

// broken tells the server what is wrong with what it sent, if anything is (UP-043), and makes the error of Open.
func (n *negotiation) broken(err error) error {
	var see *redirect
	var se *StreamError
	switch {
	case errors.As(err, &see), errors.As(err, &se):
		_ = n.write([]byte(closingTag)) // UP-042
		return err
	}
	if c := conditionOf(err); c != "" {
		_ = n.write(appendStreamError(nil, c))
	}
	return &Error{Op: OpNegotiate, Addr: n.l.addr, Err: err}
}

func (n *negotiation) write(b []byte) error {
	if _, err := n.l.conn.Write(b); err != nil {
		return &Error{Op: OpWrite, Addr: n.l.addr, Err: &lost{err}}
	}
	return nil
}
