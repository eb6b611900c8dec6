package bosh

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmpptest"
	"stanzagate/upstream"
)

// children counts the first-level elements of what another parser takes for a <body/>.
func children(b []byte) (int, error) {
	d := xml.NewDecoder(bytes.NewReader(b))
	depth, n := 0, 0
	for {
		tok, err := d.Token()
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		switch tok.(type) {
		case xml.StartElement:
			if depth++; depth == 2 {
				n++
			}
		case xml.EndElement:
			depth--
		}
	}
}

// FuzzBody: whatever comes, decode does not panic, takes only what another parser takes too, and sees the same elements;
// what it passes on stands on its own.
//
// Covers: BOSH-022, BOSH-023.
func FuzzBody(f *testing.F) {
	for _, s := range []string{
		"<body rid='1' sid='x' xmlns='http://jabber.org/protocol/httpbind'/>",
		"<?xml version='1.0'?><b:body rid='1' xmlns:b='http://jabber.org/protocol/httpbind' xmlns:x='urn:x'><x:a b='&lt;'/><message><body>]]&gt;</body></message></b:body>",
		"<body rid='9007199254740991' to='a' wait='60' hold='1' ver='1.6' xml:lang='en' xmlns:xmpp='urn:xmpp:xbosh' xmpp:version='1.0' content='text/xml' ack='1' pause='3' xmlns='http://jabber.org/protocol/httpbind'>\n<iq/> </body>\n",
		"<body rid='1' xmlns='http://jabber.org/protocol/httpbind'><a><![CDATA[<]]></a><!-- --></body>",
		"\uFEFF<body rid='&#49;' xmlns='http://jabber.org/protocol/httpbind'></body >",
	} {
		f.Add([]byte(s))
	}
	d := newDecoder(testLimits())
	f.Fuzz(func(t *testing.T, in []byte) {
		r := newRequest()
		err := d.decode(in, r)
		if err != nil {
			if c := conditionOf(err); c != badRequest && c != policyViolation {
				t.Errorf("condition %q", c)
			}
			return
		}
		n, err := children(bytes.TrimPrefix(in, []byte("\uFEFF")))
		if err != nil {
			t.Fatalf("encoding/xml: %v", err)
		}
		if n != len(r.payload) || r.rid == 0 || r.rid > maxRID {
			t.Errorf("%d elements, encoding/xml sees %d; rid %d", len(r.payload), n, r.rid)
		}
		for _, p := range r.payload {
			el := p.frame.AppendTo(nil, upstream.ClientScope(""))
			wrapped := append([]byte("<stream:stream xmlns='jabber:client' xmlns:stream='"+ns.Stream+"'>"), el...)
			if n, err := children(append(wrapped, "</stream:stream>"...)); n != 1 || err != nil {
				t.Errorf("%s: %d elements, %v", el, n, err)
			}
		}
	})
}

var numbered = regexp.MustCompile(`<body>n(\d+)</body>`)

// FuzzHandler makes requests, and has the server do things, as the input says. Whatever it is: every request is answered
// in time with something that makes sense, what reaches the server comes once and in order, and at the end nothing is left
// (or synctest would complain about goroutines that wait for ever).
//
// Covers: BOSH-022, BOSH-071, BOSH-140, BOSH-168.
func FuzzHandler(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3})
	f.Add([]byte("\x01\x01\x05\x02\x06\x07\x01\x03\x0a\x04\x08"))
	f.Add([]byte{1, 2, 1, 11, 12, 3, 3, 5, 5, 9, 1, 14, 13, 1})
	f.Add([]byte{4, 4, 1, 10, 1, 1, 6, 1, 7, 8, 15})
	f.Fuzz(func(t *testing.T, ops []byte) {
		if len(ops) > 60 {
			return
		}
		synctest.Test(t, func(t *testing.T) { runOps(t, ops) })
	})
}

// fuzzer is a run of FuzzHandler.
type fuzzer struct {
	*browser
	server  *xmpptest.Conn
	sent    int
	earlier []string // bodies
	wg      sync.WaitGroup
}

func runOps(t *testing.T, ops []byte) {
	r := newBubble(t, xmpptest.Options{}, Config{ScriptSyntax: true, Keys: true})
	z := &fuzzer{browser: r.login("alice"), server: r.xmpp.Session("alice@example.org")}
	for i := 0; i < len(ops); i++ {
		z.step(ops[i])
		synctest.Wait()
	}
	z.wg.Wait() // every request gets its answer, or synctest finds that this never ends
	last := 0
	for _, m := range numbered.FindAllStringSubmatch(z.server.Received(), -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil || n <= last {
			t.Errorf("message %s after %d", m[1], last)
		}
		last = n
	}
}

func (z *fuzzer) step(op byte) {
	switch op % 16 {
	case 0:
		z.fire(z.next("", ""))
	case 1:
		z.sent++
		z.fire(z.next("", message("x@example.org", "n"+strconv.Itoa(z.sent))))
	case 2: // repeat
		if n := len(z.earlier); n > 0 {
			z.fire(z.earlier[n-1-int(op>>4)%n])
		}
	case 3: // a gap that the next request closes
		z.rid++
		late := z.at(z.rid, "", "")
		z.fire(z.next("", ""))
		z.fire(late)
	case 4:
		z.fire(z.next("pause='"+strconv.Itoa(int(op>>4)*30)+"'", ""))
	case 5:
		z.server.Send("<message from='bob@example.org'><body>down</body></message>")
	case 6:
		time.Sleep(time.Duration(op>>4) * 2 * time.Second)
	case 7: // garbage in a body
		z.fire(z.next("", "<a"+strings.Repeat("<b>", int(op>>4))))
	case 8:
		z.fire(z.next("type='terminate'", "<presence xmlns='jabber:client' type='unavailable'/>"))
	case 9: // without a body
		z.fire(string(ops16(op)))
	case 10:
		z.fire(z.next("ack='"+strconv.Itoa(z.rid-int(op>>4)-1)+"'", ""))
	case 11:
		z.fire(z.next(restartAttrs, ""))
	case 12:
		z.fire(z.at(z.rid+int(op>>4), "", ""))
	case 13:
		z.server.Cut()
	case 14:
		z.server.StreamError("conflict")
	case 15:
		z.fire(z.next("", "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"))
	}
}

func ops16(op byte) []byte { return bytes.Repeat([]byte{'<', op, '/'}, int(op>>4)) }

// fire sends a request and looks at its answer when that comes.
func (z *fuzzer) fire(body string) {
	z.earlier = append(z.earlier, body)
	began := time.Now()
	z.wg.Go(func() {
		out := z.post(nil, body)
		if err := sensible(out); err != nil {
			z.t.Errorf("%v to %s", err, body)
		}
		if took := time.Since(began); took > z.h.cfg.Wait+stuckWait {
			z.t.Errorf("answered after %v: %s", took, body)
		}
	})
}

func sensible(out reply) error {
	switch {
	case out.err != nil:
		return out.err
	case out.status == 503:
		return nil
	case out.status != 200:
		return fmt.Errorf("status %d", out.status)
	case out.XMLName.Local != "body":
		return fmt.Errorf("answer %q", out.raw)
	}
	return nil
}
