package bosh

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"
)

// writeTimeout is how long a browser may take to fetch one response before its connection is given up.
const writeTimeout = 30 * time.Second

// finish carries out how the session ended the exchange; there is nobody to answer if not live.
func (v *visit) finish(live bool) {
	if live && v.waiter.gate != 0 {
		v.session.release(&v.waiter)
	}
	v.recycle(live)
	switch {
	case !live || v.waiter.answer.kind == answerNothing:
		// The browser is gone, or must not be answered here. An empty 200 would look like an answer to the rid.
		panic(http.ErrAbortHandler)
	case v.waiter.answer.kind == answerUnavailable:
		v.unavailable()
	default:
		v.respond(&v.waiter.answer.response)
	}
}

// recycle uses the request again if the answer means that the session has no more need of it.
func (v *visit) recycle(live bool) {
	a := &v.waiter.answer
	if v.request != nil && live && a.kind == answerBody && !a.response.terminate && !a.response.failed && v.session.letsGo(v.request) {
		v.request.recycle()
	}
}

// respond writes a response: a <body/>, or the status that a legacy client gets (BOSH-163).
func (v *visit) respond(r *response) {
	if r.status != 0 {
		v.write(r.status, plainTextType, nil)
		return
	}
	size := 512
	for i := range r.payload {
		size += len(r.payload[i].raw)
	}
	out := getBuffer(size)
	defer putBuffer(out)
	out.b = appendBody(out.b, r)
	v.h.failover.Responded()
	if len(r.payload) > 0 {
		v.h.cfg.Metrics.ToBrowser(len(r.payload), size-512)
	}
	contentType := contentTypes[r.content]
	if contentType == nil {
		contentType = defaultContentType
	}
	if v.script {
		if r.content == "" {
			contentType = scriptContentType
		}
		wrapped := getBuffer(2 * len(out.b))
		defer putBuffer(wrapped)
		wrapped.b = appendScript(wrapped.b, out.b)
		v.send(contentType, wrapped.b)
		return
	}
	v.send(contentType, out.b)
}

// send writes a 200 with the body, compressed if that is asked for and worth it.
func (v *visit) send(contentType []string, body []byte) {
	if len(body) < compressBytes {
		v.write(http.StatusOK, contentType, body)
		return
	}
	c := v.coding
	if v.r != nil {
		c = responseCoding(v.r.Header["Accept-Encoding"])
	}
	if c == identity {
		v.write(http.StatusOK, contentType, body)
		return
	}
	out := getBuffer(len(body))
	defer putBuffer(out)
	out.b = compress(out.b, body, c)
	v.w.Header()["Content-Encoding"] = codingNames[c]
	v.write(http.StatusOK, contentType, out.b)
}

// write writes a whole answer at once, with its length and within writeTimeout (BOSH-004). Every answer of this package
// that is not a preflight leaves here.
func (v *visit) write(status int, contentType []string, body []byte) {
	header := v.w.Header()
	header["Content-Type"] = contentType
	header["Content-Length"] = []string{strconv.Itoa(len(body))}
	if v.script {
		// BOSH-175: for intermediaries of HTTP/1.0 too.
		header["Pragma"] = noCache
	}
	v.begun = true
	_ = v.control.SetWriteDeadline(time.Now().Add(writeTimeout)) // connections without deadlines are those of tests
	v.w.WriteHeader(status)
	if v.r != nil && v.r.Method == http.MethodHead {
		return
	}
	if _, err := v.w.Write(body); err != nil {
		// BOSH-019: the session keeps what it answered, and repeats it when it is asked again.
		v.debug("response not written", err)
		return
	}
	if v.r == nil || v.r.ProtoMajor < 2 {
		// net/http keeps a deadline of HTTP/1 for the next request on the connection, whoever serves it. So the answer
		// has to be out before the deadline is taken away.
		if err := v.control.Flush(); err != nil {
			v.debug("response not written", err)
			return
		}
		_ = v.control.SetWriteDeadline(time.Time{})
	}
}

// reject answers with a terminal condition when there is no session (XEP-0124 §17.2).
func (v *visit) reject(condition string, legacy bool) {
	r := response{terminate: true, condition: condition}
	if legacy {
		r.status = legacyStatus(condition)
	}
	v.respond(&r)
}

// legacyStatus is the HTTP status that clients without `ver` get in place of a condition; 0 for none (XEP-0124 §17.1).
func legacyStatus(condition string) int {
	switch condition {
	case badRequest:
		return http.StatusBadRequest
	case policyViolation:
		return http.StatusForbidden
	case itemNotFound:
		return http.StatusNotFound
	}
	return 0
}

// unavailable answers that the request should be sent again (BOSH-017).
func (v *visit) unavailable() {
	v.w.Header()["Retry-After"] = retryAfter
	v.refuse(http.StatusServiceUnavailable, "please repeat the request")
}

// refuse answers outside of the protocol.
func (v *visit) refuse(status int, why string) {
	v.write(status, plainTextType, append([]byte(why), '\n'))
}

// closeIfTooLarge ends the connection after the answer when the rest of a body has not been read.
func (v *visit) closeIfTooLarge(err error) {
	if errors.Is(err, errTooLarge) && v.r.ProtoMajor < 2 {
		v.w.Header()["Connection"] = closed
	}
}

const page = "<!DOCTYPE html><title>BOSH</title><p>This is a BOSH endpoint for XMPP clients " +
	"(<a href='https://xmpp.org/extensions/xep-0124.html'>XEP-0124</a>). There is nothing to see with a browser.\n"

var pageType = []string{"text/html; charset=utf-8"}

// page tells people what is here (BOSH-012).
func (v *visit) page() {
	v.write(http.StatusOK, pageType, []byte(page))
}

// contain is deferred: a panic while one request is served ends its session and nothing else. BOSH-171: nobody outside
// learns more than that.
func (v *visit) contain() {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler {
		panic(p)
	}
	if v.session != nil {
		v.session.log(slog.LevelError, panicMessage, "", panicAttrs(p)...)
		v.session.crash()
	} else {
		v.h.cfg.Log.LogAttrs(v.h.ctx, slog.LevelError, panicMessage, panicAttrs(p)...)
	}
	if v.begun {
		panic(http.ErrAbortHandler) // the browser cannot take it for an answer
	}
	v.reject(internalServerError, false)
}

const panicMessage = "panic"

// panicAttrs describes a fault of ours for the log.
func panicAttrs(p any) []slog.Attr {
	return []slog.Attr{slog.String("panic", fmt.Sprint(p)), slog.String("stack", string(debug.Stack()))}
}
