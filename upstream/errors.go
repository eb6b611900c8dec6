package upstream

import (
	"errors"
	"fmt"
	"io"
	"net"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmlframe"
)

// lost is the cause of a dead connection: it satisfies errors.Is(err, net.ErrClosed) and never io.EOF, which is kept for
// a stream that the server closed properly.
type lost struct{ err error }

func (l *lost) Error() string        { return l.err.Error() }
func (l *lost) Is(target error) bool { return target == net.ErrClosed }
func (l *lost) Unwrap() error {
	if errors.Is(l.err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return l.err
}

// fault is a stream-level fault that we found in what the server sent; it is told to the server (UP-043).
type fault struct {
	condition string // RFC 6120 §4.9.3
	reason    string
}

func (f *fault) Error() string { return f.condition + ": " + f.reason }

// conditionOf returns the stream error condition that an error of ours deserves, "" if it is not a stream-level fault.
func conditionOf(err error) string {
	var x *xmlframe.Error
	var f *fault
	switch {
	case errors.As(err, &f):
		return f.condition
	case errors.As(err, &x):
		return string(x.Condition)
	}
	return ""
}

// unreachable makes an error of Open.
func unreachable(domain string, err error) error {
	return fmt.Errorf("domain %s: %w: %w", domain, ErrUnreachable, err)
}

// opOf returns the class of a failed Open for metrics.
func opOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Op
	}
	var s *StreamError
	if errors.As(err, &s) {
		return OpNegotiate
	}
	return OpConnect
}

// conditions of RFC 6120 §4.9.3. UP-042: any other counts as undefined-condition.
var conditions = map[string]bool{
	"bad-format": true, "bad-namespace-prefix": true, "conflict": true, "connection-timeout": true, "host-gone": true,
	"host-unknown": true, "improper-addressing": true, "internal-server-error": true, "invalid-from": true,
	"invalid-namespace": true, "invalid-xml": true, "not-authorized": true, "not-well-formed": true,
	"policy-violation": true, "remote-connection-failed": true, "reset": true, "resource-constraint": true,
	"restricted-xml": true, "see-other-host": true, "system-shutdown": true, "undefined-condition": true,
	"unsupported-encoding": true, "unsupported-feature": true, "unsupported-stanza-type": true, "unsupported-version": true,
}

const undefinedCondition = "undefined-condition"

// errorScope is the root that StreamError.Raw stands under: only the prefix stream is declared.
var errorScope = &xmlframe.Scope{Prefixes: []xmlframe.Prefix{{Name: "stream", Space: ns.Stream}}}

// parseStreamError reads a <stream:error/>. other is the text of see-other-host.
func parseStreamError(el xmlframe.Element) (se *StreamError, other string) {
	se = &StreamError{Condition: undefinedCondition, Raw: el.AppendTo(nil, errorScope)}
	for c := range el.Children() {
		if string(c.Space) == ns.Streams && conditions[string(c.Local)] {
			se.Condition = string(c.Local)
			if se.Condition == seeOtherHost {
				other = c.Text()
			}
			break
		}
	}
	return se, other
}
