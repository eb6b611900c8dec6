package upstream

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmlframe"
)

const (
	writeTimeout = 30 * time.Second // how long one Send may take before the connection counts as dead
	writeSlack   = 10 * time.Second // by how much less it may be, so that not each Send has to set a deadline
)

// Stream is one XML stream to a server. One goroutine calls Recv in a loop; any goroutine may call the other methods.
// It ends by Close, by Cut, or when Recv returns an error; whoever opened it makes sure that one of them happens.
type Stream struct {
	// immutable after newStream
	d       *Dialer
	dom     *Domain
	writing chan struct{} // capacity 1: held by who writes, so that elements and the closing tag keep their order
	over    chan struct{} // closed by shut

	// owned by the goroutine that calls Recv
	first    *xmlframe.Element // features that Open or a redirect read already
	awaiting bool              // SASL has succeeded: the next root is a new stream
	holding  bool              // SASL2 has, for a browser that does not know of it: the features wait for its restart
	features bool              // the next element must be the features
	ended    error             // what Recv returns from now on

	mu sync.Mutex
	// guarded by mu
	link   *link
	out    *xmlframe.Scope // our header's declarations
	p      progress
	policy policy
	shown  []byte             // the features that the browser knows, until it begins to log in
	closed bool               // no more is written: our closing tag is out, or the stream is shut
	cancel context.CancelFunc // of what Recv does to find another connection

	cancelLogin context.CancelFunc // of what Send does to find one

	restart chan struct{} // nil, or capacity 1: Restart tells Recv that a new stream is expected
	read    chan struct{} // nil, or closed by Recv with its last error
	client  Opening       // what Open was asked for

	m *managed // nil for a plain stream; the pointer is immutable
}

// newStream makes a Stream that is about to log in, or with nil features one that has been resumed.
func newStream(d *Dialer, dom *Domain, o Opening, l *link, features *xmlframe.Element) *Stream {
	s := &Stream{
		d: d, dom: dom, link: l, first: features, out: ClientScope(o.Lang), client: o,
		writing: make(chan struct{}, 1), over: make(chan struct{}),
		policy: policy{managed: o.Managed, noPlain: o.Exposed || dom.exposes(l), noPlus: dom.noPlus},
	}
	if o.Managed {
		s.m = newManaged(o, d.cfg.Failover != nil)
	}
	if o.Managed && features != nil {
		s.policy.translate = s.d.translates(s.dom, l)
		s.m.login = &login{shown: s.list(l)}
	}
	l.arm()
	return s
}

// exposes reports whether the connection is in the clear although the operator did not say that it may be.
func (dom *Domain) exposes(l *link) bool { return l.tls == nil && dom.security != tlsNone }

// Header returns what the server's present stream header said.
func (s *Stream) Header() Header {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link.header
}

// Scope returns what received elements inherit from the server's stream header.
func (s *Stream) Scope() *xmlframe.Scope {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link.scope
}

// Addr returns host:port of the server that answers.
func (s *Stream) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link.addr
}

// TLS returns how the connection is secured, nil if it is not (UP-022). The caller must not change it.
func (s *Stream) TLS() *tls.ConnectionState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link.tls
}

// Recv returns what the server sent next. The first Event after Open and after Restart is the features element.
// It returns io.EOF after </stream:stream>, a *StreamError, or an *Error. Recv never writes to the connection that it reads
// from while that is open; when the stream ends by what the server did, Recv says so to the server and closes the
// connection. On a resumable stream it survives the loss of the connection: see KindResumed. Errors of Owner's functions
// end such a stream and are returned as they are.
func (s *Stream) Recv() (Event, error) {
	if s.ended != nil {
		return Event{}, s.ended
	}
	ev, err := s.next()
	if err != nil {
		var alive bool
		if ev, err, alive = s.revive(err); !alive {
			return Event{}, s.finish(err)
		}
	}
	return ev, nil
}

// Buffered reports whether the next Recv returns without waiting for the server. It belongs to the goroutine that calls
// Recv, and makes the last Event's Element invalid.
func (s *Stream) Buffered() bool {
	switch {
	case s.ended != nil, s.first != nil, s.m != nil && !s.m.held && len(s.m.queue) > 0:
		return true
	case s.awaiting, s.holding:
		return false
	}
	return s.current().rd.buffered()
}

