//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// boshTransport speaks XEP-0124 and XEP-0206 with hold 1. It sends its requests in the order of their rids, at most two
// at a time, keeps one at the other side for it to answer, and reads the answers in rid order.
// Every request has its own goroutine, which ends with the answer; drop cancels them all.
type boshTransport struct {
	url    string
	wait   int           // seconds, as asked for
	acks   bool          // announce and send acknowledgements of responses (XEP-0124 §9.2)
	repeat time.Duration // how long a request that got no answer is repeated (XEP-0124 §14.3); 0: it ends the session
	in     *inbox
	http   *http.Client
	ctx    context.Context
	cancel context.CancelFunc

	mu       sync.Mutex
	domain   string
	sid      string
	rid      uint64 // next to use
	read     uint64 // next answer to hand over
	inFlight int
	queue    []boshRequest
	answers  map[uint64]*node
	over     bool

	repeats atomic.Int64 // requests that were sent again
}

// boshRequest is what one request carries: attributes of the body, stanzas.
type boshRequest struct{ attrs, payload string }

func newBOSH(url string, in *inbox) *boshTransport {
	b := &boshTransport{url: url, wait: 10, in: in, http: &http.Client{Transport: &http.Transport{MaxConnsPerHost: 4}}}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.answers = make(map[uint64]*node)
	return b
}

func (b *boshTransport) open(ctx context.Context, domain string) error {
	b.mu.Lock()
	b.domain, b.rid = domain, rand.Uint64N(1<<40)+1
	b.read = b.rid + 1
	rid := b.rid
	b.rid++
	b.mu.Unlock()
	ack := ""
	if b.acks {
		ack = ` ack="1"`
	}
	n, err := b.exchangeOnce(ctx, b.body(rid, boshRequest{attrs: fmt.Sprintf(
		`to="%s" wait="%d" hold="1" ver="1.6" xml:lang="en" content="text/xml; charset=utf-8" xmpp:version="1.0" xmlns:xmpp="%s"%s`,
		escape(domain), b.wait, nsXBOSH, ack)}))
	if err != nil {
		return err
	}
	if n.attr("type") == "terminate" {
		return &errTerminated{condition: n.attr("condition"), body: n}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sid = n.attr("sid"); b.sid == "" {
		return fmt.Errorf("no sid in %v", n)
	}
	b.deliverLocked(n)
	b.pumpLocked()
	return nil
}

func (b *boshTransport) restart(context.Context) error {
	return b.enqueue(boshRequest{attrs: fmt.Sprintf(`to="%s" xml:lang="en" xmpp:restart="true" xmlns:xmpp="%s"`, escape(b.domain), nsXBOSH)})
}

func (b *boshTransport) send(_ context.Context, payload string) error {
	return b.enqueue(boshRequest{payload: payload})
}

func (b *boshTransport) end(ctx context.Context) error {
	if err := b.enqueue(boshRequest{attrs: `type="terminate"`}); err != nil {
		return err
	}
	return b.in.ended(ctx)
}

func (b *boshTransport) drop() {
	b.mu.Lock()
	b.over = true
	b.mu.Unlock()
	b.cancel()
	b.http.CloseIdleConnections()
}

func (b *boshTransport) enqueue(r boshRequest) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return fmt.Errorf("bosh: session over")
	}
	b.queue = append(b.queue, r)
	b.pumpLocked()
	return nil
}

// ahead is how far a request may be ahead of the oldest without an answer. The other side keeps answers for two rids for
// each request that may be in flight; who goes on without bounds loses one that got lost (XEP-0124 §14.3).
const ahead = 4

// pumpLocked sends what may be sent. Stanzas that wait together share a request; requests with attributes stand alone.
func (b *boshTransport) pumpLocked() {
	for !b.over && b.sid != "" && b.rid < b.read+ahead && (len(b.queue) > 0 && b.inFlight < 2 || b.inFlight == 0) {
		var r boshRequest
		if len(b.queue) > 0 {
			r, b.queue = b.queue[0], b.queue[1:]
			for r.attrs == "" && len(b.queue) > 0 && b.queue[0].attrs == "" && len(r.payload) < 16<<10 {
				r.payload += b.queue[0].payload
				b.queue = b.queue[1:]
			}
		}
		rid := b.rid
		b.rid++
		b.inFlight++
		go b.exchange(rid, b.body(rid, r))
	}
}

func (b *boshTransport) exchange(rid uint64, body string) {
	n, err := b.persist(body)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inFlight--
	if err != nil {
		b.over = true
		b.in.end(err)
		return
	}
	// XEP-0124 §14.2: answers are processed in the order of their requests.
	b.answers[rid] = n
	for b.answers[b.read] != nil {
		b.deliverLocked(b.answers[b.read])
		delete(b.answers, b.read)
		b.read++
	}
	b.pumpLocked()
}

// persist sends a request until it is answered. XEP-0124 §14.3: a repeated request is the same, byte for byte.
func (b *boshTransport) persist(body string) (*node, error) {
	const pause = 50 * time.Millisecond
	giveUp := time.Now().Add(b.repeat)
	for {
		ctx, cancel := context.WithTimeout(b.ctx, time.Duration(b.wait)*time.Second*11/10+2*time.Second)
		n, err := b.exchangeOnce(ctx, body)
		cancel()
		var refused *statusError
		switch {
		case err == nil, b.ctx.Err() != nil, time.Now().After(giveUp):
			return n, err
		case errors.As(err, &refused) && refused.code < 500:
			return nil, err // no client comes back from a 4xx
		}
		b.repeats.Add(1)
		select {
		case <-b.ctx.Done():
			return nil, err
		case <-time.After(pause):
		}
	}
}

func (b *boshTransport) deliverLocked(n *node) {
	for _, k := range n.Kids {
		b.in.put(k)
	}
	if n.attr("type") == "terminate" {
		b.over = true
		b.in.end(&errTerminated{condition: n.attr("condition"), body: n})
	}
}

// body makes a request.
func (b *boshTransport) body(rid uint64, r boshRequest) string {
	var body strings.Builder
	fmt.Fprintf(&body, `<body xmlns="%s" rid="%d"`, nsBOSH, rid)
	if b.sid != "" {
		fmt.Fprintf(&body, ` sid="%s"`, escape(b.sid))
		// XEP-0124 §9.2: left out when everything before this request has been received.
		if b.acks && b.read < rid {
			fmt.Fprintf(&body, ` ack="%d"`, b.read-1)
		}
	}
	if r.attrs != "" {
		body.WriteString(" " + r.attrs)
	}
	body.WriteString(">" + r.payload + "</body>")
	return body.String()
}

// statusError is an HTTP status that is not 200.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return fmt.Sprintf("bosh: HTTP %d: %s", e.code, e.text) }

// exchangeOnce posts one body and returns that of its answer.
func (b *boshTransport) exchangeOnce(ctx context.Context, body string) (*node, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "text/xml; charset=utf-8")
	resp, err := b.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, &statusError{resp.StatusCode, string(bytes.TrimSpace(data))}
	}
	n, err := parseNode(data)
	if err == nil && n.XMLName != (xml.Name{Space: nsBOSH, Local: "body"}) {
		err = fmt.Errorf("bosh: not a body: %q", data)
	}
	return n, err
}
