package sessionstore

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net"
	"time"
)

const maxName = 64 // bytes

// isName reports whether s may be part of a key of the store: nothing in it has a meaning there.
func isName(s string, dots bool) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		case dots && c == '.':
		default:
			return false
		}
	}
	return true
}

// NewIncarnation returns a name that no other process has.
func NewIncarnation() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func (r Replica) validate() error {
	switch {
	case !isName(r.ID, true):
		return fmt.Errorf("replica name %q: want 1 to %d letters, digits, dots, - and _", r.ID, maxName)
	case !isName(r.Incarnation, false):
		return fmt.Errorf("incarnation %q: want 1 to %d letters, digits, - and _", r.Incarnation, maxName)
	}
	if host, port, err := net.SplitHostPort(r.Address); err != nil || host == "" || port == "" || len(r.Address) > 300 {
		return fmt.Errorf("replica address %q: want host:port", r.Address)
	}
	for _, c := range []byte(r.Address) {
		if c <= ' ' || c == 0x7f {
			return fmt.Errorf("replica address %q: want host:port", r.Address)
		}
	}
	return nil
}

func (k Key) validate() error {
	if !isName(string(k), false) {
		return fmt.Errorf("key of %d bytes is not 1 to %d letters, digits, - and _", len(k), maxName)
	}
	return nil
}

func (a Account) validate() error {
	if !isName(string(a), false) {
		return fmt.Errorf("account of %d bytes is not 1 to %d letters, digits, - and _", len(a), maxName)
	}
	return nil
}

func validTTL(ttl time.Duration) error {
	if ttl < time.Millisecond {
		return fmt.Errorf("time to live %s: want at least a millisecond", ttl)
	}
	return nil
}

func validStatic(b []byte) error {
	if len(b) > MaxStatic {
		return fmt.Errorf("static part of %d bytes, more than %d", len(b), MaxStatic)
	}
	return nil
}

func (c Counters) validate() error {
	switch {
	case c.Seq == 0 || c.Seq > maxExact:
		return fmt.Errorf("counters number %d: want 1 or more", c.Seq)
	case len(c.Data) > MaxCounters:
		return fmt.Errorf("counters of %d bytes, more than %d", len(c.Data), MaxCounters)
	}
	return validTTL(c.TTL)
}

// maxExact is up to where Redis' scripts count without gaps.
const maxExact = 1<<53 - 1
