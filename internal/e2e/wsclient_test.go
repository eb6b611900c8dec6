//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	ws "github.com/coder/websocket"
)

// wsTransport speaks RFC 7395. Its one reader goroutine ends with the connection.
type wsTransport struct {
	url    string
	in     *inbox
	domain string
	ctx    context.Context
	cancel context.CancelFunc

	mu   sync.Mutex
	conn *ws.Conn
}

func newWebSocket(url string, in *inbox) *wsTransport {
	w := &wsTransport{url: url, in: in}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

func (w *wsTransport) open(ctx context.Context, domain string) error {
	conn, resp, err := ws.Dial(ctx, w.url, &ws.DialOptions{
		Subprotocols: []string{"xmpp"}, HTTPHeader: http.Header{"Origin": {"http://localhost"}},
	})
	if err != nil {
		return err
	}
	if got := resp.Header.Get("Sec-WebSocket-Protocol"); got != "xmpp" {
		return fmt.Errorf("subprotocol %q negotiated", got)
	}
	conn.SetReadLimit(4 << 20)
	w.mu.Lock()
	w.conn, w.domain = conn, domain
	w.mu.Unlock()
	go w.read(conn)
	return w.restart(ctx)
}

func (w *wsTransport) read(conn *ws.Conn) {
	for {
		kind, data, err := conn.Read(w.ctx)
		if err != nil {
			w.in.end(err)
			return
		}
		n, err := parseNode(data)
		if err != nil || kind != ws.MessageText {
			w.in.end(fmt.Errorf("bad frame %q: %w", data, err))
			return
		}
		w.in.put(n)
		if n.is(nsFraming, "close") {
			// RFC 7395 §3.6: the other side of a close is answered, then the WebSocket goes.
			_ = w.send(w.ctx, `<close xmlns="`+nsFraming+`"/>`)
			_ = conn.Close(ws.StatusNormalClosure, "")
			w.in.end(&errTerminated{condition: "close"})
			return
		}
	}
}

func (w *wsTransport) restart(ctx context.Context) error {
	if err := w.send(ctx, `<open xmlns="`+nsFraming+`" to="`+escape(w.domain)+`" version="1.0"/>`); err != nil {
		return err
	}
	n, err := w.in.take(ctx, "open or close", func(n *node) bool { return n.XMLName.Space == nsFraming })
	if err == nil && !n.is(nsFraming, "open") {
		err = fmt.Errorf("%v instead of open", n)
	}
	return err
}

func (w *wsTransport) send(ctx context.Context, xml string) error {
	w.mu.Lock()
	conn := w.conn
	w.mu.Unlock()
	if conn == nil {
		return errors.New("websocket: not open")
	}
	return conn.Write(ctx, ws.MessageText, []byte(xml))
}

func (w *wsTransport) end(ctx context.Context) error {
	if err := w.send(ctx, `<close xmlns="`+nsFraming+`"/>`); err != nil {
		return err
	}
	return w.in.ended(ctx)
}

func (w *wsTransport) drop() {
	w.mu.Lock()
	conn := w.conn
	w.mu.Unlock()
	if conn != nil {
		_ = conn.CloseNow()
	}
	w.cancel()
}
