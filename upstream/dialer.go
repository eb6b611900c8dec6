package upstream

import (
	"context"
	"time"

	"stanzagate/internal/xmlframe"
)

// Config is all that a Dialer needs to know. The zero value serves no domain.
type Config struct {
	Domains        []string        // settings `domain`, as written: see ParseDomain
	Open           bool            // serve any domain, found by SRV, public addresses only
	Limits         xmlframe.Limits // of elements from the server
	ConnectTimeout time.Duration   // resolving, connecting, TLS and negotiation together; 0 means 10 s
	Metrics        Metrics         // nil for none
}

// Metrics receives what operators count. Its methods must not block.
type Metrics interface {
	Connected(seconds float64) // a stream is open, features seen
	ConnectFailed(op string)   // one of the Op constants
	StreamEnded()              // pairs with Connected
}

// Dialer opens streams to the servers of the domains that it serves. Safe for concurrent use.
type Dialer struct{}

// NewDialer checks cfg. Its errors name the offending domain setting and what would be right.
func NewDialer(cfg Config) (*Dialer, error) { return &Dialer{}, nil }

// Serves returns the domain in normalised form, or ErrHostUnknown or ErrHostGone. It makes no connection.
func (d *Dialer) Serves(domain string) (string, error) { return "", ErrHostUnknown }

// Domains returns the configured domains in normalised form.
func (d *Dialer) Domains() []string { return nil }

// Open connects to a server of o.Domain, secures the connection, opens the stream and returns once its features are
// there. Errors wrap ErrHostUnknown, ErrHostGone or ErrUnreachable; a stream error of the server is a *StreamError.
func (d *Dialer) Open(ctx context.Context, o Opening) (*Stream, error) { return nil, ErrHostUnknown }
