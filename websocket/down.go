package websocket

import (
	"context"
	"errors"
	"io"

	ws "github.com/coder/websocket"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmlframe"
	"stanzagate/upstream"
)

// downstate is what the goroutine `down` owns: from the server to the browser.
type downstate struct {
	awaiting   bool // SASL has succeeded, and the features of the new stream are not there yet
	shown      int  // elements that wait for the browser
	shownBytes int  // and what they had as received
}

// runDown is the goroutine `down`. It ends with the server's stream; up waits for it.
func (s *session) runDown(stream *upstream.Stream) {
	resting := false
	s.guard(func() {
		for !resting {
			if !stream.Buffered() {
				s.beforeWaiting()
				resting = !stream.Wait(restAfter) // here, and not in recv, for the sake of the stack
			}
			if !resting && !s.recv(stream) {
				return
			}
		}
	})
	if resting {
		s.pauseDown(stream)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.downOver.happen()
}

// recv takes what the server sent next. It reports whether the stream goes on.
func (s *session) recv(stream *upstream.Stream) bool {
	ev, err := stream.Recv()
	if err != nil {
		s.beforeWaiting()
		s.serverEnded(stream, err)
		return false
	}
	s.show(stream, ev.Element)
	return true
}

// show passes an element on, as one message.
func (s *session) show(stream *upstream.Stream, el xmlframe.Element) {
	stanza := el.IsStanza()
	if s.awaiting {
		s.holdBack(el)
	}
	waiting := 0
	switch {
	case s.compressed:
		waiting = s.compress(el)
	case !stanza && string(el.Space) == ns.Stream:
		waiting = s.sock.out.text(standalone(el))
	default:
		waiting = s.sock.out.element(el)
	}
	if waiting > 0 {
		s.shown++
		s.shownBytes += len(el.Raw)
	}
	if waiting >= min(keepBytes, s.h.cfg.QueueBytes) {
		s.beforeWaiting()
	}
	if !stanza {
		s.notice(stream, el)
	}
}

// beforeWaiting is called before down waits for more from the server.
func (s *session) beforeWaiting() {
	_ = s.sock.flush() // a failure reaches up, which ends the session
	if s.shown > 0 {
		s.h.cfg.Metrics.ToBrowser(s.shown, s.shownBytes)
		s.shown, s.shownBytes = 0, 0
	}
}

// holdBack keeps what the server sends between SASL success and the browser's new <open/>. RFC 7395 §3.7: nothing is said
// in that time.
func (s *session) holdBack(el xmlframe.Element) {
	if el.Is(ns.Stream, "features") {
		s.awaiting = false // upstream gives them out after Restart only, and up sends <open/> before it
		return
	}
	s.beforeWaiting()
	s.mu.Lock()
	reopened := s.reopened.wait()
	s.mu.Unlock()
	<-reopened
	s.awaiting = false
}

// notice is about elements that are not stanzas.
func (s *session) notice(stream *upstream.Stream, el xmlframe.Element) {
	switch string(el.Space) {
	case ns.SASL, ns.SASL2:
		switch string(el.Local) {
		case "failure":
			s.place.AuthFailed()
		case "success":
			s.awaiting = stream.Restartable()
		}
	case ns.Stream:
		s.rearm() // the features may name a shorter keep-alive (XEP-0478 §4)
	case ns.SM:
		if stream.Resumable() && s.h.stageNow() != serving {
			s.order() // it can resume elsewhere, from now on
		}
	}
}

// compress writes an element through coder/websocket, which compresses it.
func (s *session) compress(el xmlframe.Element) int {
	b := buffers.Get().(*[]byte)
	defer giveBack(b)
	if string(el.Space) == ns.Stream {
		*b = append(*b, standalone(el)...)
	} else {
		*b = el.AppendTo(*b, nil)
	}
	return s.sock.out.library(func() { _ = s.library.Write(context.Background(), ws.MessageText, *b) })
}

// serverEnded deals with the end of the server's stream, unless we have ended it ourselves.
func (s *session) serverEnded(stream *upstream.Stream, err error) {
	s.mu.Lock()
	closing := s.closing
	s.mu.Unlock()
	var se *upstream.StreamError
	switch {
	case errors.As(err, &se):
		// RFC 7395 §3.5
		s.finish(ending{condition: se.Condition, element: standaloneError(se.Raw), code: codeOf(se.Condition)})
	case closing:
		// up waits for this and answers the browser's <close/>.
	case errors.Is(err, io.EOF):
		s.finish(ending{code: ws.StatusNormalClosure}) // RFC 7395 §3.6
	case stream.Resumable():
		// The server may still have the browser's session. A <close/> would make it give that up (XEP-0198 §5); without
		// one it comes back and resumes.
		s.finish(ending{condition: internalError, code: ws.StatusInternalError, quiet: true, cut: true})
		s.sock.wake(0)
	default:
		s.finish(faultEnding(internalError))
	}
}