// next returns the next event for the owner.
func (s *Stream) next() (Event, error) {
	for {
		if s.first != nil {
			el := *s.first
			s.first = nil
			return s.offer(el), nil
		}
		if s.m != nil {
			if ev, ok := s.m.queued(); ok {
				return ev, nil
			}
		}
		l := s.current()
		tok, err := s.token(l)
		if l != s.current() {
			continue // Send has found a better connection: what the old one says is of no concern
		}
		if err != nil {
			if err = s.readError(l, err); err == nil {
				continue
			}
			return Event{}, err
		}
		ev, deliver, err := s.deal(l, tok)
		if err != nil || deliver {
			return ev, err
		}
	}
}

// token reads the next token of a connection.
func (s *Stream) token(l *link) (xmlframe.Token, error) {
	if s.awaiting {
		if err := s.awaitRoot(l); err != nil {
			return xmlframe.Token{}, err
		}
	}
	return l.rd.next()
}

// deal makes an event of a token, if it is for the owner.
func (s *Stream) deal(l *link, tok xmlframe.Token) (ev Event, deliver bool, err error) {
	el := tok.Element
	switch {
	case tok.Kind == xmlframe.Header:
		if err := s.accept(l, tok); err != nil {
			return Event{}, false, s.readError(l, err)
		}
		return Event{}, false, nil
	case tok.Kind == xmlframe.End:
		return Event{}, false, io.EOF
	case el.Is(ns.Stream, "error"):
		return Event{}, false, s.streamError(el)
	case isFeatures(el):
		return s.featuresCame(l, el)
	case s.features:
		return Event{}, false, s.readError(l, &fault{"bad-format", "first element is not the features"})
	case s.m != nil:
		ev, deliver, err := s.manage(el)
		if err != nil {
			err = s.readError(l, err)
		}
		return ev, deliver, err
	}
	s.watch(el)
	return Event{Kind: KindElement, Element: el}, true, nil
}

func (s *Stream) featuresCame(l *link, el xmlframe.Element) (ev Event, deliver bool, err error) {
	if err := checkFeatures(readFeatures(el)); err != nil {
		return Event{}, false, s.readError(l, err)
	}
	s.features = false
	if s.m != nil && s.bound() {
		return Event{}, false, nil // UP-079: after a resumption some servers send them, others do not
	}
	if s.holding {
		if !s.awaitRestart() {
			return Event{}, false, s.readError(l, net.ErrClosed)
		}
		s.holding = false
	}
	return s.offer(el), true, nil
}

// awaitRestart waits for Restart; false if the stream ends before.
func (s *Stream) awaitRestart() bool {
	select {
	case <-s.restarts():
		s.mu.Lock()
		s.restart = nil
		s.mu.Unlock()
		return true
	case <-s.over:
		return false
	}
}

func (s *Stream) restarts() chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.restart == nil {
		s.restart = make(chan struct{}, 1)
	}
	return s.restart
}

func (s *Stream) bound() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.p.bound
}

func (s *Stream) current() *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link
}

// awaitRoot deals with what comes between SASL success and the new stream header. A server that is in a hurry may send it
// before Restart; it waits until then. Anything else belongs to the old stream: an error, or its end.
func (s *Stream) awaitRoot(l *link) error {
	fresh, err := l.rd.newRoot()
	if err != nil || !fresh {
		return err
	}
	if !s.awaitRestart() {
		return net.ErrClosed
	}
	l.rd.restart()
	s.awaiting = false
	return nil
}

func (s *Stream) accept(l *link, tok xmlframe.Token) error {
	h, err := readHeader(tok.Element, s.dom.Name, l.tls != nil)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l.header, l.scope = h, l.rd.scan.Scope()
	s.features = true
	return nil
}

// offer notes what the features say and returns them as the browser may see them.
func (s *Stream) offer(el xmlframe.Element) Event {
	f := readFeatures(el)
	s.mu.Lock()
	defer s.mu.Unlock()
	shown := s.policy.filter(el)
	s.p.learn(f)
	if s.m != nil {
		s.m.sm.offered = f.sm
	}
	if !s.p.begun {
		s.shown = append(s.shown[:0], shown.Raw...)
	}
	return Event{Kind: KindElement, Element: shown}
}

func (s *Stream) watch(el xmlframe.Element) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.p.saw(el) {
		s.awaiting = true
	}
}

// readError makes the error of a failed read; nil if reading can go on. A fault in the XML keeps its condition; all else is
// a dead connection.
func (s *Stream) readError(l *link, err error) error {
	var high *tooHigh
	if errors.Is(err, os.ErrDeadlineExceeded) {
		if err = s.overdue(l); err == nil {
			return nil
		}
	} else if conditionOf(err) == "" && !errors.As(err, &high) {
		err = &lost{err}
	}
	return &Error{Op: OpRead, Addr: l.addr, Err: err}
}

