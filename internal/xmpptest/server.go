package xmpptest

import (
	"crypto/rand"
	"crypto/tls"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Patience is how long any wait of this package lasts before the test fails.
const Patience = 10 * time.Second

// Options describe a Server. The zero value is a plaintext server of example.org with the default script.
type Options struct {
	Domain     string            // "" means example.org
	TLS        *tls.Config       // offer STARTTLS, or speak TLS at once if Direct
	Direct     bool              // TLS from the first byte (XEP-0368)
	Optional   bool              // offer SASL beside STARTTLS before the connection is encrypted
	Proxy      bool              // expect a PROXY header first; see Conn.Proxy
	Mechanisms []string          // nil means SCRAM-SHA-1, PLAIN, ANONYMOUS
	PreAuth    string            // further features before authentication, raw XML
	PostAuth   string            // further features after authentication, raw XML
	Resumable  bool              // offer XEP-0198 and grant resumption
	Alias      map[string]string // name that somebody signs in by -> user
	SASL2      *SASL2            // offer SASL2 beside classic SASL; nil for not
	Handler    func(*Conn)       // runs per connection in place of the default script; the connection closes when it returns
	Location   string            // of <enabled/>: where to resume
	Manual     bool              // no script: the test takes connections with Next and owns them

	ResumeSpelling   string // of the boolean in <enabled/>; "" means true
	ConflictOnResume bool   // a replaced connection gets a stream error, not only an end
}

// Server is a listening server. It ends with the test.
type Server struct {
	Addr string // host:port
	Port string

	tb    testing.TB
	opt   Options
	ln    net.Listener
	conns chan *Conn     // every accepted connection, in order; 4096 so that accepting never blocks
	wg    sync.WaitGroup // accept

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced whenever bound or scripts changes
	scripts  int           // running; not a WaitGroup, as connections may come in while a test waits
	bound    map[string]*Conn
	open     map[*Conn]bool
	accepted int
	closed   bool
	parked   []int // file descriptors
	managed  map[string]*session
	tokens   map[string]stored // by user, NUL, user-agent id
	fault    Faults
	cert     *tls.Config // in place of Options.TLS; nil for that
}

// Start starts a Server on a free loopback port.
func Start(tb testing.TB, o Options) *Server {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("xmpptest: %v", err)
	}
	s := newServer(tb, o)
	s.ln = ln
	s.Addr = ln.Addr().String()
	_, s.Port, _ = net.SplitHostPort(s.Addr)
	s.wg.Go(s.accept)
	return s
}

// New returns a Server without a listener: connections come from Pipe only, so that it works inside a synctest bubble.
func New(tb testing.TB, o Options) *Server { return newServer(tb, o) }

func newServer(tb testing.TB, o Options) *Server {
	if o.Domain == "" {
		o.Domain = "example.org"
	}
	if o.Mechanisms == nil {
		o.Mechanisms = []string{"SCRAM-SHA-1", "PLAIN", "ANONYMOUS"}
	}
	s := &Server{
		tb: tb, opt: o, conns: make(chan *Conn, 4096), changed: make(chan struct{}),
		bound: map[string]*Conn{}, open: map[*Conn]bool{}, managed: map[string]*session{}, tokens: map[string]stored{},
	}
	if o.TLS != nil {
		// Connections clone the configuration; with keys of its own each clone would refuse the others' tickets.
		s.opt.TLS = o.TLS.Clone()
		var key [32]byte
		_, _ = rand.Read(key[:])
		s.opt.TLS.SetSessionTicketKeys([][32]byte{key})
	}
	tb.Cleanup(s.Stop)
	return s
}

// Setting is the gateway's `domain` setting that leads here: plain TCP for a server without TLS, else required TLS with
// the certificates of caFile trusted ("" for none).
func (s *Server) Setting(caFile string) string {
	scheme, query := "xmpp", ""
	if s.opt.Direct {
		scheme = "xmpps"
	}
	switch {
	case s.opt.TLS == nil:
		query = "?tls=none"
	case caFile != "":
		query = "?ca=" + caFile
	}
	return s.opt.Domain + "=" + scheme + "://" + s.Addr + query
}

