package bosh

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"stanzagate/internal/origin"
	"stanzagate/internal/parked"
	"stanzagate/internal/xmlframe"
	"stanzagate/internal/xmpptest"
	"stanzagate/upstream"
)

const patience = 10 * time.Second // of every wait in these tests

// rig is a Handler behind an HTTP server, in front of a scripted XMPP server.
type rig struct {
	t       testing.TB
	h       *Handler
	web     *httptest.Server // nil in a bubble
	url     string
	direct  *http.Client // nil outside of bubbles
	xmpp    *xmpptest.Server
	counted *tally
}

type rigOption func(*Config, *httptest.Server)

// newRig starts everything; it ends with the test. cfg is completed.
func newRig(t testing.TB, xo xmpptest.Options, cfg Config, options ...rigOption) *rig {
	t.Helper()
	r := &rig{t: t, xmpp: xmpptest.Start(t, xo), counted: &tally{}}
	if cfg.Dialer == nil {
		d, err := upstream.NewDialer(upstream.Config{Domains: []string{r.xmpp.Setting("")}})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Dialer = d
	}
	if cfg.Metrics == nil {
		cfg.Metrics = r.counted
	}
	web := httptest.NewUnstartedServer(nil)
	if parksAtOnce {
		cfg.Lot = parked.New(patience)
	}
	for _, o := range options {
		o(&cfg, web)
	}
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.h, r.web = h, web
	web.Config.Handler = h
	if cfg.Lot != nil {
		r.parkAtOnce(cfg.Lot)
	}
	if web.TLS != nil {
		web.StartTLS()
	} else {
		web.Start()
	}
	r.url = web.URL + "/http-bind"
	t.Cleanup(func() {
		r.shutdown()
		web.Close()
	})
	return r
}

func (r *rig) shutdown() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.h.Shutdown(ctx); err != nil {
		r.t.Errorf("shutdown: %v", err)
	}
}

// newBubble is newRig without a network, for synctest: requests are calls, connections to the server are pipes.
func newBubble(t testing.TB, xo xmpptest.Options, cfg Config) *rig {
	t.Helper()
	r := &rig{t: t, xmpp: xmpptest.New(t, xo), counted: &tally{}, url: "http://gw.example/http-bind"}
	if cfg.Dialer == nil {
		d, err := upstream.NewDialer(upstream.Config{
			Domains:        []string{"example.org=xmpp://192.0.2.1:5222?tls=none", "other.example=xmpp://192.0.2.1:5222?tls=none"},
			Dial:           func(context.Context, string, string) (net.Conn, error) { return r.xmpp.Pipe(), nil },
			ConnectTimeout: 20 * time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Dialer = d
	}
	if cfg.Metrics == nil {
		cfg.Metrics = r.counted
	}
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.h = h
	r.direct = &http.Client{Transport: directly{h: h}}
	t.Cleanup(r.shutdown)
	return r
}

// directly makes requests by calling the Handler.
type directly struct {
	h      *Handler
	change func(*http.Request) // what the connection is like; nil: plain, from loopback
}

var errAborted = errors.New("connection closed without an answer")

func (d directly) RoundTrip(req *http.Request) (res *http.Response, err error) {
	in := req.Clone(req.Context())
	in.RemoteAddr, in.RequestURI = "127.0.0.1:1234", req.URL.RequestURI()
	if in.Body == nil {
		in.Body = http.NoBody
	}
	if d.change != nil {
		d.change(in)
	}
	w := httptest.NewRecorder()
	defer func() {
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler {
				panic(p)
			}
			res, err = nil, errAborted
		}
	}()
	d.h.ServeHTTP(w, in)
	return w.Result(), nil
}

// anyOrigins is the setting `origins: *`.
func anyOrigins(t testing.TB) origin.Policy {
	t.Helper()
	p, err := origin.Parse([]string{"*"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// overTLS makes the HTTP server speak TLS and HTTP/2.
func overTLS(_ *Config, web *httptest.Server) {
	web.TLS = &tls.Config{}
	web.EnableHTTP2 = true
}

// tally is a Metrics that can be asked.
type tally struct {
	mu                      sync.Mutex
	requests, started       int
	ended                   []string
	elementsIn, elementsOut int
}

func (c *tally) Request() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests++
}

func (c *tally) SessionStarted() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.started++
}

func (c *tally) SessionEnded(condition string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = append(c.ended, condition)
}

func (c *tally) FromBrowser(elements, _ int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.elementsIn += elements
}

func (c *tally) ToBrowser(elements, _ int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.elementsOut += elements
}

func (c *tally) endings() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.ended...)
}