// Send writes complete, admitted elements in one write with a deadline. After an error a plain stream is lost; on a managed
// one Recv tells, and the error is ErrInterrupted if the session is being resumed. On a managed stream what Admit returned
// for a login attempt must be at the end of b; Send may then open another connection, within Config.ConnectTimeout.
func (s *Stream) Send(b []byte) error {
	s.writing <- struct{}{}
	defer func() { <-s.writing }()
	if s.m != nil {
		if a, before := s.attempt(b); a != nil {
			return s.begin(a, before)
		}
	}
	return s.write(b)
}

// attempt takes the login attempt that was admitted last, if b ends in it.
func (s *Stream) attempt(b []byte) (a *attempt, before []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m.login == nil || s.m.login.attempt == nil {
		return nil, nil
	}
	a = s.m.login.attempt
	before, ok := bytes.CutSuffix(b, a.raw)
	if !ok {
		return nil, nil
	}
	s.m.login.attempt = nil
	return a, before
}

// write writes for the owner. It needs the writing token.
func (s *Stream) write(b []byte) error {
	if s.m != nil && s.interrupted() {
		return &Error{Op: OpWrite, Addr: s.Addr(), Err: ErrInterrupted}
	}
	return s.put(b, writeTimeout)
}

// put writes to the present connection. It needs the writing token.
func (s *Stream) put(b []byte, limit time.Duration) error {
	s.mu.Lock()
	l, closed := s.link, s.closed
	s.mu.Unlock()
	if closed {
		return s.closedError()
	}
	err := l.write(b, limit)
	if err != nil && s.m != nil && s.broke(l) {
		return &Error{Op: OpWrite, Addr: l.addr, Err: ErrInterrupted}
	}
	return err
}

func (s *Stream) closedError() error { return &Error{Op: OpWrite, Addr: s.Addr(), Err: net.ErrClosed} }

// write writes within limit, or down to writeSlack less.
func (l *link) write(b []byte, limit time.Duration) error {
	now := time.Now()
	var err error
	if left := l.writeBy.Sub(now); left > limit || left < limit-min(writeSlack, limit/3) {
		l.writeBy = now.Add(limit)
		err = l.conn.SetWriteDeadline(l.writeBy)
	}
	if err == nil {
		_, err = l.conn.Write(b)
	}
	if err != nil {
		// Part of an element may be out: nothing more can be said on this connection.
		l.cut()
		return &Error{Op: OpWrite, Addr: l.addr, Err: &lost{err}}
	}
	return nil
}

// Restart opens a new stream on the same connection (RFC 6120 §4.3.3). It fails unless Restartable. Where the gateway has
// signed the browser in by SASL2 nothing goes to the server, and Recv returns the features that it has sent already.
func (s *Stream) Restart(o Opening) error {
	s.writing <- struct{}{}
	defer func() { <-s.writing }()
	s.mu.Lock()
	if !s.p.restartable {
		s.mu.Unlock()
		return errNotRestartable
	}
	local := s.p.local
	s.p.restartable, s.p.local = false, false
	if local {
		// UP-107, UP-108: the server must not see it. The id is new, all else is as it was.
		s.link.header.ID = rand.Text()
	} else {
		s.out = ClientScope(o.Lang)
	}
	encrypted := s.link.tls != nil
	s.mu.Unlock()
	s.restarts() <- struct{}{} // never blocks: one restart per SASL success
	if local {
		return nil
	}
	o.Domain = s.dom.Name
	return s.put(appendHeader(nil, o.Domain, headerFrom(o, encrypted), o.Lang), writeTimeout)
}

var (
	space    = []byte{' '}
	askedFor = []byte(ackRequest)
)

// KeepAlive writes one space (RFC 6120 §4.6.1) on a bound stream, or an <r/> where the gateway does stream management, and
// does nothing on any other, since white space is forbidden while TLS and SASL are negotiated (UP-030). A write that is under
// way proves as much, so it never waits for one; it takes as long as Send when the server has stopped reading.
// UP-115: writes are whole elements, so the space is always between them.
func (s *Stream) KeepAlive() error {
	s.mu.Lock()
	idle := s.p.bound && !s.closed && (s.m == nil || !s.m.gap)
	s.mu.Unlock()
	if !idle {
		return nil
	}
	select {
	case s.writing <- struct{}{}:
	default:
		return nil
	}
	defer func() { <-s.writing }()
	if s.m != nil && s.asks() {
		return s.put(askedFor, writeTimeout)
	}
	return s.put(space, writeTimeout)
}
