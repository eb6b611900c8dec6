package upstream

import (
	"stanzagate/internal/ns"
	"stanzagate/internal/xmlframe"
)

// Admit decides what becomes of an element from the browser and appends its bytes to dst: for the server if it is
// forwarded, for the browser if it is answered. The server's side of the decision is taken as Send follows at once.
func (s *Stream) Admit(dst []byte, el xmlframe.Element) (Admission, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if el.IsStanza() {
		return s.admitStanza(dst, el), nil
	}
	switch space := string(el.Space); {
	case space == ns.TLS:
		// WS-051, XBOSH-005, UP-039: the hop behind us is not the browser's business.
		return Admission{Action: Answer, Bytes: append(dst, refusedTLS...)}, nil
	case space == compression:
		return Admission{Action: Answer, Bytes: append(dst, refusedZip...)}, nil
	case space == ns.SASL, space == ns.SASL2:
		return s.admitSASL(dst, el), nil
	case space == ns.SM && s.m != nil:
		return managedSM(dst, el), nil
	case space == ns.SM, space == nsCSI:
		if !s.p.authenticated || s.p.restartable {
			return refuse("not-authorized"), nil
		}
		return s.forward(dst, el), nil
	case space == ns.Client || space == ns.Stream:
		return refuse("unsupported-stanza-type"), nil
	}
	switch string(el.Local) {
	case "message", "presence", "iq":
		return refuse("invalid-namespace"), nil // RFC 6120 §4.8.2: one content namespace
	}
	return refuse("unsupported-stanza-type"), nil // RFC 6120 §4.9.3.24
}

func refuse(condition string) Admission { return Admission{Action: Refuse, Condition: condition} }

func (s *Stream) forward(dst []byte, el xmlframe.Element) Admission {
	return Admission{Action: Forward, Bytes: el.AppendTo(dst, s.out)}
}

// admitSASL lets what a client says in SASL (RFC 6120 §6.4) and SASL2 (XEP-0388 §2) through, before it is authenticated.
func (s *Stream) admitSASL(dst []byte, el xmlframe.Element) Admission {
	switch {
	case s.p.restartable:
		return refuse("not-authorized") // RFC 6120 §6.4.6: only a stream restart may come now
	case s.p.authenticated || s.m != nil && string(el.Space) == ns.SASL2:
		return refuse("unsupported-stanza-type") // UP-039: not negotiated, or not any more
	}
	switch string(el.Local) {
	case "auth", "authenticate":
		// UP-051: a client that takes PLAIN unasked is stopped before the server sees the password, if not before others do.
		if m, _ := el.Attr("", "mechanism"); m == plain && s.policy.noPlain {
			return Admission{Action: Answer, Bytes: appendFailure(dst, el, "encryption-required")}
		}
	case "response", "abort", "next":
	default:
		return refuse("unsupported-stanza-type")
	}
	s.p.begun, s.shown = true, nil
	if s.m != nil {
		return s.admitLogin(dst, el)
	}
	return s.forward(dst, el)
}

// managedSM keeps a browser's own stream management away from a stream on which the gateway does it.
func managedSM(dst []byte, el xmlframe.Element) Admission {
	switch string(el.Local) {
	case "r", "a":
		return Admission{Action: Drop}
	}
	return Admission{Action: Answer, Bytes: append(dst, refusedEnable...)}
}

// admitStanza holds stanzas back until negotiation is complete (UP-029, WS-037), with the exceptions that are negotiation.
// What follows a bind request in flight goes with it: the server takes them in order and refuses them if the bind fails.
func (s *Stream) admitStanza(dst []byte, el xmlframe.Element) Admission {
	binds := false
	if !s.p.bound {
		switch {
		case !s.p.authenticated && s.p.register && isIQWith(el, nsRegister, "query"):
			// XEP-0077 §3.1.1: offered by the server, so negotiated, and by its nature before login.
		case !s.p.authenticated && s.p.legacy && !s.policy.noPlain && isIQWith(el, nsAuth, "query"):
			s.p.begun, s.shown = true, nil
			if condition := s.p.legacyLogin(el, s.dom.Name); condition != "" {
				return refuse(condition)
			}
		case !s.p.authenticated, s.p.restartable:
			return refuse("not-authorized")
		case isIQWith(el, ns.Bind, "bind"):
			id, _ := el.Attr("", "id")
			if len(id) > maxID {
				return refuse("policy-violation")
			}
			s.p.binding, s.p.bindID = true, id
			binds = true
		case !s.p.binding:
			return refuse("not-authorized")
		}
	}
	start := len(dst)
	a := s.forward(dst, el)
	a.Stanza = true
	if s.p.maxBytes > 0 && int64(len(a.Bytes)-start) > s.p.maxBytes {
		return tooBig(dst, el)
	}
	switch {
	case s.m == nil:
	case binds:
		return s.admitBind(a)
	default:
		if a.Stanza = s.m.sm.asked(); a.Stanza {
			s.m.sm.sent++
		}
	}
	return a
}

// tooBig answers a stanza that would end the stream (UP-031). Errors and results get no answer (RFC 6120 §8.3.1).
func tooBig(dst []byte, el xmlframe.Element) Admission {
	if typ, _ := el.Attr("", "type"); typ == "error" || typ == "result" {
		return Admission{Action: Drop}
	}
	return Admission{Action: Answer, Bytes: appendTooBig(dst, el)}
}

func isIQWith(el xmlframe.Element, space, local string) bool {
	if string(el.Local) != "iq" {
		return false
	}
	for c := range el.Children() {
		if c.Is(space, local) {
			return true
		}
	}
	return false
}