// Stop ends the listener and every connection and waits for the scripts. The test's end calls it.
func (s *Server) Stop() {
	s.mu.Lock()
	s.closed = true
	open := make([]*Conn, 0, len(s.open))
	for c := range s.open {
		open = append(open, c)
	}
	s.mu.Unlock()
	if s.ln != nil {
		_ = s.ln.Close()
	}
	for _, c := range open {
		c.Cut()
	}
	s.wg.Wait()
	s.idle(nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, fd := range s.parked {
		_ = syscall.Close(fd)
	}
	s.parked = nil
}

// SetCertificate makes new connections show another certificate.
func (s *Server) SetCertificate(cfg *tls.Config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cert = cfg
}

func (s *Server) tls() *tls.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cert != nil {
		return s.cert.Clone()
	}
	return s.opt.TLS.Clone()
}

// Wait waits until every script that was started has returned. Tests call it when a script still has to see their end.
func (s *Server) Wait() {
	s.tb.Helper()
	if !s.idle(time.After(Patience)) {
		s.tb.Fatalf("xmpptest: a script does not end")
	}
}

// idle waits until no script runs, or until late.
func (s *Server) idle(late <-chan time.Time) bool {
	for {
		s.mu.Lock()
		running, changed := s.scripts, s.changed
		s.mu.Unlock()
		if running == 0 {
			return true
		}
		select {
		case <-changed:
		case <-late:
			return false
		}
	}
}

func (s *Server) keep(fd int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parked = append(s.parked, fd)
}

// Pipe connects without a network (net.Pipe) and returns the client's end. Writes on it are synchronous.
func (s *Server) Pipe() net.Conn {
	client, server := net.Pipe()
	s.serve(server)
	return client
}

// Accepted returns how many connections came in so far.
func (s *Server) Accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// Next returns the next accepted connection that Next has not returned yet, waiting for it.
func (s *Server) Next() *Conn {
	s.tb.Helper()
	select {
	case c := <-s.conns:
		return c
	case <-time.After(Patience):
		s.tb.Fatalf("xmpptest: no connection")
		return nil
	}
}

// Session waits until a full JID is bound (or any resource of a bare one) and returns its connection.
func (s *Server) Session(jid string) *Conn {
	s.tb.Helper()
	late := time.After(Patience)
	for {
		s.mu.Lock()
		changed := s.changed
		for full, c := range s.bound {
			if full == jid || strings.HasPrefix(full, jid+"/") {
				s.mu.Unlock()
				return c
			}
		}
		s.mu.Unlock()
		select {
		case <-changed:
		case <-late:
			s.tb.Fatalf("xmpptest: %s never bound", jid)
			return nil
		}
	}
}

func (s *Server) accept() {
	for {
		nc, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.serve(nc)
	}
}

func (s *Server) serve(nc net.Conn) {
	c := newConn(s, nc)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		_ = nc.Close()
		return
	}
	s.open[c] = true
	s.accepted++
	s.conns <- c
	if s.opt.Manual {
		s.mu.Unlock()
		return
	}
	s.scripts++
	s.mu.Unlock()
	go func() {
		defer s.scriptEnded()
		defer s.forget(c)
		defer c.Cut()
		if s.opt.Handler != nil {
			s.opt.Handler(c)
			return
		}
		c.script()
	}()
}

func (s *Server) scriptEnded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scripts--
	s.notifyLocked()
}

func (s *Server) forget(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
	if s.bound[c.JID()] == c {
		delete(s.bound, c.JID())
		s.notifyLocked()
	}
}

func (s *Server) bind(c *Conn, full string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bound[full] = c
	s.notifyLocked()
}

func (s *Server) notifyLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}
