package bosh

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"stanzagate/internal/origin"
	"stanzagate/internal/parked"
	"stanzagate/internal/peer"
	"stanzagate/internal/quota"
	"stanzagate/internal/replica"
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
	Lot           *parked.Lot    // takes the connections of requests that wait long; nil: they stay with net/http

	RequireTLS bool   // refuse sessions in the clear, loopback excepted (XEP-0124 §19.1); see peer.Peer.Secure
	SecureURI  string // https URI of this endpoint that refused browsers are told; "" for none

	// SameAddress keeps a session to the client address that created it (BOSH-183). Mobile browsers change theirs.
	SameAddress bool

	Limits     xmlframe.Limits // of one stanza from the browser
	BodyBytes  int             // of one request, after decompression
	QueueBytes int             // waiting per session and direction

	BodyTimeout time.Duration // for the browser to send a request's body
	AuthTimeout time.Duration // until the session is authenticated

	// Ceilings of what browsers may ask for; whole seconds. A negative MaxPause means that pauses are not offered.
	Wait, Inactivity, MaxPause, Polling time.Duration

	Hold               int
	ScriptSyntax, Keys bool
	Streams            int // streams per session; 1: not offered

	// Replica makes sessions survive a broken connection to their server and, where it is one of several, this process.
	// The Dialer must have Failover then. nil: they do not.
	Replica *replica.Member

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

// FailoverMetrics is what a Metrics may implement besides.
type FailoverMetrics interface {
	Responded()                          // one <body/> was given to a browser, or to the replica that it had reached
	Classified(class string, change int) // so many sessions more, or less, of an upstream.Class have logged in here
	TakenOver(seconds float64)           // from the claim until the stream was resumed
	Resumed()                            // a stream was resumed in place
	NotResumed(cause string)             // one of LostCauses: a session is lost
	StoodDown()                          // another replica has taken a session
	GivenAway()                          // a session was released for another replica to take
}

// noMetrics counts nothing.
type noMetrics struct{}

func (noMetrics) Request()             {}
func (noMetrics) SessionStarted()      {}
func (noMetrics) SessionEnded(string)  {}
func (noMetrics) FromBrowser(int, int) {}
func (noMetrics) ToBrowser(int, int)   {}

func (noMetrics) Responded()             {}
func (noMetrics) Classified(string, int) {}
func (noMetrics) TakenOver(float64)      {}
func (noMetrics) Resumed()               {}
func (noMetrics) NotResumed(string)      {}
func (noMetrics) StoodDown()             {}
func (noMetrics) GivenAway()             {}

const (
	minElementBytes = 10000   // RFC 6120 §13.12: no limit on stanzas is smaller
	maxSeconds      = 65535   // XEP-0124, schema: wait, inactivity, polling and maxpause are unsignedShort (BOSH-066)
	maxHold         = 255 - 1 // hold and requests are unsignedByte, and requests is greater than hold
	maxNameBytes    = 1024    // of one qualified name
	secondsFormat   = "bosh: %s is %v; want whole seconds, at most %d s"
	defaultStanza   = 256 << 10 // and the other defaults are in withDefaults
)

// withDefaults returns a copy without zero fields.
func (c Config) withDefaults() Config {
	number := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	number(&c.Limits.ElementBytes, defaultStanza)
	number(&c.Limits.Depth, 64)
	number(&c.Limits.Attributes, 64)
	number(&c.Limits.NameBytes, maxNameBytes)
	number(&c.BodyBytes, 1<<20)
	number(&c.QueueBytes, 1<<20)
	number(&c.Hold, 2)
	number(&c.Streams, 4)
	period := func(field *time.Duration, value time.Duration) {
		if *field == 0 {
			*field = value
		}
	}
	period(&c.BodyTimeout, 30*time.Second)
	period(&c.AuthTimeout, time.Minute)
	period(&c.Wait, time.Minute)
	period(&c.Inactivity, 2*time.Minute)
	period(&c.MaxPause, 5*time.Minute)
	period(&c.Polling, 5*time.Second)
	c.MaxPause = max(c.MaxPause, 0)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = noMetrics{}
	}
	return c
}

// validate checks what withDefaults returned.
func (c Config) validate() error {
	if c.Dialer == nil {
		return errors.New("bosh: Dialer is nil")
	}
	for name, d := range map[string]time.Duration{"Wait": c.Wait, "Inactivity": c.Inactivity, "MaxPause": c.MaxPause, "Polling": c.Polling} {
		if d < 0 || d%time.Second != 0 || d > maxSeconds*time.Second {
			return fmt.Errorf(secondsFormat, name, d, maxSeconds)
		}
	}
	switch {
	case c.Limits.ElementBytes < minElementBytes:
		return fmt.Errorf("bosh: Limits.ElementBytes is %d; want at least %d", c.Limits.ElementBytes, minElementBytes)
	case c.BodyBytes < c.Limits.ElementBytes:
		return fmt.Errorf("bosh: BodyBytes is %d; want at least Limits.ElementBytes, %d", c.BodyBytes, c.Limits.ElementBytes)
	case c.QueueBytes < 0:
		return fmt.Errorf("bosh: QueueBytes is %d; want a positive number", c.QueueBytes)
	case c.Hold < 0 || c.Hold > maxHold:
		return fmt.Errorf("bosh: Hold is %d; want 1 to %d", c.Hold, maxHold)
	case c.Streams < 0 || c.Streams > maxStreams:
		return fmt.Errorf("bosh: Streams is %d; want 1 to %d", c.Streams, maxStreams)
	case c.SecureURI != "" && !strings.HasPrefix(c.SecureURI, "https://"):
		return fmt.Errorf("bosh: SecureURI is %q; want an https URI", c.SecureURI)
	case c.BodyTimeout < 0 || c.AuthTimeout < 0:
		return fmt.Errorf("bosh: BodyTimeout is %v, AuthTimeout is %v; want positive durations", c.BodyTimeout, c.AuthTimeout)
	}
	return nil
}

const (
	featuresWait  = 5 * time.Second  // BOSH-067: later the creation response leaves without features
	gapWait       = 4 * time.Second  // BOSH-134
	stuckWait     = 10 * time.Second // a request that a slow server delays is given up by then (BOSH-017)
	grace         = 30 * time.Second // BOSH-123
	ackTimeout    = 5 * time.Second
	lastWords     = 30 * time.Second // as long as a write to the server may take
	responseBytes = 256 << 10        // BOSH-079; one element may be larger
	responseMax   = 400              // elements
)

// machineConfig is what sessions work by.
func (c *Config) machineConfig() *machineConfig {
	return &machineConfig{
		wait: c.Wait, inactivity: c.Inactivity, polling: c.Polling, maxpause: c.MaxPause,
		hold: c.Hold, acks: true, keys: c.Keys, managed: c.Replica != nil,
		shared:       c.Replica != nil && c.Replica.Shared(),
		featuresWait: featuresWait, gapWait: gapWait, stuckWait: stuckWait, grace: grace, ackTimeout: ackTimeout, lastWords: lastWords,
		queueBytes: c.QueueBytes, responseBytes: responseBytes, responseMax: responseMax,
	}
}

// recordTTL is how long the store keeps the record of a session that is not logged in, or has no counters to write. With a
// request held nothing is written for as long as Wait.
func (c *Config) recordTTL() time.Duration {
	return max(c.Inactivity+2*c.Polling+time.Second, c.MaxPause) + c.Wait + recordMargin
}
