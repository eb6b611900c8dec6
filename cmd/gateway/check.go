package main

import (
	"fmt"
	"net"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"stanzagate/upstream"
)

// smallestStanza is what RFC 6120 §13.12 wants every server to accept.
const smallestStanza = 10000

// check finds settings whose values are legal for their kind but not for their meaning. The packages that use a setting
// check it too; what they find is reported under the setting's name by the wiring.
func (s *settings) check() error {
	for _, check := range []func() error{
		s.checkAddresses, s.checkPaths, s.checkTLS, s.checkUnavailable, s.checkReplica, s.checkLimits, s.checkBOSH, s.checkWebSocket, s.checkLog,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (s *settings) checkAddresses() error {
	for _, a := range []struct{ key, value string }{
		{"listen", s.Listen}, {"admin.listen", s.Admin}, {"tls.listen", s.TLS.Listen}, {"replica.listen", s.Replica.Listen},
	} {
		if a.value == "" && a.key != "replica.listen" {
			continue // not wanted
		}
		if _, port, err := net.SplitHostPort(a.value); err != nil || !isPort(port) {
			return &settingError{key: a.key, value: a.value, want: "want an address with a port, as in :5280, 127.0.0.1:5280 or [::1]:5280"}
		}
	}
	if s.Listen == "" && s.TLS.Listen == "" {
		return &settingError{key: "listen", want: "browsers could not connect; set listen or tls.listen"}
	}
	if s.Admin != "" && !strings.HasSuffix(s.Admin, ":0") && (s.Admin == s.Listen || s.Admin == s.TLS.Listen) {
		return &settingError{key: "admin.listen", value: s.Admin, want: "is a client-facing address; the operator's endpoints need one of their own"}
	}
	return nil
}

func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

func (s *settings) checkPaths() error {
	for _, p := range []struct{ key, value string }{{"path.bosh", s.PathBOSH}, {"path.websocket", s.PathWebSocket}} {
		switch {
		case !strings.HasPrefix(p.value, "/") || path.Clean(p.value) != p.value || strings.ContainsAny(p.value, "?#% "):
			return &settingError{key: p.key, value: p.value, want: "want a plain absolute path, as in /http-bind"}
		case p.value == "/" && s.Page:
			return &settingError{key: p.key, value: p.value, want: "is the page's path; set web.page to false or choose another path"}
		case strings.HasPrefix(p.value, "/.well-known/host-meta"):
			return &settingError{key: p.key, value: p.value, want: "is the path of the discovery document; choose another path"}
		}
	}
	if s.PathBOSH == s.PathWebSocket {
		return &settingError{key: "path.websocket", value: s.PathWebSocket, want: "is the same as path.bosh; choose another path"}
	}
	return nil
}

func (s *settings) checkTLS() error {
	switch {
	case s.TLS.Listen != "" && s.TLS.Cert == "":
		return &settingError{key: "tls.cert", want: "tls.listen needs a certificate; name a PEM file"}
	case s.TLS.Listen == "" && s.TLS.Cert != "":
		return &settingError{key: "tls.cert", value: s.TLS.Cert, want: "is not used without tls.listen; set tls.listen, as in :443"}
	case s.TLS.Cert == "" && s.TLS.Key != "":
		return &settingError{key: "tls.key", value: s.TLS.Key, want: "is not used without tls.cert; set tls.cert too"}
	case s.TLS.Cert != "" && s.TLS.Key == "":
		return &settingError{key: "tls.key", want: "tls.cert needs its private key; name a PEM file"}
	}
	return nil
}

// checkUnavailable refuses what this build does not do, rather than ignore it.
func (s *settings) checkUnavailable() error {
	const acme = "automatic certificates are not available in this build; use tls.cert and tls.key"
	for _, u := range []struct{ key, value string }{
		{"tls.acme.hosts", strings.Join(s.TLS.ACMEHosts, ",")}, {"tls.acme.directory", s.TLS.ACMEDirectory}, {"tls.acme.cache", s.TLS.ACMECache},
	} {
		if u.value != "" {
			return &settingError{key: u.key, value: u.value, want: acme}
		}
	}
	return nil
}

// checkReplica refuses settings of one of several replicas where there is only one.
func (s *settings) checkReplica() error {
	const alone = "is only used with redis; set redis or leave it out"
	for _, u := range []struct{ key, value string }{
		{"replica.id", s.Replica.ID}, {"replica.advertise", s.Replica.Advertise}, {"failover.key", strings.Join(s.Failover.Key, ",")},
	} {
		if len(s.Redis) == 0 && u.value != "" {
			return &settingError{key: u.key, value: u.value, want: alone}
		}
	}
	if s.Replica.ID != "" && !replicaName.MatchString(s.Replica.ID) {
		return &settingError{key: "replica.id", value: s.Replica.ID, want: "want 1 to 64 letters, digits, dots, - and _"}
	}
	if host, port, err := net.SplitHostPort(s.Replica.Advertise); s.Replica.Advertise != "" && (err != nil || host == "" || !isPort(port) || port == "0") {
		return &settingError{key: "replica.advertise", value: s.Replica.Advertise, want: "want the host and port that other replicas reach, as in 10.0.0.7:9281"}
	}
	_, port, _ := net.SplitHostPort(s.Replica.Listen) // it has been checked
	if len(s.Redis) > 0 && len(s.Failover.Key) > 0 && s.Replica.Advertise == "" && port == "0" {
		return &settingError{key: "replica.listen", value: s.Replica.Listen, want: "other replicas could not be told the port; choose one"}
	}
	return nil
}

var replicaName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// between checks a number against its bounds.
func between(key string, value, least, most int) error {
	if value >= least && value <= most {
		return nil
	}
	return &settingError{key: key, value: strconv.Itoa(value), want: fmt.Sprintf("want a number from %d to %d", least, most)}
}

// timely checks a duration against its bounds.
func timely(key string, value, least, most time.Duration) error {
	if value >= least && value <= most {
		return nil
	}
	return &settingError{key: key, value: value.String(), want: fmt.Sprintf("want a duration from %s to %s", least, most)}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *settings) checkLimits() error {
	const gigabyte = 1 << 30
	l := &s.Limit
	return firstError(
		between("limit.stanza-bytes", l.StanzaBytes, smallestStanza, gigabyte),
		between("limit.body-bytes", l.BodyBytes, l.StanzaBytes, gigabyte),
		between("limit.depth", l.Depth, 8, 1000),
		between("limit.attributes", l.Attributes, 8, 10000),
		between("limit.queue-bytes", l.QueueBytes, l.StanzaBytes, gigabyte),
		between("limit.sessions", l.Sessions, 0, 1<<31-1),
		between("limit.sessions-per-address", l.SessionsPerAddress, 0, 1<<31-1),
		timely("limit.header-timeout", l.HeaderTimeout, time.Second, time.Hour),
		timely("limit.body-timeout", l.BodyTimeout, time.Second, time.Hour),
		timely("limit.auth-timeout", l.AuthTimeout, time.Second, time.Hour),
		timely("limit.connect-timeout", l.ConnectTimeout, 100*time.Millisecond, time.Hour),
		timely("drain.timeout", s.DrainTimeout, 0, 24*time.Hour),
	)
}

func (s *settings) checkBOSH() error {
	b := &s.BOSH
	if _, err := upstream.Normalise(b.DefaultDomain); b.DefaultDomain != "" && err != nil {
		return &settingError{key: "bosh.default-domain", value: b.DefaultDomain, want: "want a domain name, as in example.org"}
	}
	// XEP-0124 §22: these attributes are unsignedShort, hold and requests unsignedByte.
	const most = 65535 * time.Second
	return firstError(
		wholeSeconds("bosh.wait", b.Wait), timely("bosh.wait", b.Wait, time.Second, most),
		wholeSeconds("bosh.inactivity", b.Inactivity), timely("bosh.inactivity", b.Inactivity, time.Second, most),
		wholeSeconds("bosh.maxpause", b.MaxPause), timely("bosh.maxpause", b.MaxPause, 0, most),
		wholeSeconds("bosh.polling", b.Polling), timely("bosh.polling", b.Polling, time.Second, most),
		between("bosh.hold", b.Hold, 1, 254),
		between("bosh.streams", b.Streams, 1, 32),
	)
}

func wholeSeconds(key string, d time.Duration) error {
	if d%time.Second == 0 {
		return nil
	}
	return &settingError{key: key, value: d.String(), want: "is told to browsers in seconds; want whole seconds, as in 60s"}
}

func (s *settings) checkWebSocket() error {
	w := &s.WebSocket
	if w.Ping != 0 {
		if err := timely("websocket.ping", w.Ping, time.Second, time.Hour); err != nil {
			return err
		}
	}
	if u, err := url.Parse(w.SeeOther); w.SeeOther != "" && (err != nil || u.Host == "" || u.Scheme != "wss" && u.Scheme != "https") {
		return &settingError{key: "websocket.see-other-uri", value: w.SeeOther, want: "want a wss or https URI, as in wss://other.example.org/xmpp-websocket"}
	}
	return nil
}

func (s *settings) checkLog() error {
	if _, ok := levels[s.LogLevel]; !ok {
		return &settingError{key: "log.level", value: s.LogLevel, want: "want debug, info, warn or error"}
	}
	switch s.LogFormat {
	case "auto", "text", "json":
		return nil
	}
	return &settingError{key: "log.format", value: s.LogFormat, want: "want text, json or auto"}
}
