package bosh

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// record is what the store keeps of a session: counters, never a payload.
type record struct {
	n        uint64        // counts the records of a session on this replica
	counters string        // encoded; the store knows nothing of it. "": nobody can take the session over now
	expires  time.Duration // the store may forget the session after so long without another record
}

// recordMargin is how much longer than the session the record lives (failover-design 5).
const recordMargin = 60 * time.Second

// ledger is the content of a record (failover-design 5): which rids are answered, how many stanzas had gone up and down
// with each, and the little else that cannot be learned again.
type ledger struct {
	low    uint64 // rA: the browser surely has the responses up to here
	u, d   uint32 // stanzas up and down at low
	rids   []rung // low+1 and up: rL is low+len(rids)
	csi    csiState
	keyed  bool
	key    [20]byte // keyState.next
	paused bool
	pause  int    // seconds of the pause in force
	base   uint64 // above rL: the server has the requests up to here, and has not counted them; 0: none
	bound  uint64 // the rid whose response holds the bind result; 0: not kept any more
	bind   []byte // the bind result
}

// rung is one answered rid of a ledger.
type rung struct {
	u, d uint32 // as differences to the rid below
	key  uint64 // fingerprint; 0: none
}

const ledgerFormat = "c1"

var errLedger = errors.New("bosh: counters of a session are not readable")

// append encodes l: fields with a space between them. Numbers are in base 36, since every response writes them.
func (l *ledger) append(b []byte) []byte {
	b = append(b, ledgerFormat...)
	for _, n := range [...]uint64{l.low, uint64(l.u), uint64(l.d)} {
		b = strconv.AppendUint(append(b, ' '), n, 36)
	}
	for _, r := range l.rids {
		b = strconv.AppendUint(append(b, ' '), uint64(r.u), 36)
		b = strconv.AppendUint(append(b, '.'), uint64(r.d), 36)
		if r.key != 0 {
			b = strconv.AppendUint(append(b, '.'), r.key, 36)
		}
	}
	if l.csi != csiUnknown {
		b = append(b, " s="...)
		b = strconv.AppendUint(b, uint64(l.csi), 36)
	}
	if l.keyed {
		b = append(b, " k="...)
		b = hex.AppendEncode(b, l.key[:])
	}
	if l.paused {
		b = append(b, " p="...)
		b = strconv.AppendUint(b, uint64(l.pause), 36)
	}
	if l.base != 0 {
		b = append(b, " n="...)
		b = strconv.AppendUint(b, l.base, 36)
	}
	if l.bound != 0 {
		b = append(b, " r="...)
		b = strconv.AppendUint(b, l.bound, 36)
		b = append(b, " b="...)
		b = base64.RawURLEncoding.AppendEncode(b, l.bind)
	}
	return b
}

// decodeLedger reads what append wrote, and nothing else.
func decodeLedger(text string) (*ledger, error) {
	l := &ledger{}
	fields := strings.Split(text, " ")
	if len(fields) < 4 || len(fields) > 4+800 || fields[0] != ledgerFormat {
		return nil, fmt.Errorf("%w: unknown format", errLedger)
	}
	low, err1 := strconv.ParseUint(fields[1], 36, 53)
	u, err2 := strconv.ParseUint(fields[2], 36, 32)
	d, err3 := strconv.ParseUint(fields[3], 36, 32)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, fmt.Errorf("%w: %w", errLedger, err)
	}
	l.low, l.u, l.d = low, uint32(u), uint32(d)
	for i, field := range fields[4:] {
		if err := l.field(field); err != nil {
			return nil, fmt.Errorf("%w: field %d: %w", errLedger, i+4, err)
		}
	}
	if l.bound != 0 && (l.bound <= l.low || l.bound > l.low+uint64(len(l.rids))) {
		return nil, fmt.Errorf("%w: bind result in no response", errLedger)
	}
	if string(l.append(nil)) != text {
		return nil, fmt.Errorf("%w: not in normal form", errLedger)
	}
	return l, nil
}

func (l *ledger) field(f string) (err error) {
	name, value, named := strings.Cut(f, "=")
	if !named {
		return l.rung(f)
	}
	switch name {
	case "s":
		var n uint64
		n, err = strconv.ParseUint(value, 36, 8)
		l.csi = csiState(n)
		if err == nil && l.csi > csiInactive {
			err = errLedger
		}
	case "k":
		l.keyed = true
		if len(value) != hex.EncodedLen(len(l.key)) {
			return errLedger
		}
		_, err = hex.Decode(l.key[:], []byte(value))
	case "p":
		var n uint64
		n, err = strconv.ParseUint(value, 36, 16)
		l.paused, l.pause = true, int(n)
	case "n":
		l.base, err = strconv.ParseUint(value, 36, 53)
	case "r":
		l.bound, err = strconv.ParseUint(value, 36, 53)
	case "b":
		l.bind, err = base64.RawURLEncoding.DecodeString(value)
	default:
		err = errLedger
	}
	return err
}

func (l *ledger) rung(f string) error {
	up, rest, _ := strings.Cut(f, ".")
	down, key, keyed := strings.Cut(rest, ".")
	u, err := strconv.ParseUint(up, 36, 32)
	if err != nil {
		return err
	}
	d, err := strconv.ParseUint(down, 36, 32)
	if err != nil {
		return err
	}
	r := rung{u: uint32(u), d: uint32(d)}
	if keyed {
		if r.key, err = strconv.ParseUint(key, 36, 64); err != nil {
			return err
		}
	}
	l.rids = append(l.rids, r)
	return nil
}
