// Package web serves the gateway's chat page: sign in with a password or without an account, over WebSocket, BOSH or
// whichever works, and chat.
//
// The page is built by `npm --prefix web ci && npm --prefix web run build` into web/dist and embedded from there. A binary
// built without that step serves a short page that says so, hence the Go toolchain alone builds and tests everything.
//
// Invariants: every answer carries a Content-Security-Policy that allows only the page's own origin, nothing is inline, and
// nothing a request carries is echoed.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"time"
)

//go:embed all:dist fallback
var files embed.FS

// Config is what the page needs to know of the gateway that serves it.
type Config struct {
	// BOSHPath and WebSocketPath are absolute paths on the page's own origin. An empty one hides that transport.
	BOSHPath      string `json:"bosh,omitempty"`
	WebSocketPath string `json:"websocket,omitempty"`
	// Domains are offered in the sign-in form, the first as the default. They are public: whoever opens the page sees them.
	Domains []string `json:"domains"`
	// AnyDomain lets people type a domain that is not listed.
	AnyDomain bool `json:"anyDomain"`
}

const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// contentTypes are fixed, because mime.TypeByExtension depends on the machine.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".svg":  "image/svg+xml",
	".json": "application/json",
	".txt":  "text/plain; charset=utf-8",
}

// asset is one file as it is served; immutable after Handler.
type asset struct {
	contentType, etag string
	data              []byte
}

func newAsset(name string, data []byte) asset {
	sum := sha256.Sum256(data)
	return asset{contentTypes[path.Ext(name)], `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`, data}
}

// Built tells whether the page itself is embedded, not only its substitute.
func Built() bool {
	_, err := fs.Stat(files, "dist/index.html")
	return err == nil
}

// Handler serves the page at /, its files beside it and /config.json. Everything else is 404. It is safe for concurrent
// use and keeps no state.
func Handler(cfg Config) http.Handler {
	dir := "fallback"
	if Built() {
		dir = "dist"
	}
	return handler(files, dir, cfg)
}

func handler(from fs.FS, dir string, cfg Config) http.Handler {
	assets := make(map[string]asset)
	entries, _ := fs.ReadDir(from, dir) // embedded: cannot fail; a missing directory would show as 404
	for _, e := range entries {
		if contentTypes[path.Ext(e.Name())] == "" {
			continue
		}
		if data, err := fs.ReadFile(from, dir+"/"+e.Name()); err == nil {
			assets["/"+e.Name()] = newAsset(e.Name(), data)
		}
	}
	assets["/"] = assets["/index.html"]
	if cfg.Domains == nil {
		cfg.Domains = []string{}
	}
	config, _ := json.Marshal(cfg) // strings and a bool cannot fail
	assets["/config.json"] = newAsset("config.json", config)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serve(assets, w, r) })
}

func serve(assets map[string]asset, w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	a, ok := assets[r.URL.Path]
	if !ok || a.data == nil {
		NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, "method not allowed")
		return
	}
	h.Set("Content-Type", a.contentType)
	h.Set("ETag", a.etag)
	// Kept by the browser but asked for again each time: a new binary must not meet an old script.
	h.Set("Cache-Control", "no-cache")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.data))
}

// NotFound answers a request for what does not exist.
func NotFound(w http.ResponseWriter, _ *http.Request) {
	refuse(w, http.StatusNotFound, "404 page not found")
}

// refuse answers with a text and its length.
func refuse(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Length", strconv.Itoa(len(text)+1))
	// http.Error would take the length away.
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") // who asked is gone: nothing to do
}
