package main

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"slices"
	"syscall"
	"time"

	"github.com/go-chi/chi/v5"

	"stanzagate/web"
)

const (
	// headerBytes bounds a request's header: cookies of other applications on the host, and script syntax in the query.
	headerBytes = 64 << 10
	// idleTimeout is longer than what proxies keep a connection for, so that it is they who close.
	idleTimeout = 3 * time.Minute
)

// listener is one address that is listened on, with its server.
type listener struct {
	net.Listener
	server *http.Server
	secure bool // TLS
}

// serve returns when the server is shut down; any other end is an error.
func (l *listener) serve() error {
	var err error
	if l.secure {
		err = l.server.ServeTLS(l.Listener, "", "")
	} else {
		err = l.server.Serve(l.Listener)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// listeners are all of a gateway's.
type listeners struct {
	public  []*listener  // for browsers
	admin   *listener    // nil: none
	replica net.Listener // for other replicas; nil: none
}

func (l *listeners) all() []*listener {
	if l.admin == nil {
		return l.public
	}
	return append(slices.Clone(l.public), l.admin)
}

// listen opens all addresses.
func (g *gateway) listen() (_ *listeners, err error) {
	s, all := g.settings, &listeners{}
	defer func() {
		if err != nil {
			for _, l := range all.all() {
				l.Close()
			}
		}
	}()
	handler := g.routes()
	if s.Listen != "" {
		l, err := open("listen", s.Listen, g.newServer(handler))
		if err != nil {
			return nil, err
		}
		l.server.Protocols.SetUnencryptedHTTP2(s.H2C)
		all.public = append(all.public, l)
	}
	if s.TLS.Listen != "" {
		l, err := open("tls.listen", s.TLS.Listen, g.newServer(handler))
		if err != nil {
			return nil, err
		}
		l.secure = true
		l.server.Protocols.SetHTTP2(true)
		l.server.TLSConfig = &tls.Config{
			MinVersion: tls.VersionTLS12, GetCertificate: g.cert.get,
			NextProtos: []string{"h2", "http/1.1"}, // see parked.Lot.Listener
		}
		all.public = append(all.public, l)
	}
	if s.Admin != "" {
		if all.admin, err = open("admin.listen", s.Admin, g.newServer(g.adminRoutes())); err != nil {
			return nil, err
		}
	}
	if all.replica, err = g.replicas.listen(s); err != nil {
		return nil, err
	}
	return all, nil
}

func open(key, address string, server *http.Server) (*listener, error) {
	l, err := listenTCP(key, address)
	if err != nil {
		return nil, err
	}
	return &listener{Listener: l, server: server}, nil
}

func listenTCP(key, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		remedy := "choose another address"
		if errors.Is(err, syscall.EACCES) {
			remedy = "ports below 1024 need the capability CAP_NET_BIND_SERVICE"
		}
		var cause *net.OpError
		if errors.As(err, &cause) {
			err = cause.Err
		}
		return nil, &settingError{key: key, value: address, want: "cannot listen: " + err.Error() + "; " + remedy}
	}
	return l, nil
}

// newServer has no time-out for bodies and responses, because a long poll has both: the handlers set their own.
func (g *gateway) newServer(h http.Handler) *http.Server {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler: h, Protocols: protocols, ErrorLog: newServerLog(g.log),
		ReadHeaderTimeout: g.settings.Limit.HeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: headerBytes,
		// Streams have deadlines; the connection under them has this one.
		HTTP2: &http.HTTP2Config{WriteByteTimeout: g.settings.Limit.BodyTimeout},
	}
}

// routes is what browsers reach. The two endpoints come first and unwrapped: they are all of the load, and WebSocket needs
// the server's own ResponseWriter to take the connection over.
func (g *gateway) routes() http.Handler {
	rest := chi.NewRouter()
	rest.Use(g.boundAnswer)
	rest.Handle(web.HostMetaPath, g.hostMeta)
	rest.Handle(web.HostMetaJSONPath, g.hostMeta)
	rest.NotFound(web.NotFound)
	if g.settings.Page {
		rest.NotFound(func(w http.ResponseWriter, r *http.Request) { (*g.page.Load()).ServeHTTP(w, r) })
	}
	bosh, websocket := g.settings.PathBOSH, g.settings.PathWebSocket
	preflight := g.boundAnswer(g.bosh)
	anyOrigin := slices.Contains(g.settings.Origins, "*")
	boshSlash, websocketSlash := bosh+"/", websocket+"/" // as other servers allow it
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case bosh, boshSlash:
			// It gives a body that it reads, and an answer that has something to say, a time of its own.
			if r.Method != http.MethodPost || !anyOrigin {
				g.boundBody(w, r)
			}
			if r.Method == http.MethodOptions {
				preflight.ServeHTTP(w, r)
				return
			}
			g.bosh.ServeHTTP(w, r)
		case websocket, websocketSlash:
			g.boundBody(w, r) // a connection that is taken over loses its deadlines
			g.websocket.ServeHTTP(w, r)
		default:
			g.boundBody(w, r)
			rest.ServeHTTP(w, r)
		}
	})
}

// boundBody limits how long a request may take to send a body that nobody reads: net/http waits for some of it.
func (g *gateway) boundBody(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		// An error means that this connection knows no deadlines; then there is none to keep.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(g.settings.Limit.BodyTimeout))
	}
}

// boundAnswer limits how long a browser may take to receive an answer, by as much as it has for the body of a request. The
// endpoints do so themselves.
func (g *gateway) boundAnswer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		_ = control.SetWriteDeadline(time.Now().Add(g.settings.Limit.BodyTimeout))
		next.ServeHTTP(w, r)
		if r.ProtoMajor < 2 && control.Flush() == nil {
			// net/http keeps a deadline of HTTP/1 for the next request on the connection, whoever serves it. So the answer
			// has to be out before the deadline is taken away.
			_ = control.SetWriteDeadline(time.Time{})
		}
	})
}
