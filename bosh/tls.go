package bosh

// sendToTLS refuses a session in the clear: XEP-0124 §19.1. Where TLS would be found is told if it is known (§17.2,
// see-other-uri), and never the other way round.
func (v *visit) sendToTLS(legacy bool) {
	if v.h.cfg.SecureURI == "" {
		v.reject(policyViolation, legacy)
		return
	}
	v.respond(&response{terminate: true, condition: seeOtherURI, uri: v.h.cfg.SecureURI})
}
