package bosh

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
	Dialer        *upstream.Dialer
	DefaultDomain string // for creation requests without `to` (BOSH-035); "" for none
	Origins       origin.Policy
	Peers         *peer.Resolver // nil: no proxy is trusted
	Quota         *quota.Quota   // nil: no limits per address

	Limits     xmlframe.Limits // of one stanza from the browser
	BodyBytes  int             // of one request, after decompression
	QueueBytes int             // waiting per session and direction

	BodyTimeout time.Duration // for the browser to send a request's body
	AuthTimeout time.Duration // until the session is authenticated

	Wait, Inactivity, MaxPause, Polling time.Duration // ceilings of what browsers may ask for; whole seconds
	Hold                                int
	ScriptSyntax, Keys                  bool
	Streams                             int // streams per session; 1: not offered

	Log     *slog.Logger // nil: silent
	Metrics Metrics      // nil: none
}

// Metrics receives what operators count. Its methods must not block and must be safe for concurrent use.
type Metrics interface {
	Request()                        // one HTTP request for a session, or to create one
	SessionStarted()                 // a creation request was accepted
	SessionEnded(condition string)   // pairs with SessionStarted; "" for a plain end
	FromBrowser(elements, bytes int) // forwarded to the server
	ToBrowser(elements, bytes int)   // in a response
}

// Handler serves the BOSH endpoint. Safe for concurrent use. It ends with Shutdown.
type Handler struct{ cfg Config }

// New checks cfg. Its errors name the field.
func New(cfg Config) (*Handler, error) { return &Handler{cfg: cfg}, nil }

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {}

// Sessions returns how many sessions this replica owns.
func (h *Handler) Sessions() int { return 0 }

// Drain refuses new sessions from now on (503) and gives away those that another replica can take. It returns when the
// others have ended or ctx has.
func (h *Handler) Drain(ctx context.Context) error { return nil }

// Shutdown ends what is left with system-shutdown and waits for every goroutine of the Handler, or until ctx ends.
func (h *Handler) Shutdown(ctx context.Context) error { return nil }
