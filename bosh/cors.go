package bosh

import (
	"net/http"

	"stanzagate/internal/peer"
)

// Values of header fields. They are shared by all responses and never changed.
var (
	noStore       = []string{"no-store"}
	noCache       = []string{"no-cache"}
	noSniff       = []string{"nosniff"}
	anyOrigin     = []string{"*"}
	yes           = []string{"true"}
	varyEncoding  = []string{"Accept-Encoding"}
	varyBoth      = []string{"Origin, Accept-Encoding"}
	corsMethods   = []string{"POST, GET, OPTIONS"}
	corsHeaders   = []string{"Content-Type, Content-Encoding"}
	corsMaxAge    = []string{"86400"} // seconds; browsers cut it to what they think right
	allowed       = []string{"GET, HEAD, OPTIONS, POST"}
	retryAfter    = []string{"1"} // seconds
	closed        = []string{"close"}
	emptyLength   = []string{"0"}
	plainTextType = []string{"text/plain; charset=utf-8"}
)

// cors sets what every answer carries, errors and panics included (BOSH-013, BOSH-014). It reports whether the page that
// the request comes from may use the gateway; a request without Origin comes from no page.
func (h *Handler) cors(header http.Header, r *http.Request, p peer.Peer) bool {
	header["Cache-Control"] = noStore
	header["X-Content-Type-Options"] = noSniff
	if h.cfg.Origins.Any() {
		// No credentials: they are never allowed together with "*".
		header["Access-Control-Allow-Origin"] = anyOrigin
		header["Vary"] = varyEncoding
		return true
	}
	header["Vary"] = varyBoth
	origins := r.Header["Origin"]
	if len(origins) == 0 {
		return true
	}
	if len(origins) > 1 || !h.cfg.Origins.Allows(origins[0], p.Host) {
		return false
	}
	header["Access-Control-Allow-Origin"] = origins
	header["Access-Control-Allow-Credentials"] = yes
	return true
}

// preflight answers OPTIONS (Fetch §3.2: the CORS preflight). It changes nothing (BOSH-012).
func (h *Handler) preflight(w http.ResponseWriter, permitted bool) {
	header := w.Header()
	header["Allow"] = allowed
	header["Content-Length"] = emptyLength
	if permitted {
		header["Access-Control-Allow-Methods"] = corsMethods
		header["Access-Control-Allow-Headers"] = corsHeaders
		header["Access-Control-Max-Age"] = corsMaxAge
	}
	w.WriteHeader(http.StatusOK)
}
