package parked

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"stanzagate/internal/readbuf"
)

// Response answers a request whose connection is parked. One goroutine uses it as http.ResponseWriter, within one Write and
// with Content-Length set, and calls End. It knows Flush and SetWriteDeadline of http.ResponseController.
type Response struct {
	// immutable after Take
	lot    *Lot
	back   *handBack
	conn   net.Conn
	quiet  bool   // there is waiting for the connection without reading from it
	secure stater // conn; nil without TLS

	// owned by who answers
	header http.Header
	status int
	sent   bool
	err    error // of Write

	// owned by watch; by who answers once it has ended
	arrival readbuf.Watch
	more    bool   // arrival has come, and is not the end
	early   []byte // what has been read of the next request
	first   [1]byte

	mu sync.Mutex
	// guarded by mu
	heard    bool // watch has ended: more than the request has come
	broken   bool // watch has ended: the browser is gone
	answered bool
}

// Take takes the connection of a request over. It returns nil if that cannot be; nothing has changed then. The handler must
// have read the request's body to its end. Afterwards w and r must not be used any more, and the handler must return; Watch
// has to be called, and End.
func (l *Lot) Take(w http.ResponseWriter, r *http.Request) *Response {
	if l == nil || r.ProtoMajor != 1 || r.ProtoMinor != 1 || r.Close || !isRead(r.Body) {
		return nil
	}
	back := l.of(r)
	hijacker, ok := w.(http.Hijacker)
	if back == nil || !ok {
		return nil
	}
	header := w.Header()
	if closes(header) {
		return nil
	}
	conn, rw, err := hijacker.Hijack()
	if err != nil {
		return nil
	}
	p := &Response{lot: l, back: back, conn: conn, header: header}
	p.secure, _ = conn.(stater)
	p.quiet = p.arrival.Init(conn)
	if n := rw.Reader.Buffered(); n > 0 {
		b, _ := rw.Reader.Peek(n)
		p.early = bytes.Clone(b)
	}
	l.add(p)
	return p
}

// isRead reports whether nothing is left of a body.
func isRead(body io.Reader) bool {
	if body == nil || body == http.NoBody {
		return true
	}
	n, err := body.Read(make([]byte, 1))
	return n == 0 && err == io.EOF
}

func closes(h http.Header) bool { return strings.EqualFold(h.Get("Connection"), "close") }

// Watch has gone called, once, if the browser goes away before End was.
func (p *Response) Watch(gone func()) {
	if len(p.early) > 0 {
		// The next request is there already. net/http does not watch such a connection either: the answer will show.
		p.mu.Lock()
		defer p.mu.Unlock()
		p.heard = true
		return
	}
	if p.quiet && p.arrival.Await(func() { p.watch(gone) }) {
		return
	}
	go p.watch(gone)
}

// watch waits until something comes, if it has not, as where there is no Alarm. Its stack must stay small meanwhile; what
// needs more comes afterwards.
func (p *Response) watch(gone func()) {
	if p.quiet {
		p.more, _ = p.arrival.Wait()
	}
	p.noticed(gone)
}

// noticed deals with what came.
func (p *Response) noticed(gone func()) {
	lives := p.readEarly()
	p.mu.Lock()
	held := !p.answered
	p.heard, p.broken = true, !lives
	p.mu.Unlock()
	switch {
	case !lives:
		if held {
			gone()
		}
		_ = p.conn.Close()
		p.lot.remove(p)
	case !held:
		p.giveBack()
	}
}

// readEarly finds out what it is that came, and reports false for the end. With TLS only the connection itself can tell.
func (p *Response) readEarly() bool {
	if p.quiet && (p.secure == nil || !p.more) {
		return p.more
	}
	n, _ := p.conn.Read(p.first[:])
	p.early = p.first[:n]
	return n > 0
}

// Header is that of http.ResponseWriter.
func (p *Response) Header() http.Header { return p.header }

// WriteHeader is that of http.ResponseWriter. The header leaves with the body.
func (p *Response) WriteHeader(status int) { p.status = status }

// Flush is for http.ResponseController: nothing is kept back.
func (p *Response) Flush() {}

// SetWriteDeadline is for http.ResponseController.
func (p *Response) SetWriteDeadline(t time.Time) error { return p.conn.SetWriteDeadline(t) }

const keepBytes = 64 << 10 // a buffer that grew beyond is not used again

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// Write writes the whole response.
func (p *Response) Write(body []byte) (int, error) {
	if p.status == 0 {
		p.status = http.StatusOK
	}
	out := buffers.Get().(*bytes.Buffer)
	out.Reset()
	fmt.Fprintf(out, "HTTP/1.1 %d %s\r\nDate: %s\r\n", p.status, http.StatusText(p.status), time.Now().UTC().Format(http.TimeFormat))
	_ = p.header.Write(out) // a bytes.Buffer takes everything
	out.WriteString("\r\n")
	out.Write(body)
	_, p.err = p.conn.Write(out.Bytes())
	p.sent = true
	if out.Cap() <= keepBytes {
		buffers.Put(out)
	}
	return len(body), p.err
}

// End ends the exchange. The connection waits for the next request then, or is closed: if nothing or not all was written,
// or the header says so.
func (p *Response) End() {
	keep := p.sent && p.err == nil && !closes(p.header)
	p.mu.Lock()
	p.answered = true
	heard, broken := p.heard, p.broken
	if keep && !heard {
		// As long as the server itself would wait for another request. Under mu: once watch has seen answered the server
		// may have the connection, and sets deadlines of its own.
		_ = p.conn.SetReadDeadline(time.Now().Add(p.lot.idle))
		p.arrival.RingIn(p.lot.idle)
	}
	p.mu.Unlock()
	switch {
	case broken: // watch closes it
	case heard && keep:
		p.giveBack()
	case heard:
		_ = p.conn.Close()
		p.lot.remove(p)
	case !keep || p.lot.isClosed():
		p.hangUp() // watch sees it
	}
}

// closeIdle closes a connection that has nothing to be answered. The caller holds lot.mu.
func (p *Response) closeIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.answered {
		p.hangUp()
	}
}

// hangUp closes the connection under watch.
func (p *Response) hangUp() {
	_ = p.conn.Close()
	p.arrival.Ring()
}

// giveBack has the server go on.
func (p *Response) giveBack() {
	_ = p.conn.SetDeadline(time.Time{})
	c := p.conn
	switch {
	case len(p.early) == 0:
	case p.secure != nil:
		c = &securePrefixed{prefixed{Conn: c, early: p.early}, p.secure}
	default:
		c = &prefixed{Conn: c, early: p.early}
	}
	p.back.give(c)
	p.lot.remove(p)
}

// stater is what net/http knows connections with TLS by.
type stater interface{ ConnectionState() tls.ConnectionState }

// prefixed is a connection of which something has been read already. One goroutine reads.
type prefixed struct {
	net.Conn
	early []byte
}

func (c *prefixed) Read(b []byte) (int, error) {
	if len(c.early) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.early)
	c.early = c.early[n:]
	return n, nil
}

// securePrefixed is that with TLS, as net/http recognises it.
type securePrefixed struct {
	prefixed
	stater
}
