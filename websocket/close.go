package websocket

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	ws "github.com/coder/websocket"
)

// closeTimeout is how long the browser has for its part of a close, <close/> or the WebSocket's (RFC 7395 §3.6).
const closeTimeout = 3 * time.Second

// Conditions that are named in more than one place.
const (
	internalError  = "internal-server-error"
	systemShutdown = "system-shutdown"
	policy         = "policy-violation"
)

// ending is how a session ends, and what the browser is told.
type ending struct {
	condition string        // for metrics and the log; "" for a plain end
	element   []byte        // stream error; nil for none
	code      ws.StatusCode // of the WebSocket's close, where that is up to us
	quiet     bool          // no <close/>: the browser's XEP-0198 session goes on elsewhere, or the WebSocket is at fault
	seeOther  bool          // <close/> names Config.SeeOther
	cut       bool          // the server keeps the browser's session
}

// faultEnding is an ending by a stream error of ours.
func faultEnding(condition string) ending {
	return ending{condition: condition, element: streamError(condition), code: codeOf(condition)}
}

// codeOf maps stream errors to close codes (RFC 6455 §7.4.1). Those that the browser is to blame for on the XML level, or
// that are about the stream only, are a normal closure of the WebSocket.
func codeOf(condition string) ws.StatusCode {
	switch condition {
	case systemShutdown:
		return ws.StatusGoingAway
	case policy:
		return ws.StatusPolicyViolation
	case internalError:
		return ws.StatusInternalError
	}
	return ws.StatusNormalClosure
}

// finish decides how the session ends, if that is open yet, and tells the browser: <open/> if it has none, the stream
// error, <close/>, and nothing after them (RFC 7395 §3.5, §3.6). Any goroutine may call it. Up goes on reading until the
// browser answers; the timer ends that.
func (s *session) finish(e ending) {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return
	}
	s.ended, s.end, s.endedAt = true, e, s.h.now()
	s.sock.out.seal(s.farewellLocked(e)...)
	s.rearmLocked()
	s.mu.Unlock()
	_ = s.sock.flush()
}

func (s *session) farewellLocked(e ending) (messages [][]byte) {
	if s.phase == silent {
		return nil // the browser speaks first
	}
	if e.element != nil {
		if s.phase == opening {
			messages = append(messages, s.openLocked("")) // RFC 7395 §3.5: an error needs an open stream
		}
		messages = append(messages, e.element)
	}
	switch {
	case e.seeOther:
		messages = append(messages, appendSeeOther(nil, s.h.cfg.SeeOther))
	case !e.quiet:
		messages = append(messages, []byte(closeElement))
	}
	return messages
}

// fault ends the session for something that the browser did. What it sent before is in order and goes to the server.
func (s *session) fault(condition string) {
	s.sendBatch()
	s.log(slog.LevelDebug, "browser at fault", condition)
	s.finish(faultEnding(condition))
	s.deaf = true
	s.endServer(false)
}

// closeHeard deals with the browser's <close/>. It reports whether that was the answer to ours.
func (s *session) closeHeard() (last bool) {
	s.mu.Lock()
	again := s.closing
	s.closing = true
	ended := s.ended
	s.mu.Unlock()
	switch {
	case again:
		return false
	case ended:
		return true // who sent <close/> first starts the WebSocket's close (AMB-4)
	}
	// RFC 7395 §3.6: the server's stream ends as ours does; what still comes from it is delivered, then <close/> is
	// answered. The browser starts the WebSocket's close.
	s.sendBatch()
	s.deaf = true
	s.endServer(false)
	s.awaitDown()
	s.finish(ending{code: ws.StatusNormalClosure})
	return false
}

// lost deals with the end of the WebSocket, or of our patience with it.
func (s *session) lost(err error) {
	switch {
	case errors.Is(err, errBinary):
		s.finish(ending{condition: "bad-format", code: ws.StatusUnsupportedData, quiet: true})
	case errors.Is(err, errNotUTF8):
		s.finish(ending{condition: "not-well-formed", code: ws.StatusInvalidFramePayloadData, quiet: true})
	case errors.Is(err, errTooBig):
		s.tooBig()
	case s.sock.rerr != nil && !errors.Is(s.sock.rerr, os.ErrDeadlineExceeded), ws.CloseStatus(err) != -1:
		s.browserGone = true
	case s.sock.rerr == nil:
		// RFC 6455 §7.1.7: the library found a frame that is illegal. It does not always say so to the browser.
		s.finish(ending{condition: "bad-format", code: ws.StatusProtocolError, quiet: true})
	}
	s.sendBatch()
}

// tooBig: WS-020. The rest of the message is not read, so that <close/> cannot be waited for.
func (s *session) tooBig() {
	s.mu.Lock()
	open := s.phase == opened
	s.mu.Unlock()
	e := faultEnding(policy)
	e.code = ws.StatusMessageTooBig
	if !open {
		e.element, e.quiet = nil, true
	}
	s.finish(e)
}

// takeDown ends whatever is left, in the order that matters: the server first, which tells the browser's contacts.
func (s *session) takeDown() {
	s.stop()
	if s.browserGone {
		_ = s.sock.Close()
	}
	s.endServer(s.sealLoss())
	s.awaitDown()
	s.closeWebSocket()
	s.ticking.Wait()
}

// closeWebSocket starts the WebSocket's close, unless the browser has. RFC 7395 §3.6: <close/> has been said on both sides,
// or the time for it is over.
func (s *session) closeWebSocket() {
	if !s.browserGone {
		s.sock.wake(byeTimeout)
		s.sock.out.flushAlways()
		if l, err := s.needLibrary(); err == nil {
			_ = l.Close(s.end.code, "")
		}
	}
	if s.library != nil {
		_ = s.library.CloseNow() // for what the library holds
	}
}

// sealLoss settles how the session ends if nobody has: the WebSocket is gone. It reports whether the server is to keep the
// browser's session.
func (s *session) sealLoss() (cut bool) {
	condition := ""
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return s.end.cut
	}
	// RFC 7395 §3.6: without <close/> a browser that can resume is only disconnected; any other has left, and its contacts
	// are to know.
	cut = !s.closing && s.stream != nil && s.stream.Resumable()
	if !s.closing {
		condition = "lost"
	}
	if s.loss != "" {
		condition = s.loss
	} else if s.sock.out.stalled() {
		condition = policy // WS-022
	}
	s.ended, s.end = true, ending{condition: condition, code: ws.StatusNormalClosure, quiet: true, cut: cut}
	s.sock.out.seal()
	return cut
}

// endServer ends the server's stream, if there is one. Only the first call does anything.
func (s *session) endServer(cut bool) {
	s.mu.Lock()
	s.reopened.happen() // down, which has to come to its end, need not wait for it
	s.mu.Unlock()
	switch {
	case s.server == nil:
	case cut:
		_ = s.server.Cut()
	default:
		_ = s.server.Close(s.h.ctx) // bounded by upstream; after a Cut it does nothing
	}
}

// awaitDown waits until down has delivered everything. A browser that does not take it does not hold this up for long.
func (s *session) awaitDown() {
	if s.server == nil {
		return
	}
	s.mu.Lock()
	down := s.downOver.wait()
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(s.h.ctx, closeTimeout)
	defer cancel()
	select {
	case <-down:
	case <-ctx.Done():
		s.sock.cut()
		<-down
	}
}

// stalled reports whether the browser was dropped because it took nothing.
func (o *outbox) stalled() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err != nil && errors.Is(o.err, os.ErrDeadlineExceeded)
}
