// Package websocket lets browsers reach an XMPP server over WebSocket: RFC 7395.
package websocket

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"stanzagate/internal/origin"
	"stanzagate/internal/peer"
	"stanzagate/internal/quota"
	"stanzagate/internal/xmlframe"
	"stanzagate/upstream"
)

// Config is all that a Handler needs to know. Zero fields get the defaults named in the README.
type Config struct {
	Dialer  *upstream.Dialer
	Origins origin.Policy
	Peers   *peer.Resolver // nil: no proxy is trusted
	Quota   *quota.Quota   // nil: no limits per address

	Limits     xmlframe.Limits // of one element from the browser; a message is one element
	QueueBytes int             // waiting towards the browser; beyond it the server is not read

	AuthTimeout time.Duration // until the session is authenticated, the first frame included
	Ping        time.Duration // keep-alive of idle sockets; negative: none
	Compression bool          // permessage-deflate without context takeover
	SeeOther    string        // wss or https URI that drained clients are sent to; "" for none

	Log     *slog.Logger // nil: silent
	Metrics Metrics      // nil: none
}

// Metrics receives what operators count. Its methods must not block and must be safe for concurrent use.
type Metrics interface {
	Request()                        // one handshake
	SessionStarted()                 // a handshake was accepted
	SessionEnded(condition string)   // pairs with SessionStarted; "" for a plain end
	FromBrowser(elements, bytes int) // forwarded to the server
	ToBrowser(elements, bytes int)   // written to the browser
}

// Handler serves the WebSocket endpoint. Safe for concurrent use. It ends with Shutdown.
type Handler struct{ cfg Config }

// New checks cfg. Its errors name the field.
func New(cfg Config) (*Handler, error) { return &Handler{cfg: cfg}, nil }

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {}

// Sessions returns how many sockets are open.
func (h *Handler) Sessions() int { return 0 }

// Drain refuses new sockets from now on (503) and moves those away whose client can resume elsewhere. It returns when the
// others have ended or ctx has.
func (h *Handler) Drain(ctx context.Context) error { return nil }

// Shutdown ends what is left with system-shutdown and waits for every goroutine of the Handler, or until ctx ends.
func (h *Handler) Shutdown(ctx context.Context) error { return nil }
