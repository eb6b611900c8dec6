package bosh

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"stanzagate/internal/xmpptest"
)

// Covers: BOSH-007, BOSH-008.
func TestResponseCoding(t *testing.T) {
	r := newRig(t, xmpptest.Options{}, Config{Origins: anyOrigins(t)})
	b := r.loginWith(&http.Client{Transport: &http.Transport{DisableCompression: true}}, "alice", defaultAttrs)
	text := strings.Repeat("compress me ", 200)
	for _, c := range []struct{ accept, want string }{
		{"", ""},
		{"gzip", "gzip"},
		{"deflate", "deflate"},
		{"gzip, deflate, br", "gzip"},
		{"gzip;q=0", ""},
		{"identity", ""},
		{"gzip;q=0.1, deflate;q=0.5", "deflate"},
		{"br", ""},
		{"*;q=0.3, gzip;q=0", "deflate"},
		{"", ""},
	} {
		var header []string
		if c.accept != "" {
			header = append(header, "Accept-Encoding: "+c.accept)
		}
		out := r.post(b.client, b.next("", message("alice@example.org", text)), header...)
		if got := out.header.Get("Content-Encoding"); got != c.want || !strings.Contains(out.header.Get("Vary"), "Accept-Encoding") {
			t.Errorf("%q: Content-Encoding %q, Vary %q, want %q", c.accept, got, out.header.Get("Vary"), c.want)
		}
		var plainText io.Reader = strings.NewReader(out.raw)
		var err error
		switch c.want {
		case "gzip":
			plainText, err = gzip.NewReader(plainText)
		case "deflate":
			plainText, err = zlib.NewReader(plainText)
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(plainText)
		if err != nil || !bytes.Contains(got, []byte(text)) {
			t.Errorf("%q: %v, %.100s", c.accept, err, got)
		}
	}
}

// coded returns s as an encoder writes it.
func coded(t testing.TB, s string, encoder func(io.Writer) io.WriteCloser) []byte {
	t.Helper()
	var b bytes.Buffer
	w := encoder(&b)
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipBytes(t testing.TB, s string) []byte {
	t.Helper()
	return coded(t, s, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
}

func zlibbed(t testing.TB, s string) []byte {
	t.Helper()
	return coded(t, s, func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) })
}

func rawDeflated(t testing.TB, s string) []byte {
	t.Helper()
	return coded(t, s, func(w io.Writer) io.WriteCloser {
		f, err := flate.NewWriter(w, 6)
		if err != nil {
			t.Fatal(err)
		}
		return f
	})
}

// Covers: BOSH-009.
func TestRequestCoding(t *testing.T) {
	r := newRig(t, xmpptest.Options{}, Config{Origins: anyOrigins(t)})
	b, out := r.open(defaultAttrs)
	if out.attr("accept") != "deflate,gzip" {
		t.Errorf("accept=%q", out.attr("accept"))
	}
	b.authenticate("alice", out)
	for round := range 2 { // the second time with readers that were used before
		for name, c := range map[string]struct {
			coding string
			encode func(testing.TB, string) []byte
		}{
			"gzip": {"gzip", gzipBytes}, "x-gzip": {"X-GZIP", gzipBytes}, "zlib": {"deflate", zlibbed}, "raw deflate": {"deflate", rawDeflated},
			"identity": {"identity", func(_ testing.TB, s string) []byte { return []byte(s) }},
		} {
			body := c.encode(t, b.next("", message("alice@example.org", name+strings.Repeat("!", 5000))))
			out := r.do(nil, http.MethodPost, r.web.URL, bytes.NewReader(body), "Content-Encoding: "+c.coding)
			if !strings.Contains(out.raw, name+"!!!") {
				t.Errorf("%s, round %d: %.200s", name, round, out.raw)
			}
		}
	}
	for name, c := range map[string]struct{ coding, body string }{
		"unknown": {"br", b.at(b.rid+1, "", "")}, "stacked": {"gzip, gzip", "x"}, "not gzip": {"gzip", "<body/>"},
		"not deflate": {"deflate", "<body/>"}, "cut off": {"gzip", string(gzipBytes(t, b.at(b.rid+1, "", ""))[:30])},
	} {
		out := r.post(nil, c.body, "Content-Encoding: "+c.coding)
		if out.status != http.StatusOK || out.attr("condition") != "bad-request" {
			t.Errorf("%s: %d %s", name, out.status, out.raw)
		}
	}
	if out := b.say("", message("alice@example.org", "alive")); !strings.Contains(out.raw, "alive") {
		t.Errorf("session harmed: %s", out.raw)
	}
}

// Covers: BOSH-010.
func TestDecompressionBomb(t *testing.T) {
	r := newRig(t, xmpptest.Options{}, Config{Origins: anyOrigins(t)})
	b := r.login("alice")
	filler := strings.Repeat("a", 4<<20)
	bomb := gzipBytes(t, b.next("", "<message xmlns='jabber:client'><body>"+filler+"</body></message>"))
	anonymous := gzipBytes(t, "<body xmlns='http://jabber.org/protocol/httpbind' rid='1' to='example.org'>"+filler)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if out := r.do(nil, http.MethodPost, r.web.URL, bytes.NewReader(anonymous), "Content-Encoding: gzip"); out.status != http.StatusRequestEntityTooLarge {
		t.Errorf("without session: %d %s", out.status, out.raw)
	}
	if out := r.do(nil, http.MethodPost, r.web.URL, bytes.NewReader(bomb), "Content-Encoding: gzip"); out.attr("condition") != "policy-violation" {
		t.Errorf("in a session: %d %s", out.status, out.raw)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 3<<20 {
		t.Errorf("%d MiB allocated", used>>20)
	}
}

// A ratio that only a bomb has is refused below the size limit too.
//
// Covers: BOSH-010.
func TestDecompressionRatio(t *testing.T) {
	for _, size := range []int{60 << 10, 900 << 10} {
		body := gzipBytes(t, strings.Repeat("a", size))
		_, err := decompress(nil, body, gzipped, 1<<20)
		if (err == errTooLarge) != (size > freeBytes) {
			t.Errorf("%d bytes out of %d: %v", size, len(body), err)
		}
	}
}
