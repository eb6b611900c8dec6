package load

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
)

// Stub is an XMPP server that lets everybody in and routes messages as the bytes they came in. It does as little as it
// can, so that what stands in front of it shows.
type Stub struct {
	Domain string
	TLS    *tls.Config // direct TLS; nil for none

	// StreamManagement offers XEP-0198: stanzas are acknowledged, and their acknowledgement is asked for. It says that sessions
	// can be resumed, so that a gateway does all that it does for such a session, and refuses every resumption.
	StreamManagement bool

	users sync.Map // full JID -> *stubConn
	ids   atomic.Uint64
}

// Serve answers connections to ln until ctx ends.
func (s *Stub) Serve(ctx context.Context, ln net.Listener) error {
	if s.TLS != nil {
		ln = tls.NewListener(ln, s.TLS)
	}
	return serve(ctx, ln, func(c net.Conn) {
		sc := &stubConn{stub: s, conn: c}
		sc.run()
		s.users.CompareAndDelete(sc.jid, sc)
	})
}

// stubConn is one stream. Reading belongs to run; mu orders the writes.
type stubConn struct {
	stub *Stub
	conn net.Conn
	jid  string
	user string
	in   inbuf

	// owned by run: messages to one receiver that came together leave together
	to    *stubConn
	toJID []byte
	batch []byte
	count uint32 // stanzas that came since <enable/>

	mu      sync.Mutex
	managed bool
	asked   bool // <r/> is out
	more    bool // and something was sent behind it
}

func (c *stubConn) run() {
	c.in.buf = make([]byte, 512)
	for {
		if c.in.fill(c.conn, 4096) != nil {
			return
		}
		for {
			b := c.in.bytes()
			n, more := c.step(b)
			c.in.lo += n
			if !more {
				break
			}
		}
		c.flush()
	}
}

var (
	messageTag = []byte("<message")
	messageEnd = []byte("</message>")
)

// step takes one element off the front of b. It reports false when b holds no complete one.
func (c *stubConn) step(b []byte) (int, bool) {
	space := len(b) - len(bytes.TrimLeft(b, " \t\r\n"))
	b = b[space:]
	if bytes.HasPrefix(b, messageTag) {
		end := bytes.Index(b, messageEnd)
		if end < 0 {
			return space, false
		}
		end += len(messageEnd)
		c.count++
		c.route(b[:end])
		return space + end, true
	}
	end := bytes.IndexByte(b, '>')
	if end < 0 {
		return space, false
	}
	tag := b[:end+1]
	name, _, _ := bytes.Cut(tag[1:], []byte(" "))
	name = bytes.TrimRight(name, "/>")
	whole := end + 1
	switch string(name) {
	case "?xml", "stream:stream", "/stream:stream", "presence":
	default:
		if tag[len(tag)-2] == '/' {
			break
		}
		i := bytes.Index(b, []byte("</"+string(name)+">"))
		if i < 0 {
			return space, false
		}
		whole = i + len(name) + 3
	}
	c.flush()
	c.element(string(name), string(b[:whole]))
	return space + whole, true
}

const stubHeader = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='%d' from='%s' version='1.0'>"

func (c *stubConn) element(name, raw string) {
	switch name {
	case "stream:stream":
		feature := "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>"
		if c.user != "" {
			feature = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"
			if c.stub.StreamManagement {
				feature += "<sm xmlns='" + nsSM + "'/>"
			}
		}
		c.write(fmt.Appendf(nil, stubHeader+"<stream:features>"+feature+"</stream:features>", c.stub.ids.Add(1), c.stub.Domain))
	case "auth":
		c.user = fmt.Sprintf("user%d", c.stub.ids.Add(1))
		c.write([]byte("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"))
	case "presence":
		c.count++
	case "iq":
		c.count++
		id := attribute(raw, "id")
		if !strings.Contains(raw, "xmpp-bind") {
			c.write([]byte("<iq type='result' id='" + id + "'/>"))
			return
		}
		c.jid = c.user + "@" + c.stub.Domain + "/load"
		c.stub.users.Store(c.jid, c)
		c.write([]byte("<iq type='result' id='" + id + "'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>" + c.jid + "</jid></bind></iq>"))
	case "enable", "resume", "r", "a":
		c.manage(name)
	case "/stream:stream":
		c.write([]byte("</stream:stream>"))
		_ = c.conn.Close()
	}
}

const nsSM = "urn:xmpp:sm:3"

// manage answers an element of XEP-0198.
func (c *stubConn) manage(name string) {
	switch name {
	case "enable": // §3
		c.count = 0
		c.mu.Lock()
		c.managed = true
		c.mu.Unlock()
		c.write(fmt.Appendf(nil, "<enabled xmlns='"+nsSM+"' id='%d' resume='true' max='600'/>", c.stub.ids.Add(1)))
	case "resume": // §5
		c.write([]byte("<failed xmlns='" + nsSM + "'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>"))
	case "r": // §4
		c.write(fmt.Appendf(nil, "<a xmlns='"+nsSM+"' h='%d'/>", c.count))
	case "a":
		c.mu.Lock()
		defer c.mu.Unlock()
		c.asked = c.more
		if c.more {
			c.more = false
			_, _ = c.conn.Write(ackRequest)
		}
	}
}

var ackRequest = []byte("<r xmlns='" + nsSM + "'/>")

// deliver writes messages, and asks for their acknowledgement unless it has asked already.
func (c *stubConn) deliver(messages []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = c.conn.Write(messages) // its reader notices a connection that is gone
	switch {
	case !c.managed:
	case c.asked:
		c.more = true
	default:
		c.asked = true
		_, _ = c.conn.Write(ackRequest)
	}
}

var toAttribute = [][]byte{[]byte(" to='"), []byte(` to="`)}

func (c *stubConn) route(message []byte) {
	tag := message[:bytes.IndexByte(message, '>')]
	var to []byte
	for _, a := range toAttribute {
		if i := bytes.Index(tag, a); i >= 0 {
			to = tag[i+len(a):]
			to = to[:max(0, bytes.IndexByte(to, a[len(a)-1]))]
		}
	}
	if !bytes.Equal(to, c.toJID) {
		c.flush()
		c.toJID, c.to = append(c.toJID[:0], to...), nil
		if v, ok := c.stub.users.Load(string(to)); ok {
			c.to = v.(*stubConn)
		}
	}
	if c.to != nil {
		c.batch = append(c.batch, message...)
	}
}

func (c *stubConn) flush() {
	if len(c.batch) > 0 {
		c.to.deliver(c.batch)
		c.batch = c.batch[:0]
	}
}

func (c *stubConn) write(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = c.conn.Write(b) // its reader notices a connection that is gone
}
