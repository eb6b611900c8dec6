package replica

import (
	"net/http"
	"strconv"
	"time"
)

// reply is the http.ResponseWriter of a request that was handed on. The answer leaves as a whole: with the Write that
// completes Content-Length, else when the request has been served. So it either reaches the browser side or does not, and
// an owner that dies in the middle of it is nothing that a browser could notice. It knows Flush and the deadlines of
// http.ResponseController: the wire has its own.
type reply struct {
	header http.Header
	since  time.Time
	send   func(*answer)
	status int
	body   []byte
	sent   bool
}

// begun reports whether anything has been written.
func (w *reply) begun() bool { return w.status != 0 }

// Header is that of http.ResponseWriter.
func (w *reply) Header() http.Header { return w.header }

// WriteHeader is that of http.ResponseWriter.
func (w *reply) WriteHeader(status int) {
	if status >= http.StatusOK && w.status == 0 {
		w.status = status
	}
}

// Write is that of http.ResponseWriter.
func (w *reply) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	switch {
	case w.sent:
		return 0, http.ErrContentLength
	case len(w.body) == 0 && w.isLength(len(b)):
		w.deliver(b)
	case len(w.body)+len(b) > contentBytes/2:
		return 0, http.ErrContentLength
	default:
		w.body = append(w.body, b...)
	}
	return len(b), nil
}

func (w *reply) isLength(n int) bool {
	length := w.header["Content-Length"]
	return len(length) == 1 && length[0] == strconv.Itoa(n)
}

// finish sends what has been written.
func (w *reply) finish() {
	w.WriteHeader(http.StatusOK)
	w.deliver(w.body)
}

func (w *reply) deliver(body []byte) {
	w.sent = true
	held := time.Since(w.since).Microseconds()
	w.send(&answer{held: uint64(held), status: w.status, header: w.header, body: body}) //nolint:gosec // never negative
}

// Flush is for http.ResponseController.
func (w *reply) Flush() {}

// SetReadDeadline is for http.ResponseController: the body is here.
func (w *reply) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline is for http.ResponseController: the wire has its own.
func (w *reply) SetWriteDeadline(time.Time) error { return nil }
