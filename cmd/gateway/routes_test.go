package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"
)

// allRoutes are paths of both listeners.
var (
	publicRoutes = []string{"/", "/config.json", "/nothing", "/http-bind", "/http-bind/", "/xmpp-websocket", "/xmpp-websocket/", "/.well-known/nothing"}
	adminRoutes  = []string{"/metrics", "/healthz", "/readyz", "/status", "/debug/pprof/"}
)

// Only the discovery documents are open to every page, whatever origins says.
//
// Covers: DISC-008.
func TestOnlyDiscoveryIsOpenToAll(t *testing.T) {
	r := start(t, testSettings(t, "--origins=https://good.example"), nil)
	foreign := http.Header{"Origin": {"https://evil.example"}}
	urls := []string{}
	for _, path := range publicRoutes {
		urls = append(urls, r.public()+path)
	}
	for _, path := range adminRoutes {
		urls = append(urls, r.admin()+path)
	}
	for _, url := range urls {
		for _, method := range []string{"GET", "OPTIONS", "POST"} {
			if resp, _ := r.do(method, url, foreign); resp.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s %s allows %s", method, url, resp.Header.Get("Access-Control-Allow-Origin"))
			}
		}
	}
	for _, path := range []string{"/.well-known/host-meta", "/.well-known/host-meta.json"} {
		if resp, _ := r.do("GET", r.public()+path, foreign); resp.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s is not open", path)
		}
	}
}

func TestOperatorsEndpointsAreNotPublic(t *testing.T) {
	r := start(t, testSettings(t), nil)
	for _, path := range adminRoutes {
		if resp, _ := r.get(r.public() + path); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s answers browsers with %d", path, resp.StatusCode)
		}
		if resp, _ := r.get(r.admin() + path); resp.StatusCode != http.StatusOK {
			t.Errorf("%s answers the operator with %d", path, resp.StatusCode)
		}
	}
	if resp, _ := r.get(r.admin() + "/http-bind"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("the operator's listener serves browsers: %d", resp.StatusCode)
	}
}

// By default a browser from outside must have used TLS, to us or to a trusted proxy.
//
// Covers: BOSH-176, WS-006.
func TestBrowsersNeedTLSByDefault(t *testing.T) {
	const body = `<body xmlns='http://jabber.org/protocol/httpbind' rid='1' to='one.example' ver='1.11' wait='1' hold='1'/>`
	for name, c := range map[string]struct {
		args    []string
		header  http.Header
		refused bool
	}{
		"loopback":        {nil, nil, false},
		"outside":         {nil, http.Header{"X-Forwarded-For": {"192.0.2.1"}}, true},
		"outside by TLS":  {nil, http.Header{"X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Proto": {"https"}}, false},
		"plain if wanted": {[]string{"--require-tls=false"}, http.Header{"X-Forwarded-For": {"192.0.2.1"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, testSettings(t, append(c.args, "--trusted-proxies=127.0.0.1", "--public-url=https://gw.example/x/")...), nil)
			req, err := http.NewRequestWithContext(t.Context(), "POST", r.public()+"/http-bind", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range c.header {
				req.Header[k] = v
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			answer, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			// Nothing listens where the domain should be.
			want := "remote-connection-failed"
			if c.refused {
				want = "<uri>https://gw.example/x/http-bind</uri>"
			}
			if !strings.Contains(string(answer), want) {
				t.Errorf("BOSH: %d %s", resp.StatusCode, answer)
			}
			status := http.StatusSwitchingProtocols
			if c.refused {
				status = http.StatusForbidden
			}
			if got := r.handshake(c.header); got != status {
				t.Errorf("WebSocket: status %d, want %d", got, status)
			}
		})
	}
}

// handshake asks for a WebSocket and returns the answer's status.
func (r *rig) handshake(header http.Header) int {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), "GET", r.public()+"/xmpp-websocket", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header = http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Sec-Websocket-Protocol": {"xmpp"},
	}
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func TestRequireOrigin(t *testing.T) {
	for args, status := range map[string]int{"--require-origin=false": http.StatusSwitchingProtocols, "--require-origin": http.StatusForbidden} {
		if got := start(t, testSettings(t, args), nil).handshake(nil); got != status {
			t.Errorf("%s: status %d", args, got)
		}
	}
}

func TestStatusPage(t *testing.T) {
	r := start(t, testSettings(t), nil)
	resp, body := r.get(r.admin() + "/status")
	for _, want := range []string{"accepting sessions", "one.example", "Sessions by BOSH", version()} {
		if !strings.Contains(body, want) {
			t.Errorf("%q is missing", want)
		}
	}
	if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "script") {
		t.Errorf("policy %q", csp)
	}
	r.g.draining.Store(true)
	if _, body := r.get(r.admin() + "/status"); !strings.Contains(body, "draining") {
		t.Error("the page does not tell of the drain")
	}
}

