package bosh

import (
	"encoding/json"
	"encoding/xml"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"stanzagate/internal/xmpptest"
)

// script sends a body in script syntax and undoes what the browser would by calling the function.
func (r *rig) script(body string) reply {
	r.t.Helper()
	query := strings.NewReplacer("+", "%2B", "%20", "%20").Replace(url.PathEscape(body))
	out := r.do(nil, http.MethodGet, r.url+"?"+query, nil)
	inner, found := strings.CutPrefix(out.raw, `_BOSH_("`)
	inner, closed := strings.CutSuffix(inner, `")`)
	if !found || !closed {
		return out
	}
	// The escapes that are used here are those of JSON too.
	var text string
	if err := json.Unmarshal([]byte(`"`+inner+`"`), &text); err != nil {
		r.t.Errorf("%v: %s", err, out.raw)
	}
	if err := xml.Unmarshal([]byte(text), &out.node); err != nil {
		r.t.Errorf("%v: %s", err, text)
	}
	return out
}

// Covers: BOSH-012, BOSH-172.
func TestScriptSyntaxIsOffByDefault(t *testing.T) {
	r := newRig(t, xmpptest.Options{}, Config{})
	body := (&browser{rid: 1}).createBody(defaultAttrs)
	if out := r.script(body); out.status != http.StatusNotFound {
		t.Errorf("%d %s", out.status, out.raw)
	}
	if out := r.do(nil, http.MethodGet, r.url+"?utm_source=x", nil); out.status != http.StatusOK {
		t.Errorf("a page with a query: %d", out.status)
	}
	if r.h.Sessions() != 0 {
		t.Error("a session was created")
	}
}

// Covers: BOSH-173, BOSH-174, BOSH-175.
func TestScriptSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newBubble(t, xmpptest.Options{}, Config{ScriptSyntax: true})
		b := &browser{rig: r, rid: 1000}
		out := r.script(b.createBody(defaultAttrs))
		b.sid = out.attr("sid")
		if out.header.Get("Content-Type") != "text/javascript; charset=utf-8" {
			t.Errorf("header %v", out.header)
		}
		say := func(attrs, payload string) reply {
			t.Helper()
			out := r.script(b.next(attrs, payload))
			if out.header.Get("Cache-Control") != "no-store" || out.header.Get("Pragma") != "no-cache" || out.header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("header %v", out.header)
			}
			return out
		}
		if out = say("", plain("alice", "secret")); out.Nodes[0].XMLName.Local != "success" {
			t.Errorf("got %s", out.raw)
		}
		say(restartAttrs, "")
		say("", "<iq xmlns='jabber:client' type='set' id='x'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
		server := r.xmpp.Session("alice@example.org")
		// One stanza over three requests, cut inside a name and inside a character reference; then more in the same breath.
		var held [3]chan reply
		parts := []string{"<message xmlns='jabber:client' to='alice@example.org'><bo", "dy>a + b &am", "p; c</body></message><message to='alice@example.org'><body>second</body></message>"}
		for i, p := range parts {
			body := b.next("", p)
			held[i] = make(chan reply, 1)
			go func() { held[i] <- r.script(body) }()
			synctest.Wait()
		}
		var texts []string
		for _, answer := range held {
			for _, m := range r.get(answer).Nodes {
				texts = append(texts, m.Nodes[0].Text)
			}
		}
		if len(texts) < 2 {
			texts = append(texts, say("", "").Nodes[0].Nodes[0].Text)
		}
		if strings.Join(texts, "|") != "a + b & c|second" {
			t.Errorf("got %q", texts)
		}
		if !strings.Contains(server.Received(), "<body>a + b &amp; c</body>") {
			t.Errorf("server got %s", server.Received())
		}
		// A session is all script or all POST, and so is its end.
		if out := r.post(nil, b.at(b.rid+1, "", "")); out.attr("condition") != "bad-request" {
			t.Errorf("POST in a script session: %s", out.raw)
		}
		posting, _ := r.open(defaultAttrs)
		if out := r.script(posting.at(posting.rid+1, "", "")); out.attr("condition") != "bad-request" {
			t.Errorf("script in a POST session: %s", out.raw)
		}
	})
}

// Covers: BOSH-046, BOSH-174.
func TestScriptContent(t *testing.T) {
	r := newRig(t, xmpptest.Options{}, Config{ScriptSyntax: true})
	out := r.script((&browser{rid: 1}).createBody(defaultAttrs + " content='text/xml; charset=utf-8'"))
	if got := out.header.Get("Content-Type"); got != "text/xml; charset=utf-8" {
		t.Errorf("Content-Type %q", got)
	}
	for name, body := range map[string]string{
		"not a body": "<x/>", "no end": "<body rid='1' " + bodyNS + ">", "wrong end": "<body rid='1' " + bodyNS + "></bodi>",
		"text behind": "<body rid='1' " + bodyNS + "/>x", "bad escape": "<body rid='x' " + bodyNS + "/>",
	} {
		if out := r.script(body); out.attr("condition") != "bad-request" {
			t.Errorf("%s: %d %s", name, out.status, out.raw)
		}
	}
	if out := r.do(nil, http.MethodGet, r.url+"?%3Cbody%zz", nil); out.status == http.StatusOK && !strings.Contains(out.raw, "bad-request") {
		t.Errorf("broken escape: %d %s", out.status, out.raw)
	}
}

// What is in the stream of bytes is checked as anything else.
//
// Covers: BOSH-022, BOSH-173.
func TestScriptPayloadIsChecked(t *testing.T) {
	for name, payload := range map[string]string{
		"malformed": "<message></iq>", "comment": "<!-- x -->", "end of the body": "</body>", "too large": strings.Repeat("<a>", 20),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newBubble(t, xmpptest.Options{}, Config{ScriptSyntax: true, Limits: limitsOf(10000), BodyBytes: 10000})
				b := &browser{rig: r, rid: 1000}
				b.sid = r.script(b.createBody(defaultAttrs)).attr("sid")
				var out reply
				for range 200 {
					if out = r.script(b.next("", payload)); out.attr("type") != "" || name != "too large" {
						break
					}
				}
				if out.attr("type") != "terminate" {
					t.Errorf("got %s", out.raw)
				}
			})
		})
	}
}

// Covers: BOSH-174.
func TestScriptEscapes(t *testing.T) {
	for in, want := range map[string]string{
		`a"b\c`: `a\"b\\c`, "\n\r": `\n\r`, "\u2028\u2029": `\u2028\u2029`, "\u200e\u200f\u00ad": `\u200e\u200f\u00ad`,
		"\U000E0001": `\udb40\udc01`, "ä😀\t": "ä😀\t", "\ufeff": `\ufeff`, "": "",
	} {
		if got := string(appendScript(nil, []byte(in))); got != `_BOSH_("`+want+`")` {
			t.Errorf("%q: %s", in, got)
		}
	}
}