// node is an element as encoding/xml reads it; it shares no code with what is tested.
type node struct {
	XMLName xml.Name
	Attrs   []xml.Attr `xml:",any,attr"`
	Nodes   []node     `xml:",any"`
	Text    string     `xml:",chardata"`
}

func (n node) attr(name string) string {
	for _, a := range n.Attrs {
		if a.Name.Space == "" && a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func (n node) attrNS(space, name string) string {
	for _, a := range n.Attrs {
		if a.Name.Space == space && a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func (n node) child(local string) (node, bool) {
	for _, c := range n.Nodes {
		if c.XMLName.Local == local {
			return c, true
		}
	}
	return node{}, false
}

// reply is an HTTP response.
type reply struct {
	node   // the <body/>, if there is one
	status int
	header http.Header
	raw    string
	proto  string
	took   time.Duration
	err    error
}

// post sends a body and reads the answer.
func (r *rig) post(client *http.Client, body string, headers ...string) reply {
	return r.do(client, http.MethodPost, r.url, strings.NewReader(body), headers...)
}

func (r *rig) do(client *http.Client, method, url string, body io.Reader, headers ...string) (out reply) {
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		r.t.Error(err)
		return reply{err: err}
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	return r.send(client, req)
}

func (r *rig) send(client *http.Client, req *http.Request) (out reply) {
	switch {
	case client != nil:
	case r.direct != nil:
		client = r.direct
	default:
		client = r.web.Client()
	}
	began := time.Now()
	res, err := client.Do(req)
	if err != nil {
		return reply{err: err}
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	out = reply{status: res.StatusCode, header: res.Header, raw: string(raw), proto: res.Proto, took: time.Since(began), err: err}
	if res.StatusCode == http.StatusOK && strings.HasPrefix(out.raw, "<body") {
		if err := xml.Unmarshal(raw, &out.node); err != nil {
			r.t.Errorf("response is not XML: %v: %s", err, raw)
		}
		if out.XMLName != (xml.Name{Space: "http://jabber.org/protocol/httpbind", Local: "body"}) {
			r.t.Errorf("response is %v", out.XMLName)
		}
	}
	return out
}

// browser is a client that numbers its requests.
type browser struct {
	*rig
	client *http.Client // nil for the rig's
	sid    string
	rid    int
}

// open creates a session with these attributes besides rid, to and the namespace.
func (r *rig) open(attrs string) (*browser, reply) {
	r.t.Helper()
	return r.openWith(nil, attrs)
}

func (r *rig) openWith(client *http.Client, attrs string) (*browser, reply) {
	r.t.Helper()
	b := &browser{rig: r, client: client, rid: 1000}
	out := r.post(client, b.createBody(attrs))
	b.sid = out.attr("sid")
	return b, out
}

const defaultAttrs = "ver='1.11' wait='60' hold='1'"

func (b *browser) createBody(attrs string) string {
	return fmt.Sprintf("<body xmlns='http://jabber.org/protocol/httpbind' rid='%d' to='example.org' xmlns:xmpp='urn:xmpp:xbosh' xmpp:version='1.0' %s/>", b.rid, attrs)
}

// next makes the next request, with attributes and payload.
func (b *browser) next(attrs, payload string) string {
	b.rid++
	return b.at(b.rid, attrs, payload)
}

func (b *browser) at(rid int, attrs, payload string) string {
	return "<body xmlns='http://jabber.org/protocol/httpbind' rid='" + strconv.Itoa(rid) + "' sid='" + b.sid + "' " + attrs + ">" + payload + "</body>"
}

// say sends the next request and waits for the answer.
func (b *browser) say(attrs, payload string) reply {
	b.t.Helper()
	return b.post(b.client, b.next(attrs, payload))
}

// hold sends the next request and returns where its answer will be.
func (b *browser) hold(attrs, payload string) <-chan reply {
	return b.async(b.next(attrs, payload))
}

func (b *browser) async(body string) <-chan reply {
	ch := make(chan reply, 1)
	go func() { ch <- b.post(b.client, body) }()
	return ch
}

// get waits for an answer.
func (r *rig) get(ch <-chan reply) reply {
	r.t.Helper()
	limit := patience
	if r.direct != nil {
		limit = time.Hour // time costs nothing in a bubble
	}
	select {
	case out := <-ch:
		return out
	case <-time.After(limit):
		r.t.Fatal("no answer")
		return reply{}
	}
}

// until polls, with empty requests, until an element of that name comes, and returns it and the response.
func (b *browser) until(first reply, local string) (node, reply) {
	b.t.Helper()
	out := first
	for range 100 {
		if n, ok := out.child(local); ok {
			return n, out
		}
		if out.err != nil || out.attr("type") != "" || out.status != 200 {
			b.t.Fatalf("no <%s/>: %d %s %v", local, out.status, out.raw, out.err)
		}
		out = b.say("", "")
	}
	b.t.Fatalf("no <%s/>", local)
	return node{}, reply{}
}

func plain(user, password string) string {
	return "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" +
		base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password)) + "</auth>"
}

const bindRequest = "<iq xmlns='jabber:client' type='set' id='bind1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>browser</resource></bind></iq>"

const restartAttrs = "to='example.org' xmlns:xmpp='urn:xmpp:xbosh' xmpp:restart='true'"

// login creates a session and binds user/browser.
func (r *rig) login(user string) *browser {
	r.t.Helper()
	return r.loginWith(nil, user, defaultAttrs)
}

func (r *rig) loginWith(client *http.Client, user, attrs string) *browser {
	r.t.Helper()
	b, out := r.openWith(client, attrs)
	b.authenticate(user, out)
	return b
}

func (b *browser) authenticate(user string, out reply) {
	b.t.Helper()
	b.signIn(user, out)
	b.bind()
}

// signIn goes from the creation response to the features behind the restart.
func (b *browser) signIn(user string, out reply) {
	b.t.Helper()
	b.until(out, "features")
	b.until(b.say("", plain(user, "secret")), "success")
	b.until(b.say(restartAttrs, ""), "features")
}

// bind goes on after the restart.
func (b *browser) bind() {
	b.t.Helper()
	time.Sleep(time.Millisecond) // in a bubble everything would happen at the same moment, which never happens
	b.until(b.say("", bindRequest), "iq")
}

func message(to, body string) string {
	var text bytes.Buffer
	_ = xml.EscapeText(&text, []byte(body)) // a bytes.Buffer has no errors
	return "<message xmlns='jabber:client' to='" + to + "'><body>" + text.String() + "</body></message>"
}

// waitFor polls for something that no event tells.
func waitFor(t testing.TB, ok func() bool) {
	t.Helper()
	for late := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			t.Fatal("it never happened")
		}
	}
}

// session returns the session of a browser, nil if it is gone.
func (b *browser) session() *session { return b.h.registry.get(keyOf(b.sid)) }

// heldNow returns how many of the browser's requests wait.
func (b *browser) heldNow() int {
	s := b.session()
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting)
}

func newDialer(t testing.TB, domains ...string) *upstream.Dialer {
	t.Helper()
	d, err := upstream.NewDialer(upstream.Config{Domains: domains})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func limitsOf(elementBytes int) xmlframe.Limits {
	return xmlframe.Limits{ElementBytes: elementBytes}
}
