package web

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"stanzagate/internal/peer"
)

// Paths of the discovery documents (RFC 6415 §2, appendix A).
const (
	HostMetaPath     = "/.well-known/host-meta"
	HostMetaJSONPath = "/.well-known/host-meta.json"
)

// Relations of XEP-0156 §2.2.
const (
	relWebSocket = "urn:xmpp:alt-connections:websocket"
	relBOSH      = "urn:xmpp:alt-connections:xbosh"
)

// HostMetaConfig is what the discovery documents (XEP-0156) say, and to whom.
type HostMetaConfig struct {
	// Host returns the DNS name of a requested host if a document is to be served for it: that of a configured domain.
	// The public URL's own host is always served.
	Host                    func(host string) (name string, ok bool)
	BOSHPath, WebSocketPath string         // below the public URL
	PublicURL               string         // https://host[:port][/path] where browsers reach the gateway; "" for port 443 of the requested host
	Links                   []string       // further links, each "RELATION URL"
	Peers                   *peer.Resolver // nil: no proxy is trusted
}

// link is one <Link/>. Exactly one of href and template is set.
type link struct {
	Rel      string `xml:"rel,attr" json:"rel"`
	Href     string `xml:"href,attr,omitempty" json:"href,omitempty"`
	Template string `xml:"template,attr,omitempty" json:"template,omitempty"`
}

// hostMeta serves both documents; immutable.
type hostMeta struct {
	cfg    HostMetaConfig
	public *url.URL // nil: not configured
	links  []link
}

// ErrLinks marks errors about HostMetaConfig.Links; others are about PublicURL.
var ErrLinks = errors.New("host-meta.links")

// HostMeta serves the discovery documents at HostMetaPath and HostMetaJSONPath. It is safe for concurrent use and keeps no
// state. Its errors name the setting.
func HostMeta(cfg HostMetaConfig) (http.Handler, error) {
	m := &hostMeta{cfg: cfg}
	if cfg.PublicURL != "" {
		u, err := secureURL(cfg.PublicURL, "https")
		if err != nil || u.RawQuery != "" || u.User != nil {
			return nil, fmt.Errorf("public-url: %q is not an https URL; want https://host[:port][/path]", cfg.PublicURL)
		}
		u.Path = strings.TrimSuffix(u.Path, "/")
		m.public = u
	}
	for _, s := range cfg.Links {
		l, err := parseLink(s)
		if err != nil {
			return nil, fmt.Errorf("%w: %q: %w", ErrLinks, s, err)
		}
		m.links = append(m.links, l)
	}
	return m, nil
}

func secureURL(s string, schemes ...string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, err
	}
	for _, scheme := range schemes {
		if u.Scheme == scheme && u.Host != "" && u.Fragment == "" {
			return u, nil
		}
	}
	return nil, fmt.Errorf("want a URL with %s", strings.Join(schemes, " or "))
}

// parseLink reads "RELATION URL". XEP-0156 §2.2: only https and wss.
func parseLink(s string) (link, error) {
	fields := strings.Fields(s)
	if len(fields) != 2 {
		return link{}, fmt.Errorf("want a relation and a URL with a blank between them")
	}
	target := strings.NewReplacer("{uri}", "uri").Replace(fields[1]) // RFC 6415 §3.1.1: the one variable of a template
	if _, err := secureURL(target, "https", "wss"); err != nil {
		return link{}, fmt.Errorf("%q is not a secure URL; want https:// or wss://", fields[1])
	}
	l := link{Rel: fields[0]}
	if target != fields[1] {
		l.Template = fields[1]
	} else {
		l.Href = fields[1]
	}
	return l, nil
}

func (m *hostMeta) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	// XEP-0156 §3: any page may read this. Nothing else of the gateway says so.
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("X-Content-Type-Options", "nosniff")
	switch r.Method {
	case http.MethodOptions:
		h.Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
		h.Set("Access-Control-Max-Age", "86400")
		w.WriteHeader(http.StatusNoContent)
		return
	case http.MethodGet, http.MethodHead:
	default:
		h.Set("Allow", "GET, HEAD, OPTIONS")
		refuse(w, http.StatusMethodNotAllowed, "method not allowed")
		return
	}
	p := m.cfg.Peers.Of(r)
	base, ok := m.base(p)
	if !ok {
		refuse(w, http.StatusNotFound, "no XMPP domain of this gateway")
		return
	}
	if !p.Secure {
		// XEP-0156 §2.2: never over plain HTTP.
		h.Set("Cache-Control", "no-cache")
		h.Set("Location", "https://"+base.Host+r.URL.Path)
		h.Set("Content-Length", "0")
		w.WriteHeader(http.StatusTemporaryRedirect)
		return
	}
	h.Set("Cache-Control", "max-age=3600")
	if r.URL.Path == HostMetaJSONPath {
		h.Set("Content-Type", "application/json")
		m.write(w, r, m.jrd(base))
		return
	}
	h.Set("Content-Type", "application/xrd+xml")
	m.write(w, r, m.xrd(base))
}

// base is the URL that links are made from. The requested host only chooses among what is configured; it is never copied
// into a link as it came.
func (m *hostMeta) base(p peer.Peer) (*url.URL, bool) {
	requested, _, _ := strings.Cut(strings.ToLower(p.Host), ":")
	if strings.HasPrefix(requested, "[") {
		return nil, false // documents are for names
	}
	if m.public != nil && requested == strings.ToLower(m.public.Hostname()) {
		return m.public, true
	}
	name, ok := m.cfg.Host(requested)
	if !ok {
		return nil, false
	}
	if m.public != nil {
		return m.public, true
	}
	return &url.URL{Scheme: "https", Host: name}, true
}

// all returns the links of the document in a fixed order, which has no meaning.
func (m *hostMeta) all(base *url.URL) []link {
	links := make([]link, 0, len(m.links)+2)
	for _, own := range []struct{ rel, scheme, path string }{
		{relWebSocket, "wss", m.cfg.WebSocketPath}, {relBOSH, "https", m.cfg.BOSHPath},
	} {
		if own.path != "" {
			u := url.URL{Scheme: own.scheme, Host: base.Host, Path: base.Path + own.path}
			links = append(links, link{Rel: own.rel, Href: u.String()})
		}
	}
	return append(links, m.links...)
}

// xrd makes the document of RFC 6415 §3. It has no Subject: host-meta is about the host that serves it.
func (m *hostMeta) xrd(base *url.URL) []byte {
	var b bytes.Buffer
	b.WriteString(xml.Header)
	encoder := xml.NewEncoder(&b)
	encoder.Indent("", "  ")
	_ = encoder.Encode(struct { // strings into a buffer cannot fail
		XMLName xml.Name `xml:"http://docs.oasis-open.org/ns/xri/xrd-1.0 XRD"`
		Links   []link   `xml:"Link"`
	}{Links: m.all(base)})
	b.WriteByte('\n')
	return b.Bytes()
}

func (m *hostMeta) jrd(base *url.URL) []byte {
	document, _ := json.MarshalIndent(struct { // strings cannot fail
		Links []link `json:"links"`
	}{m.all(base)}, "", "  ")
	return append(document, '\n')
}

func (m *hostMeta) write(w http.ResponseWriter, r *http.Request, document []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(document)))
	if r.Method == http.MethodGet {
		_, _ = w.Write(document) // who asked is gone: nothing to do
	}
}
