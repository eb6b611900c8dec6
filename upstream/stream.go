package upstream

import (
	"context"
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
	restart chan struct{} // capacity 1: Restart tells Recv that a new stream header is expected
	over    chan struct{} // closed by shut
	read    chan struct{} // closed by Recv with its last error

	// owned by the goroutine that calls Recv
	first    *xmlframe.Element // features that Open or a redirect read already
	awaiting bool              // SASL has succeeded: the next root is a new stream
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
	cancel context.CancelFunc // of a redirect that is being followed
	client Opening            // what Open was asked for
}

func newStream(d *Dialer, dom *Domain, o Opening, l *link, el xmlframe.Element) *Stream {
	s := &Stream{
		d: d, dom: dom, link: l, first: &el, out: ClientScope(o.Lang), client: o,
		writing: make(chan struct{}, 1), restart: make(chan struct{}, 1),
		over: make(chan struct{}), read: make(chan struct{}),
		policy: policy{managed: o.Managed, noPlain: o.Exposed || dom.exposes(l), noPlus: dom.noPlus},
	}
	l.expireWithCertificate()
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
// It returns io.EOF after </stream:stream>, a *StreamError, or an *Error. Recv never writes while the stream is open; when
// it ends by what the server did, Recv says so to the server and closes the connection.
func (s *Stream) Recv() (Event, error) {
	if s.ended != nil {
		return Event{}, s.ended
	}
	el, err := s.next()
	if err != nil {
		return Event{}, s.finish(err)
	}
	return Event{Kind: KindElement, Element: el}, nil
}

// Buffered reports whether the next Recv returns without waiting for the server. It belongs to the goroutine that calls
// Recv, and makes the last Event's Element invalid.
func (s *Stream) Buffered() bool {
	switch {
	case s.ended != nil, s.first != nil:
		return true
	case s.awaiting:
		return false
	}
	return s.current().rd.buffered()
}

func (s *Stream) next() (xmlframe.Element, error) {
	for {
		if s.first != nil {
			el := *s.first
			s.first = nil
			return s.offer(el), nil
		}
		l := s.current()
		if s.awaiting {
			if err := s.awaitRoot(l); err != nil {
				return xmlframe.Element{}, s.readError(l, err)
			}
		}
		tok, err := l.rd.next()
		if err != nil {
			return xmlframe.Element{}, s.readError(l, err)
		}
		switch tok.Kind {
		case xmlframe.Header:
			if err := s.accept(l, tok); err != nil {
				return xmlframe.Element{}, s.readError(l, err)
			}
			continue
		case xmlframe.End:
			return xmlframe.Element{}, io.EOF
		}
		el := tok.Element
		switch {
		case el.Is(ns.Stream, "error"):
			if err := s.streamError(el); err != nil {
				return xmlframe.Element{}, err
			}
			continue
		case isFeatures(el):
			if err := checkFeatures(readFeatures(el)); err != nil {
				return xmlframe.Element{}, s.readError(l, err)
			}
			s.features = false
			return s.offer(el), nil
		case s.features:
			return xmlframe.Element{}, s.readError(l, &fault{"bad-format", "first element is not the features"})
		}
		s.watch(el)
		return el, nil
	}
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
	select {
	case <-s.restart:
	case <-s.over:
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
func (s *Stream) offer(el xmlframe.Element) xmlframe.Element {
	f := readFeatures(el)
	s.mu.Lock()
	defer s.mu.Unlock()
	shown := s.policy.filter(el)
	s.p.learn(f)
	if !s.p.begun {
		s.shown = append(s.shown[:0], shown.Raw...)
	}
	return shown
}

func (s *Stream) watch(el xmlframe.Element) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.p.saw(el) {
		s.awaiting = true
	}
}

// readError makes the error of a failed read. A fault in the XML keeps its condition; all else is a dead connection.
func (s *Stream) readError(l *link, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errExpired // the only deadline for reading
	} else if conditionOf(err) == "" {
		err = &lost{err}
	}
	return &Error{Op: OpRead, Addr: l.addr, Err: err}
}

// Send writes complete, admitted elements in one write with a deadline. After an error the stream is lost.
func (s *Stream) Send(b []byte) error {
	s.writing <- struct{}{}
	defer func() { <-s.writing }()
	return s.write(b, writeTimeout)
}

// write needs the writing token.
func (s *Stream) write(b []byte, limit time.Duration) error {
	s.mu.Lock()
	l, closed := s.link, s.closed
	s.mu.Unlock()
	if closed {
		return &Error{Op: OpWrite, Addr: l.addr, Err: net.ErrClosed}
	}
	return l.write(b, limit)
}

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

// Restart opens a new stream on the same connection (RFC 6120 §4.3.3). It fails unless Restartable.
func (s *Stream) Restart(o Opening) error {
	s.writing <- struct{}{}
	defer func() { <-s.writing }()
	s.mu.Lock()
	if !s.p.restartable {
		s.mu.Unlock()
		return errNotRestartable
	}
	s.p.restartable = false
	s.out = ClientScope(o.Lang)
	encrypted := s.link.tls != nil
	s.mu.Unlock()
	s.restart <- struct{}{} // never blocks: one restart per SASL success
	o.Domain = s.dom.Name
	return s.write(appendHeader(nil, o.Domain, headerFrom(o, encrypted), o.Lang), writeTimeout)
}

var space = []byte{' '}

// KeepAlive writes one space (RFC 6120 §4.6.1) on a bound stream and does nothing on any other, since white space is
// forbidden while TLS and SASL are negotiated (UP-030). A write that is under way proves as much, so it never waits for
// one; it takes as long as Send when the server has stopped reading.
// UP-115: writes are whole elements, so the space is always between them.
func (s *Stream) KeepAlive() error {
	s.mu.Lock()
	idle := s.p.bound && !s.closed
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
	return s.write(space, writeTimeout)
}
