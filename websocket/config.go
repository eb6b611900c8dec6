package websocket

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
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

	RequireTLS    bool // refuse handshakes in the clear, loopback excepted (RFC 6455 §10.6); see peer.Peer.Secure
	RequireOrigin bool // refuse handshakes without Origin, which native clients make (RFC 6455 §10.1)

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

const (
	defaultElementBytes = 256 << 10
	minElementBytes     = 10000 // RFC 6120 §13.12: no smaller limit may be enforced
	defaultDepth        = 64
	defaultAttributes   = 64
	defaultQueueBytes   = 1 << 20
	defaultAuthTimeout  = time.Minute
	defaultPing         = 30 * time.Second
)

func (c Config) withDefaults() Config {
	if c.Limits.ElementBytes == 0 {
		c.Limits.ElementBytes = defaultElementBytes
	}
	if c.Limits.Depth == 0 {
		c.Limits.Depth = defaultDepth
	}
	if c.Limits.Attributes == 0 {
		c.Limits.Attributes = defaultAttributes
	}
	if c.QueueBytes == 0 {
		c.QueueBytes = defaultQueueBytes
	}
	if c.AuthTimeout == 0 {
		c.AuthTimeout = defaultAuthTimeout
	}
	if c.Ping == 0 {
		c.Ping = defaultPing
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = noMetrics{}
	}
	return c
}

func (c Config) validate() error {
	switch {
	case c.Dialer == nil:
		return errors.New("Dialer: missing")
	case c.Limits.ElementBytes < minElementBytes:
		return fmt.Errorf("Limits.ElementBytes: %d is below the %d that RFC 6120 demands", c.Limits.ElementBytes, minElementBytes)
	case c.QueueBytes < 0:
		return fmt.Errorf("QueueBytes: %d is negative", c.QueueBytes)
	case c.AuthTimeout < 0:
		return fmt.Errorf("AuthTimeout: %v is negative", c.AuthTimeout)
	}
	if c.SeeOther == "" {
		return nil
	}
	// RFC 7395 §3.6.1: never to a lower security context; and a browser cannot be sent to anything but these.
	u, err := url.Parse(c.SeeOther)
	if err != nil || u.Scheme != "wss" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("SeeOther: %q is not a wss or https URI", c.SeeOther)
	}
	return nil
}

// noMetrics counts nothing.
type noMetrics struct{}

func (noMetrics) Request()             {}
func (noMetrics) SessionStarted()      {}
func (noMetrics) SessionEnded(string)  {}
func (noMetrics) FromBrowser(_, _ int) {}
func (noMetrics) ToBrowser(_, _ int)   {}
