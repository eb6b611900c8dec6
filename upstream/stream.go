package upstream

import (
	"context"
	"errors"
	"io"

	"stanzagate/internal/xmlframe"
)

// Stream is one XML stream to a server. One goroutine calls Recv in a loop; any goroutine may call the other methods.
// It ends by Close, by Cut, or when Recv returns an error.
type Stream struct{}

// Header returns what the server's present stream header said.
func (s *Stream) Header() Header { return Header{} }

// Scope returns what received elements inherit from the server's stream header.
func (s *Stream) Scope() *xmlframe.Scope { return nil }

// Recv returns what the server sent next. The first Event after Open and after Restart is the features element.
// It returns io.EOF after </stream:stream>, a *StreamError, or an *Error.
func (s *Stream) Recv() (Event, error) { return Event{}, io.EOF }

// Admit decides what becomes of an element from the browser and appends its bytes for the server to dst.
func (s *Stream) Admit(dst []byte, el xmlframe.Element) (Admission, error) {
	return Admission{Action: Refuse}, nil
}

// Send writes complete, admitted elements in one write with a deadline.
func (s *Stream) Send(b []byte) error { return errors.ErrUnsupported }

// Restart opens a new stream on the same connection (RFC 6120 §4.3.3). It fails unless Restartable.
func (s *Stream) Restart(o Opening) error { return errors.ErrUnsupported }

// Restartable reports whether SASL has succeeded and no restart has followed yet.
func (s *Stream) Restartable() bool { return false }

// Authenticated reports whether SASL has succeeded.
func (s *Stream) Authenticated() bool { return false }

// Resumable reports whether the browser itself holds a resumable XEP-0198 session: cut, never close, when it is lost.
func (s *Stream) Resumable() bool { return false }

// Close ends the stream cleanly (RFC 6120 §4.4): Recv goes on until the server has closed too or ctx ends.
func (s *Stream) Close(ctx context.Context) error { return nil }

// Cut drops the connection without a word, so that the server keeps a resumable session.
func (s *Stream) Cut() error { return nil }
