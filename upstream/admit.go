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
		if s.p.restartable {
			return refuse("not-authorized"), nil // RFC 6120 §6.4.6: only a stream restart may come now
		}
		s.p.begun, s.shown = true, nil
		return s.forward(dst, el), nil
	case space == ns.SM && s.client.Managed:
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

// managedSM keeps a browser's own stream management away from a stream on which the gateway does it.
func managedSM(dst []byte, el xmlframe.Element) Admission {
	switch string(el.Local) {
	case "r", "a":
		return Admission{Action: Drop}
	}
	return Admission{Action: Answer, Bytes: append(dst, refusedEnable...)}
}

// admitStanza holds stanzas back until negotiation is complete (UP-029, WS-037), the bind request excepted. What follows
// a bind request in flight goes with it: the server takes them in order and refuses them if the bind fails.
func (s *Stream) admitStanza(dst []byte, el xmlframe.Element) Admission {
	if !s.p.bound {
		switch {
		case !s.p.authenticated && s.p.register && isIQWith(el, nsRegister, "query"):
			// XEP-0077 §3.1.1: offered by the server, so negotiated, and by its nature before login.
		case !s.p.authenticated, s.p.restartable:
			return refuse("not-authorized")
		case isIQWith(el, ns.Bind, "bind"):
			id, _ := el.Attr("", "id")
			if len(id) > maxID {
				return refuse("policy-violation")
			}
			s.p.binding, s.p.bindID = true, id
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
