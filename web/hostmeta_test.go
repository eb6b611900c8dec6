package web

import (
	"crypto/tls"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"stanzagate/internal/peer"
)

// twoDomains serves two domains, one of them with a name that browsers ask for in its ASCII form.
func twoDomains(host string) (string, bool) {
	name, ok := map[string]string{"one.example": "one.example", "xn--bcher-kva.example": "xn--bcher-kva.example"}[host]
	return name, ok
}

func hostMetaOf(t *testing.T, change func(*HostMetaConfig)) http.Handler {
	t.Helper()
	cfg := HostMetaConfig{Host: twoDomains, BOSHPath: "/http-bind", WebSocketPath: "/xmpp-websocket"}
	if change != nil {
		change(&cfg)
	}
	h, err := HostMeta(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// ask makes a request over TLS.
func ask(h http.Handler, method, host, path string, header http.Header) *http.Response {
	r := httptest.NewRequest(method, "https://"+host+path, nil)
	r.TLS = &tls.ConnectionState{}
	for k, v := range header {
		r.Header[k] = v
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

type document struct {
	XMLName xml.Name  `xml:"XRD" json:"-"`
	Subject []string  `xml:"Subject" json:"subject"`
	Alias   []string  `xml:"Alias" json:"aliases"`
	Links   []docLink `xml:"Link" json:"links"`
}

type docLink struct {
	Rel      string `xml:"rel,attr" json:"rel"`
	Href     string `xml:"href,attr" json:"href"`
	Template string `xml:"template,attr" json:"template"`
}

func readXRD(t *testing.T, resp *http.Response) document {
	t.Helper()
	var d document
	if err := xml.NewDecoder(resp.Body).Decode(&d); err != nil {
		t.Fatal(err)
	}
	if d.XMLName.Space != "http://docs.oasis-open.org/ns/xri/xrd-1.0" {
		t.Errorf("root in namespace %q", d.XMLName.Space)
	}
	return d
}

func readJRD(t *testing.T, resp *http.Response) document {
	t.Helper()
	var d document
	if err := json.NewDecoder(resp.Body).Decode(&d); err != nil {
		t.Fatal(err)
	}
	return d
}

// Covers: DISC-001, DISC-004, DISC-005, DISC-010, DISC-011, DISC-013.
func TestDocuments(t *testing.T) {
	h := hostMetaOf(t, nil)
	for _, host := range []string{"one.example", "xn--bcher-kva.example", "ONE.example:443"} {
		want := []docLink{
			{"urn:xmpp:alt-connections:websocket", "wss://" + strings.ToLower(strings.TrimSuffix(host, ":443")) + "/xmpp-websocket", ""},
			{"urn:xmpp:alt-connections:xbosh", "https://" + strings.ToLower(strings.TrimSuffix(host, ":443")) + "/http-bind", ""},
		}
		x := ask(h, "GET", host, HostMetaPath, nil)
		if x.StatusCode != 200 || x.Header.Get("Content-Type") != "application/xrd+xml" || x.Header.Get("Cache-Control") != "max-age=3600" {
			t.Errorf("%s: %d %v", host, x.StatusCode, x.Header)
		}
		xrd := readXRD(t, x)
		if !slices.Equal(xrd.Links, want) || xrd.Subject != nil || xrd.Alias != nil {
			t.Errorf("%s: %+v", host, xrd)
		}
		j := ask(h, "GET", host, HostMetaJSONPath, nil)
		if j.StatusCode != 200 || j.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %v", host, j.StatusCode, j.Header)
		}
		if jrd := readJRD(t, j); !slices.Equal(jrd.Links, want) || jrd.Subject != nil || jrd.Alias != nil {
			t.Errorf("%s: %+v", host, jrd)
		}
	}
	for _, host := range []string{"evil.example", "one.example.evil.example", "[::1]", "127.0.0.1", "example"} {
		if resp := ask(h, "GET", host, HostMetaPath, nil); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: status %d", host, resp.StatusCode)
		}
	}
}

// Covers: DISC-006.
func TestAcceptIsIgnored(t *testing.T) {
	h := hostMetaOf(t, nil)
	for _, accept := range []string{"", "*/*", "application/xrd+xml", "application/json", "text/html, application/json;q=0.9"} {
		resp := ask(h, "GET", "one.example", HostMetaPath, http.Header{"Accept": {accept}})
		if resp.Header.Get("Content-Type") != "application/xrd+xml" || len(readXRD(t, resp).Links) != 2 {
			t.Errorf("Accept %q: %v", accept, resp.Header)
		}
	}
}

// Covers: DISC-007.
func TestAnyPageMayReadTheDocuments(t *testing.T) {
	h := hostMetaOf(t, nil)
	for _, path := range []string{HostMetaPath, HostMetaJSONPath} {
		for method, status := range map[string]int{"GET": 200, "HEAD": 200, "OPTIONS": 204, "POST": 405, "DELETE": 405} {
			resp := ask(h, method, "one.example", path, http.Header{"Origin": {"https://elsewhere.example"}})
			if resp.StatusCode != status || resp.Header.Get("Access-Control-Allow-Origin") != "*" || resp.Header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s %s: %d %v", method, path, resp.StatusCode, resp.Header)
			}
		}
		allowed := ask(h, "OPTIONS", "one.example", path, nil).Header.Get("Access-Control-Allow-Methods")
		if allowed != "GET, HEAD, OPTIONS" {
			t.Errorf("allowed methods %q", allowed)
		}
		head := ask(h, "HEAD", "one.example", path, nil)
		if head.ContentLength <= 0 {
			t.Errorf("HEAD says length %d", head.ContentLength)
		}
	}
}

// Covers: DISC-002, DISC-010, DISC-012.
func TestPlainHTTPIsRedirected(t *testing.T) {
	peers, err := peer.NewResolver([]string{"10.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	withPublic := func(c *HostMetaConfig) { c.PublicURL, c.Peers = "https://chat.example:8443/xmpp", peers }
	for name, c := range map[string]struct {
		change         func(*HostMetaConfig)
		host, remote   string
		header         http.Header
		status         int
		location, href string
	}{
		"plain":                 {nil, "one.example:5280", "192.0.2.1:1", nil, 307, "https://one.example/.well-known/host-meta", ""},
		"plain, public URL":     {withPublic, "one.example", "192.0.2.1:1", nil, 307, "https://chat.example:8443/.well-known/host-meta", ""},
		"forged scheme":         {withPublic, "one.example", "192.0.2.1:1", http.Header{"X-Forwarded-Proto": {"https"}}, 307, "https://chat.example:8443/.well-known/host-meta", ""},
		"trusted proxy":         {withPublic, "one.example", "10.0.0.1:1", http.Header{"X-Forwarded-Proto": {"https"}}, 200, "", "wss://chat.example:8443/xmpp/xmpp-websocket"},
		"redirected by a site":  {withPublic, "chat.example:8443", "10.0.0.1:1", http.Header{"X-Forwarded-Proto": {"https"}}, 200, "", "wss://chat.example:8443/xmpp/xmpp-websocket"},
		"host from a proxy":     {withPublic, "internal", "10.0.0.1:1", http.Header{"X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"one.example"}}, 200, "", "wss://chat.example:8443/xmpp/xmpp-websocket"},
		"forged host":           {withPublic, "one.example", "192.0.2.1:1", http.Header{"X-Forwarded-Host": {"evil.example"}}, 307, "https://chat.example:8443/.well-known/host-meta", ""},
		"unknown host":          {nil, "evil.example", "192.0.2.1:1", nil, 404, "", ""},
		"unknown host by proxy": {withPublic, "one.example", "10.0.0.1:1", http.Header{"X-Forwarded-Host": {"evil.example"}}, 404, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "http://"+c.host+HostMetaPath, nil)
			r.RemoteAddr = c.remote
			for k, v := range c.header {
				r.Header[k] = v
			}
			w := httptest.NewRecorder()
			hostMetaOf(t, c.change).ServeHTTP(w, r)
			resp := w.Result()
			if resp.StatusCode != c.status || resp.Header.Get("Location") != c.location {
				t.Fatalf("%d to %q", resp.StatusCode, resp.Header.Get("Location"))
			}
			if c.href != "" {
				if got := readXRD(t, resp).Links[0].Href; got != c.href {
					t.Errorf("link to %q", got)
				}
			}
		})
	}
}

// Covers: DISC-009, DISC-011.
func TestFurtherLinks(t *testing.T) {
	h := hostMetaOf(t, func(c *HostMetaConfig) {
		c.Links = []string{
			"urn:xmpp:alt-connections:websocket wss://two.example/ws?a=1&b=2",
			"lrdd https://one.example/.well-known/webfinger?resource={uri}",
		}
	})
	want := []docLink{
		{"urn:xmpp:alt-connections:websocket", "wss://one.example/xmpp-websocket", ""},
		{"urn:xmpp:alt-connections:xbosh", "https://one.example/http-bind", ""},
		{"urn:xmpp:alt-connections:websocket", "wss://two.example/ws?a=1&b=2", ""},
		{"lrdd", "", "https://one.example/.well-known/webfinger?resource={uri}"},
	}
	if got := readXRD(t, ask(h, "GET", "one.example", HostMetaPath, nil)).Links; !slices.Equal(got, want) {
		t.Errorf("XRD %+v", got)
	}
	if got := readJRD(t, ask(h, "GET", "one.example", HostMetaJSONPath, nil)).Links; !slices.Equal(got, want) {
		t.Errorf("JRD %+v", got)
	}
}

// Covers: DISC-003, DISC-013.
func TestInsecureLinksAreRefused(t *testing.T) {
	for _, c := range []HostMetaConfig{
		{PublicURL: "http://chat.example"},
		{PublicURL: "wss://chat.example"},
		{PublicURL: "chat.example"},
		{PublicURL: "https://"},
		{PublicURL: "https://user@chat.example"},
		{PublicURL: "https://chat.example?x=1"},
		{PublicURL: "https://chat.example#x"},
		{Links: []string{"urn:xmpp:alt-connections:websocket ws://one.example/ws"}},
		{Links: []string{"urn:xmpp:alt-connections:xbosh http://one.example/http-bind"}},
		{Links: []string{"https://one.example/http-bind"}},
		{Links: []string{"a https://one.example b"}},
		{Links: []string{"a javascript:alert(1)"}},
	} {
		_, err := HostMeta(c)
		if err == nil || !strings.Contains(err.Error(), "want") || !strings.HasPrefix(err.Error(), "public-url:") && !strings.HasPrefix(err.Error(), "host-meta.links:") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// FuzzHostMeta: whatever host is asked for, a document names only configured hosts and is well-formed.
func FuzzHostMeta(f *testing.F) {
	f.Add("one.example", "", true)
	f.Add("evil.example:80", "one.example", false)
	f.Add("[::1]", "a\"<>&", true)
	peers, err := peer.NewResolver([]string{"10.0.0.1"})
	if err != nil {
		f.Fatal(err)
	}
	h, err := HostMeta(HostMetaConfig{Host: twoDomains, BOSHPath: "/b", WebSocketPath: "/w", Peers: peers})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, host, forwarded string, secure bool) {
		r := httptest.NewRequest("GET", HostMetaPath, nil)
		r.Host, r.RemoteAddr = host, "10.0.0.1:1"
		r.Header["X-Forwarded-Host"] = []string{forwarded}
		if secure {
			r.TLS = &tls.ConnectionState{}
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		resp := w.Result()
		switch resp.StatusCode {
		case http.StatusOK:
			for _, l := range readXRD(t, resp).Links {
				if !strings.HasPrefix(l.Href, "wss://one.example/") && !strings.HasPrefix(l.Href, "https://one.example/") &&
					!strings.HasPrefix(l.Href, "wss://xn--bcher-kva.example/") && !strings.HasPrefix(l.Href, "https://xn--bcher-kva.example/") {
					t.Errorf("link to %q", l.Href)
				}
			}
		case http.StatusTemporaryRedirect:
			if l := resp.Header.Get("Location"); l != "https://one.example"+HostMetaPath && l != "https://xn--bcher-kva.example"+HostMetaPath {
				t.Errorf("redirected to %q", l)
			}
		case http.StatusNotFound:
		default:
			t.Errorf("status %d", resp.StatusCode)
		}
	})
}