func TestPageCanBeTurnedOff(t *testing.T) {
	r := start(t, testSettings(t, "--web.page=false"), nil)
	for _, path := range []string{"/", "/config.json"} {
		if resp, _ := r.get(r.public() + path); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	r = start(t, testSettings(t), nil)
	if resp, body := r.get(r.public() + "/config.json"); resp.StatusCode != http.StatusOK || !strings.Contains(body, `"one.example"`) {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

// dial opens a raw connection to the public listener.
func (r *rig) dial() net.Conn {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.all.public[0].Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		r.t.Fatal(err)
	}
	return conn
}

// A browser that is slow with its header, or with a body that nobody wants, is dropped in the configured time.
//
// Covers: BOSH-182, WS-009.
func TestSlowRequestsAreDropped(t *testing.T) {
	r := start(t, testSettings(t, "--origins=https://a.example"), func(g *gateway) {
		g.settings.Limit.HeaderTimeout, g.settings.Limit.BodyTimeout = 100*time.Millisecond, 100*time.Millisecond
	})
	for name, request := range map[string]string{
		"nothing":        "",
		"part of header": "GET /xmpp-websocket HTTP/1.1\r\nHost: gw",
		"no body":        "GET / HTTP/1.1\r\nHost: gw\r\nContent-Length: 1000\r\n\r\n",
		"part of a body": "POST /.well-known/host-meta HTTP/1.1\r\nHost: gw\r\nContent-Length: 1000\r\n\r\nx",
		"handshake":      "GET /xmpp-websocket HTTP/1.1\r\nHost: gw\r\nContent-Length: 1000\r\n\r\nx",
		"chunks":         "POST /xmpp-websocket HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nx",
		"wrong method":   "PUT /http-bind HTTP/1.1\r\nHost: gw\r\nContent-Length: 1000\r\n\r\nx",
		"other origin":   "POST /http-bind HTTP/1.1\r\nHost: gw\r\nOrigin: https://b.example\r\nContent-Length: 1000\r\n\r\nx",
		"preflight":      "OPTIONS /http-bind HTTP/1.1\r\nHost: gw\r\nContent-Length: 1000\r\n\r\nx",
	} {
		conn := r.dial()
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if _, err := io.Copy(io.Discard, conn); err != nil || time.Since(begin) > 5*time.Second {
			t.Errorf("%s: %v after %v", name, err, time.Since(begin))
		}
	}
}

// A browser that asks and asks and takes no answer is dropped too. It may not notice: its system goes on asking whether there
// is room in buffers that nobody empties.
func TestBrowsersThatTakeNoAnswerAreDropped(t *testing.T) {
	r := start(t, testSettings(t), func(g *gateway) { g.settings.Limit.BodyTimeout = 200 * time.Millisecond })
	if got := r.all.public[0].server.HTTP2.WriteByteTimeout; got != r.g.settings.Limit.BodyTimeout {
		t.Errorf("HTTP/2 has %v", got)
	}
	var asking, stuck sync.WaitGroup
	over := make(chan struct{})
	defer asking.Wait()
	defer close(over)
	for _, request := range []string{
		"GET / HTTP/1.1\r\nHost: gw\r\n\r\n",
		"GET /nothing HTTP/1.1\r\nHost: gw\r\n\r\n",
		"GET /.well-known/host-meta HTTP/1.1\r\nHost: one.example\r\n\r\n",
		"OPTIONS /http-bind HTTP/1.1\r\nHost: gw\r\nOrigin: https://a.example\r\n\r\n",
		"GET /xmpp-websocket HTTP/1.1\r\nHost: gw\r\n\r\n",
		"GET /xmpp-websocket HTTP/1.1\r\nHost: gw\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: xmpp\r\nSec-WebSocket-Key: x\r\n\r\n",
	} {
		conn := r.dial()
		stuck.Add(1)
		asking.Go(func() { ask(conn, strings.Repeat(request, 20), sync.OnceFunc(stuck.Done), over) })
	}
	stuck.Wait()
	for late := time.Now().Add(time.Minute); serving(t) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("%d connections are still served", serving(t))
		}
	}
}

