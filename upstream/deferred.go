package upstream

import (
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"time"

	"stanzagate/internal/xmlframe"
)

// Where tokens are offered only to those who name themselves in the header, the first stream of a session serves for
// nothing but to show its mechanisms: the login is made on a second one. Once that is known of a domain, the first stream
// is not opened at all: what the server showed to somebody else a moment ago is shown again (failover design §4.1).

// greetings is what a domain's server showed last to somebody who did not name itself. Safe for concurrent use.
type greetings struct {
	mu   sync.Mutex
	last shown
}

// shown is one greeting. Immutable.
type shown struct {
	at         time.Time
	lang       string // asked for
	header     Header
	scope      *xmlframe.Scope
	features   []byte // all declarations its own
	mechanisms []string
	target     target
	tls        *tls.ConnectionState
}

// greetingLife bounds how old a greeting may be that is shown again.
const greetingLife = time.Minute

// note remembers a greeting, if a login there has to go elsewhere anyway.
func (g *greetings) note(o Opening, l *link, features xmlframe.Element) {
	f := readFeatures(features)
	if g == nil || l.greeting == nil || l.from != "" || l.offer.sasl2 || f.register || f.legacy {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last = shown{
		at: time.Now(), lang: o.Lang, header: l.header, scope: l.scope, features: features.AppendTo(nil, nil),
		mechanisms: l.mechanisms, target: l.target, tls: l.tls,
	}
}

// again returns a connection that is none yet, and the features to show; nil if the server has to be asked.
func (g *greetings) again(o Opening) (*link, *xmlframe.Element) {
	if g == nil {
		return nil, nil
	}
	g.mu.Lock()
	x := g.last
	g.mu.Unlock()
	if x.at.IsZero() || time.Since(x.at) > greetingLife || x.lang != o.Lang {
		return nil, nil
	}
	el, err := xmlframe.Parse(x.features, xmlframe.Limits{})
	if err != nil {
		return nil, nil
	}
	x.header.ID = rand.Text() // UP-108
	return &link{
		conn: &pending{gone: make(chan struct{})}, addr: x.target.addr(), target: x.target, tls: x.tls,
		header: x.header, scope: x.scope, greeting: &greeting{mechanisms: x.mechanisms},
	}, &el
}

// defers returns the stream of a browser that is yet to say who it is, without a connection; nil if it needs one.
func (d *Dialer) defers(dom *Domain, o Opening) *Stream {
	if !o.Managed || o.Owner == nil || o.Owner.Agent == nil || o.From != "" || d.cfg.Failover == nil {
		return nil
	}
	if fast, known := d.offers.fast(dom.Name); !known || len(fast) == 0 {
		return nil
	}
	l, features := dom.greetings.again(o)
	if l == nil {
		return nil
	}
	l.rd = newReader(l.conn, d.cfg.Limits, true)
	if d.cfg.Metrics != nil {
		d.cfg.Metrics.Connected(0)
	}
	s := newStream(d, dom, o, l, features)
	s.m.login.spoiled = true // the first attempt finds a connection
	return s
}

// pending is a connection to nobody: reads wait until it is closed, writes fail.
type pending struct {
	net.Conn // nil: no other method is called
	once     sync.Once
	gone     chan struct{}
}

func (p *pending) Read([]byte) (int, error) {
	<-p.gone
	return 0, net.ErrClosed
}

func (p *pending) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func (p *pending) Close() error {
	p.once.Do(func() { close(p.gone) })
	return nil
}

func (p *pending) SetDeadline(time.Time) error      { return nil }
func (p *pending) SetReadDeadline(time.Time) error  { return nil }
func (p *pending) SetWriteDeadline(time.Time) error { return nil }
