package websocket

import (
	"bufio"
	"net"
	"net/http"

	ws "github.com/coder/websocket"
)

// What coder/websocket buffers itself. Its reader only sees the frames that framing.go leaves to it, out of what socket has
// read ahead. Its writer is emptied after each frame; a control frame (RFC 6455 §5.5: 127 bytes without mask) must fit,
// so that it reaches socket.Write in one piece.
const (
	libraryReadBytes  = 32
	libraryWriteBytes = 136
)

// library is coder/websocket's Conn over a socket. It makes the handshake, and from then on does what framing.go does not:
// fragments, big messages, compression, closing, illegal frames. At 2 KiB it is a third of what an idle session takes, so
// without compression it is let go after the handshake, and made again by a session that needs it.
type library struct {
	*ws.Conn
	in   *bufio.Reader
	lent *lent
}

// lent is a socket as the library has it.
type lent struct {
	*socket
	over bool // the Conn is closed because it is let go: the socket stays open
}

func (l *lent) Close() error {
	if l.over {
		return nil
	}
	return l.socket.Close()
}

func (l *library) lend(k *socket) (net.Conn, *bufio.ReadWriter, error) {
	l.lent = &lent{socket: k}
	l.in = bufio.NewReaderSize(l.lent, libraryReadBytes)
	return l.lent, bufio.NewReadWriter(l.in, bufio.NewWriterSize(l.lent, libraryWriteBytes)), nil
}

// handshake is the ResponseWriter of the real one. It puts our socket between the library and the connection. net/http's
// buffers, 4 KiB each way for as long as the connection lives, are left to the garbage collector.
type handshake struct {
	http.ResponseWriter
	session *session
	library library
}

// WriteHeader answers with the subprotocol as RFC 7395 §3.1 spells it, whatever else the browser offered. If the library
// refuses, the connection ends, as in refuse.
func (w *handshake) WriteHeader(status int) {
	if status == http.StatusSwitchingProtocols {
		w.Header().Set("Sec-WebSocket-Protocol", subprotocol)
	} else {
		endConnection(w.Header())
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *handshake) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	early, _ := rw.Reader.Peek(rw.Reader.Buffered())
	s := w.session
	s.sock.init(conn, early, s.h.now, s.beforeWait)
	return w.library.lend(&s.sock)
}

// accept makes the handshake. On an error the library has answered.
func (s *session) accept(w http.ResponseWriter, r *http.Request) error {
	hs := &handshake{ResponseWriter: w, session: s}
	mode := ws.CompressionDisabled
	if s.h.cfg.Compression {
		// WS-007: a context kept between messages would cost a megabyte per session.
		mode = ws.CompressionNoContextTakeover
	}
	conn, err := ws.Accept(hs, r, &ws.AcceptOptions{
		Subprotocols:       []string{subprotocol},
		InsecureSkipVerify: true, // Origin is checked in refusal
		CompressionMode:    mode,
	})
	if err != nil {
		return err
	}
	if s.compressed = w.Header().Get("Sec-WebSocket-Extensions") != ""; s.compressed {
		s.library = &hs.library
		s.library.hold(conn)
		return nil
	}
	hs.library.lent.over = true
	return conn.CloseNow() // it has a finalizer and refers to itself, so the garbage collector alone would not free it
}

func (l *library) hold(conn *ws.Conn) {
	l.Conn = conn
	conn.SetReadLimit(-1) // bounded in framing.go, where a stream error can be sent
}

// needLibrary returns the library's Conn, made again if it was let go. Between two frames it finds the socket just as the
// one of the handshake would have. It belongs to up.
func (s *session) needLibrary() (*library, error) {
	if s.library != nil {
		return s.library, nil
	}
	again := &remake{session: s, header: http.Header{}}
	conn, err := ws.Accept(again, accepted, &ws.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	s.library = &again.library
	s.library.hold(conn)
	return s.library, nil
}

// accepted is a handshake that the library accepts.
var accepted = &http.Request{
	Method: http.MethodGet, ProtoMajor: 1, ProtoMinor: 1,
	Header: http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="},
	},
}

// remake is the ResponseWriter of a handshake that was made before: what is written to it is not sent.
type remake struct {
	session *session
	header  http.Header
	library library
}

func (w *remake) Header() http.Header         { return w.header }
func (w *remake) WriteHeader(int)             {}
func (w *remake) Write(p []byte) (int, error) { return len(p), nil }

func (w *remake) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.library.lend(&w.session.sock)
}
