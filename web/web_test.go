package web

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func get(h http.Handler, method, target string, header http.Header) *http.Response {
	r := httptest.NewRequest(method, target, nil)
	for k, v := range header {
		r.Header[k] = v
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func TestEveryAnswerHasThePolicy(t *testing.T) {
	h := Handler(Config{})
	for _, target := range []string{"/", "/config.json", "/nothing", "/../web.go", "/.gitkeep"} {
		resp := get(h, "GET", target, nil)
		csp := resp.Header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", target, csp)
		}
		if resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: no nosniff", target)
		}
	}
}

func TestStatusAndTypes(t *testing.T) {
	fsys := fstest.MapFS{
		"d/index.html": {Data: []byte("<p>")}, "d/app.js": {Data: []byte("1")}, "d/style.css": {Data: []byte("a{}")},
		"d/icon.svg": {Data: []byte("<svg/>")}, "d/secret": {Data: []byte("x")},
	}
	h := handler(fsys, "d", Config{})
	for _, c := range []struct {
		method, target string
		status         int
		contentType    string
	}{
		{"GET", "/", 200, "text/html; charset=utf-8"},
		{"HEAD", "/app.js", 200, "text/javascript; charset=utf-8"},
		{"GET", "/style.css", 200, "text/css; charset=utf-8"},
		{"GET", "/icon.svg", 200, "image/svg+xml"},
		{"GET", "/config.json", 200, "application/json"},
		{"GET", "/secret", 404, "text/plain; charset=utf-8"},
		{"POST", "/", 405, "text/plain; charset=utf-8"},
	} {
		resp := get(h, c.method, c.target, nil)
		if resp.StatusCode != c.status || resp.Header.Get("Content-Type") != c.contentType {
			t.Errorf("%s %s: %d %q", c.method, c.target, resp.StatusCode, resp.Header.Get("Content-Type"))
		}
	}
}

func TestRevalidation(t *testing.T) {
	h := Handler(Config{})
	first := get(h, "GET", "/", nil)
	tag := first.Header.Get("ETag")
	if tag == "" || first.Header.Get("Cache-Control") != "no-cache" {
		t.Fatalf("ETag %q, Cache-Control %q", tag, first.Header.Get("Cache-Control"))
	}
	if again := get(h, "GET", "/", http.Header{"If-None-Match": {tag}}); again.StatusCode != http.StatusNotModified {
		t.Errorf("revalidation answered %d", again.StatusCode)
	}
}

func TestConfig(t *testing.T) {
	want := Config{BOSHPath: "/b", WebSocketPath: "/w", Domains: []string{"example.org"}, AnyDomain: true}
	var got Config
	if err := json.NewDecoder(get(Handler(want), "GET", "/config.json", nil).Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.BOSHPath != "/b" || got.WebSocketPath != "/w" || len(got.Domains) != 1 || !got.AnyDomain {
		t.Errorf("got %+v", got)
	}
}

func TestFallbackIsThere(t *testing.T) {
	resp := get(handler(files, "fallback", Config{}), "GET", "/", nil)
	if resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
}