// ask asks until the connection is gone or the test is over, and says when there is no room for more for the first time.
func ask(conn net.Conn, requests string, stuck func(), over <-chan struct{}) {
	_ = conn.(*net.TCPConn).SetReadBuffer(4096) // only for the sake of speed
	for {
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		_, err := io.WriteString(conn, requests)
		if err == nil {
			continue
		}
		stuck()
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		select {
		case <-over:
			return
		default:
		}
	}
}

// serving returns how many connections of browsers net/http serves in this process.
func serving(t *testing.T) int {
	t.Helper()
	var all bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&all, 2); err != nil {
		t.Fatal(err)
	}
	return strings.Count(all.String(), "net/http.(*conn).serve(")
}

// The time for the answer ends with it: the next request on the connection has its own.
func TestTimeForAnswersEndsWithThem(t *testing.T) {
	const limit = 500 * time.Millisecond
	r := start(t, testSettings(t), func(g *gateway) { g.settings.Limit.BodyTimeout = limit })
	conn := r.dial()
	answers := bufio.NewReader(conn)
	const gets = "GET /nothing HTTP/1.1\r\nHost: gw\r\n\r\nGET /.well-known/host-meta HTTP/1.1\r\nHost: one.example\r\n\r\n" +
		"PUT / HTTP/1.1\r\nHost: gw\r\n\r\nPUT /.well-known/host-meta HTTP/1.1\r\nHost: gw\r\n\r\nGET /.well-known/host-meta HTTP/1.1\r\nHost: gw\r\n\r\n"
	for range 2 {
		if _, err := io.WriteString(conn, "OPTIONS /http-bind HTTP/1.1\r\nHost: gw\r\nOrigin: https://a.example\r\n\r\n"+gets); err != nil {
			t.Fatal(err)
		}
		for range 6 {
			resp, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatal(err)
			}
			if resp.ContentLength < 0 {
				t.Errorf("%s without a length", resp.Status)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		time.Sleep(limit + 100*time.Millisecond) // what is tested is that nothing happens in this time
	}
}

func TestHeaderSizeIsBounded(t *testing.T) {
	r := start(t, testSettings(t), nil)
	conn := r.dial()
	go func() { // ends with the connection
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: gw\r\nCookie: "+strings.Repeat("x", 2*headerBytes))
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// h2c answers HTTP/2 without TLS only if it is wanted.
func TestUnencryptedHTTP2(t *testing.T) {
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	for _, wanted := range []bool{true, false} {
		s := testSettings(t)
		s.H2C = wanted
		r := start(t, s, nil)
		req, err := http.NewRequestWithContext(context.Background(), "GET", r.public()+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(req)
		if err == nil {
			resp.Body.Close()
		}
		if got := err == nil && resp.ProtoMajor == 2; got != wanted {
			t.Errorf("wanted %v: %v %v", wanted, resp, err)
		}
		transport.CloseIdleConnections()
	}
}
