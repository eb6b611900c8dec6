package upstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"time"

	"stanzagate/internal/xmlframe"
)

const (
	closeTimeout = 5 * time.Second // how long Close waits for the server (UP-040)
	byeTimeout   = time.Second     // how long a last word may take when the server ended the stream
)

// Close ends the stream cleanly (RFC 6120 §4.4): Recv goes on until the server has closed too, ctx ends, or 5 s are over.
// It returns ctx's error if ctx ended first. It must not be called by the goroutine that has Recv to call, unless Recv has
// returned an error.
func (s *Stream) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	defer s.shut(true)
	select {
	case s.writing <- struct{}{}:
	case <-s.over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
	err := s.sayGoodbye(ctx)
	<-s.writing
	if err != nil {
		return nil // dead
	}
	select {
	case <-s.finished():
	case <-s.over:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// sayGoodbye writes our closing tag unless it is out. It needs the writing token. While a resumable session has no
// connection that is left to Recv, once it has found one: else the server would keep the session (UP-131).
func (s *Stream) sayGoodbye(ctx context.Context) error {
	s.mu.Lock()
	closed, down := s.closed, s.m != nil && s.m.down
	s.mu.Unlock()
	if closed {
		return nil
	}
	var err error
	if !down {
		deadline, _ := ctx.Deadline()
		err = s.put(s.lastWords(), time.Until(deadline))
		down = errors.Is(err, ErrInterrupted)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if down {
		s.m.leaving = true
		return nil
	}
	s.closed = true
	return err
}

// lastWords are our closing tag, after a last truthful <a/> where the gateway does stream management (UP-065): the server
// then delivers elsewhere what the browser does not have, and nothing that it has.
func (s *Stream) lastWords() []byte {
	if s.m == nil {
		return []byte(closingTag)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var b []byte
	if s.m.sm.counting() {
		b = appendAck(nil, s.m.sm.told)
	}
	return append(b, closingTag...)
}

// finished is closed when Recv has returned its last error. Made when it is asked for, as few streams need it before they
// end.
func (s *Stream) finished() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.read == nil {
		s.read = make(chan struct{})
	}
	return s.read
}

func (s *Stream) readOver() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.read == nil {
		s.read = make(chan struct{})
	}
	close(s.read)
}

// Cut drops the connection without a word, so that the server keeps a resumable session.
func (s *Stream) Cut() error {
	s.shut(false)
	return nil
}

// shut closes the connection; polite says whether TLS may say goodbye. Only the first call counts.
func (s *Stream) shut(polite bool) {
	s.mu.Lock()
	select {
	case <-s.over:
		s.mu.Unlock()
		return
	default:
	}
	s.closed = true
	close(s.over)
	l := s.link
	for _, cancel := range []context.CancelFunc{s.cancel, s.cancelLogin} {
		if cancel != nil {
			cancel()
		}
	}
	s.mu.Unlock()
	if polite {
		l.close()
	} else {
		l.cut()
	}
	if s.d.cfg.Metrics != nil {
		s.d.cfg.Metrics.StreamEnded()
	}
}

// cut closes TCP under TLS.
func (l *link) cut() {
	if tc, ok := l.conn.(*tls.Conn); ok {
		_ = tc.NetConn().Close()
	} else {
		_ = l.conn.Close()
	}
	l.ring()
}

// finish ends the stream for the reason that Recv found, answers the server (UP-041, UP-042, UP-043) and returns what
// Recv says.
func (s *Stream) finish(err error) error {
	if errors.Is(err, errExpired) {
		if s.Resumable() {
			// The browser resumes on a new connection, so the server must not hear that the stream is over.
			s.ended = &Error{Op: OpRead, Addr: s.Addr(), Err: &lost{errExpired}}
			s.readOver()
			s.shut(false)
			return s.ended
		}
		s.bye(appendStreamError(nil, errExpired.condition))
		err = &StreamError{Condition: errExpired.condition, Raw: rawStreamError(errExpired.condition)}
	}
	s.ended = err
	var se *StreamError
	if errors.As(err, &se) {
		s.ended = io.EOF
	}
	var high *tooHigh
	if errors.As(err, &high) {
		s.bye(appendTooHigh(nil, high)) // UP-062
	} else if c := conditionOf(err); c != "" {
		s.bye(appendStreamError(nil, c))
	} else if errors.Is(s.ended, io.EOF) {
		s.bye([]byte(closingTag))
	}
	s.readOver()
	s.shut(true)
	return err
}

// bye writes a last word unless ours is out already or somebody is stuck in a write. Who is merely about to return from one
// is waited for.
func (s *Stream) bye(b []byte) {
	late := time.NewTimer(byeTimeout)
	defer late.Stop()
	select {
	case s.writing <- struct{}{}:
		_ = s.put(b, byeTimeout)
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		<-s.writing
	case <-late.C:
	}
}

// streamError deals with a stream error of the server: a redirect that the browser need not notice is followed, anything
// else is returned.
func (s *Stream) streamError(el xmlframe.Element) error {
	se, other := parseStreamError(el)
	if se.Condition != seeOtherHost {
		return se
	}
	if s.follow(&redirect{host: other, direct: s.current().target.direct}) {
		return nil
	}
	// WS-046: where to is not the browser's business. Its login is lost with the stream; it is told to begin again.
	return &StreamError{Condition: "reset", Raw: rawStreamError("reset")}
}

// follow moves to another server. It works as long as the browser has not begun to log in and what it knows of the
// server stays true. It runs in Recv and writes only to the new connection, and a last word to the old one.
func (s *Stream) follow(see *redirect) bool {
	ctx, cancel := context.WithTimeout(context.Background(), s.d.cfg.ConnectTimeout)
	defer cancel()
	s.mu.Lock()
	if s.closed || s.p.begun || s.p.authenticated {
		s.mu.Unlock()
		return false
	}
	s.cancel = cancel
	o := s.client
	s.mu.Unlock()
	l, el, err := s.d.establish(ctx, s.dom, o, way{see: see})
	if err != nil {
		s.d.failed(opOf(err))
		return false
	}
	old, moved := s.move(l, el)
	if moved {
		s.leave(old)
	} else {
		s.leave(l)
	}
	return moved
}

// move makes l the connection of the stream, if nothing has happened meanwhile that speaks against it. It returns the old one.
func (s *Stream) move(l *link, features xmlframe.Element) (old *link, moved bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel = nil
	p := s.policy
	p.noPlain = s.client.Exposed || s.dom.exposes(l)
	p.translate = s.m != nil && s.d.translates(s.dom, l)
	shown := p.filter(features)
	if s.closed || s.p.begun || !bytes.Equal(shown.Raw, s.shown) {
		return nil, false
	}
	old, s.link, s.policy = s.link, l, p
	s.p.learn(readFeatures(features))
	l.arm()
	return old, true
}

// leave ends a connection that is of no use any more, politely unless somebody is still writing to it.
func (s *Stream) leave(l *link) {
	select {
	case s.writing <- struct{}{}:
		_ = l.write([]byte(closingTag), byeTimeout)
		<-s.writing
	default:
	}
	l.close()
}
