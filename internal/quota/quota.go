// Package quota limits what one client address, and all of them together, may take: sessions, session creations, failed
// logins. IPv6 counts per /64.
package quota

import (
	"errors"
	"net/netip"
	"time"
)

// Rate is a number of events per time. The zero value means no limit.
type Rate struct {
	Count int
	Per   time.Duration
}

// ParseRate reads "600/m": a count and s, m or h; "0" is no limit.
func ParseRate(s string) (Rate, error) { return Rate{}, nil }

// Config has the settings limit.sessions, limit.sessions-per-address, limit.creations-per-address and
// limit.auth-failures-per-address. Zero fields mean no limit.
type Config struct {
	Sessions, SessionsPerAddress int
	Creations, AuthFailures      Rate
}

// Reasons why Admit refuses, for errors.Is.
var (
	ErrSessions     = errors.New("too many sessions")
	ErrAddress      = errors.New("too many sessions from this address")
	ErrCreations    = errors.New("sessions created too fast from this address")
	ErrAuthFailures = errors.New("too many failed logins from this address")
)

// Quota counts. Safe for concurrent use; its memory is bounded. The nil Quota admits everything.
type Quota struct{ cfg Config }

// New returns a Quota in which nothing is used.
func New(cfg Config) *Quota { return &Quota{cfg: cfg} }

// Admit takes a place for one more session of addr, before anything is spent on it.
func (q *Quota) Admit(addr netip.Addr) (*Place, error) { return &Place{}, nil }

// Place is what one session holds. The nil Place is valid and does nothing.
type Place struct{}

// AuthFailed notes a failed login of the session's address.
func (p *Place) AuthFailed() {}

// Release gives the place back; only the first call counts.
func (p *Place) Release() {}
