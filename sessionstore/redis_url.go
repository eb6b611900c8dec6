package sessionstore

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// redisTarget is where the store is: what the setting says. Its String hides what is secret.
type redisTarget struct {
	kind     redisKind
	secure   bool
	addrs    []string // of the server, of the Sentinels, or of nodes
	user     string
	password string
	db       int
	cluster  bool // kind is redisCluster

	master                         string // Sentinel's name for the master
	sentinelUser, sentinelPassword string

	tls tlsFiles
}

type redisKind uint8

const (
	redisSingle redisKind = iota
	redisSentinel
	redisCluster
)

// tlsFiles are the options of TLS.
type tlsFiles struct {
	ca   string // PEM file of authorities in place of the system's
	name string // on the certificate, if it is not the host
	cert string // PEM files, to prove who we are
	key  string
}

var redisSchemes = map[string]struct {
	kind   redisKind
	secure bool
}{
	"redis": {redisSingle, false}, "rediss": {redisSingle, true},
	"redis+sentinel": {redisSentinel, false}, "rediss+sentinel": {redisSentinel, true},
	"redis+cluster": {redisCluster, false}, "rediss+cluster": {redisCluster, true},
}

// Errors about URLs never quote what could be a password, or a part of one that ended up elsewhere because a character was
// not escaped. So they name the part that is wrong, and quote it only if nothing before it can be.
var (
	errNoURL      = errors.New("no address; want redis://host:port")
	errScheme     = errors.New("unknown scheme; want redis, rediss, redis+sentinel, rediss+sentinel, redis+cluster or rediss+cluster")
	errUnescaped  = errors.New("user name or password with a character that has a meaning in URLs; write / as %2F, ? as %3F, # as %23, @ as %40")
	errFragment   = errors.New("a # has no meaning; in a password write it as %23")
	errUserinfo   = errors.New("user name or password: a % must be followed by two hexadecimal digits; write it as %25")
	errNoMaster   = errors.New("no master; want redis+sentinel://host:port,host:port/master-name")
	errDB         = errors.New("database: want a number from 0 to 1000000")
	errClusterDB  = errors.New("a cluster has database 0 only")
	errOneHost    = errors.New("several hosts; for a cluster write redis+cluster://, for Sentinels redis+sentinel://host,host/master-name")
	errMixed      = errors.New("several addresses are nodes of one cluster: want the same scheme, user, password and options, and no Sentinels")
	errTLSOptions = errors.New("options ca, name, cert and key need rediss")
	errTLSPair    = errors.New("options cert and key need each other")
)

// parseRedis reads the setting `redis`.
func parseRedis(urls []string) (*redisTarget, error) {
	if len(urls) == 0 {
		return nil, errNoURL
	}
	var all *redisTarget
	for i, s := range urls {
		if !strings.Contains(s, "://") {
			s = "redis://" + s
		}
		t, err := parseRedisURL(s)
		switch {
		case err != nil && len(urls) > 1:
			return nil, fmt.Errorf("address %d: %w", i+1, err)
		case err != nil:
			return nil, err
		case all == nil:
			all = t
			continue
		}
		if !all.joins(t) {
			return nil, errMixed
		}
		all.addrs = append(all.addrs, t.addrs...)
	}
	if len(urls) > 1 {
		all.kind = redisCluster
	}
	all.cluster = all.kind == redisCluster
	if all.cluster && all.db != 0 {
		return nil, errClusterDB
	}
	return all, nil
}

// joins reports whether both can be nodes of one cluster.
func (t *redisTarget) joins(other *redisTarget) bool {
	return t.kind != redisSentinel && t.kind == other.kind && t.secure == other.secure && t.user == other.user &&
		t.password == other.password && t.db == other.db && t.tls == other.tls
}

func parseRedisURL(s string) (*redisTarget, error) {
	scheme, rest, _ := strings.Cut(s, "://")
	known, ok := redisSchemes[scheme]
	if !ok {
		return nil, errScheme
	}
	t := &redisTarget{kind: known.kind, secure: known.secure}
	rest, options, hasOptions := strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	switch {
	case strings.Contains(path, "@"), strings.Contains(authority, "#") && strings.Contains(authority[strings.Index(authority, "#"):], "@"):
		return nil, errUnescaped
	case hasOptions && strings.Contains(options, "@") && !strings.Contains(authority, "@"):
		return nil, errUnescaped
	case strings.Contains(s, "#"):
		return nil, errFragment
	}
	hosts := authority
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		if strings.Contains(authority[:at], "@") {
			return nil, errUnescaped
		}
		if err := t.credentials(authority[:at]); err != nil {
			return nil, err
		}
		hosts = authority[at+1:]
	}
	if err := t.hosts(hosts); err != nil {
		return nil, err
	}
	if err := t.path(path); err != nil {
		return nil, err
	}
	if hasOptions {
		if err := t.query(options); err != nil {
			return nil, err
		}
	}
	return t, t.checkTLS()
}

// credentials reads user:password. A user name alone is refused: it would be a password by mistake.
func (t *redisTarget) credentials(s string) (err error) {
	user, password, ok := strings.Cut(s, ":")
	if !ok {
		return errors.New("user name without a password; want user:password@ or :password@")
	}
	if t.user, err = url.PathUnescape(user); err != nil {
		return errUserinfo
	}
	if t.password, err = url.PathUnescape(password); err != nil {
		return errUserinfo
	}
	return nil
}

func (t *redisTarget) hosts(s string) error {
	port := "6379"
	if t.kind == redisSentinel {
		port = "26379"
	}
	for host := range strings.SplitSeq(s, ",") {
		addr, err := hostPort(host, port)
		if err != nil {
			return err
		}
		t.addrs = append(t.addrs, addr)
	}
	if t.kind == redisSingle && len(t.addrs) > 1 {
		return errOneHost
	}
	return nil
}

func hostPort(s, port string) (string, error) {
	host := s
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		host, port = s[:i], s[i+1:]
	}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
		if net.ParseIP(host) == nil {
			return "", errors.New("host: what is in brackets is not an IPv6 address")
		}
	} else if host == "" || strings.ContainsAny(host, ":[] \t%") {
		return "", errors.New("host: want a name, an IPv4 address, or an IPv6 address in brackets")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", errors.New("port: want a number from 1 to 65535 after the last colon")
	}
	return net.JoinHostPort(host, port), nil
}

// path is the database, after the master's name for Sentinels.
func (t *redisTarget) path(s string) error {
	if t.kind == redisSentinel {
		var err error
		t.master, s, _ = strings.Cut(s, "/")
		if t.master, err = url.PathUnescape(t.master); err != nil || t.master == "" {
			return errNoMaster
		}
	}
	if s == "" {
		return nil
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n > 1000000 {
		return errDB
	}
	t.db = int(n)
	return nil
}

// query reads name=value&name=value.
func (t *redisTarget) query(s string) error {
	values, err := url.ParseQuery(s)
	if err != nil {
		return errors.New("options: want name=value, several with & between them")
	}
	places := map[string]*string{"ca": &t.tls.ca, "name": &t.tls.name, "cert": &t.tls.cert, "key": &t.tls.key}
	if t.kind == redisSentinel {
		places["sentinel-user"], places["sentinel-password"] = &t.sentinelUser, &t.sentinelPassword
	}
	for name, value := range values {
		place := places[name]
		switch {
		case place == nil:
			known := make([]string, 0, len(places))
			for k := range places {
				known = append(known, k)
			}
			slices.Sort(known)
			return fmt.Errorf("unknown option; %s are known", strings.Join(known, ", "))
		case len(value) != 1 || value[0] == "":
			return fmt.Errorf("option %s: want one value", name)
		}
		*place = value[0]
	}
	return nil
}

func (t *redisTarget) checkTLS() error {
	switch {
	case !t.secure && t.tls != tlsFiles{}:
		return errTLSOptions
	case (t.tls.cert == "") != (t.tls.key == ""):
		return errTLSPair
	}
	return nil
}

// String is for logs: where, not with which password.
func (t *redisTarget) String() string {
	scheme := ""
	for name, s := range redisSchemes {
		if s.kind == t.kind && s.secure == t.secure {
			scheme = name
		}
	}
	s := scheme + "://" + strings.Join(t.addrs, ",")
	if t.master != "" {
		s += "/" + t.master
	}
	if t.db != 0 {
		s += "/" + strconv.Itoa(t.db)
	}
	return s
}

// GoString is String: what prints everything with %#v prints no password either.
func (t *redisTarget) GoString() string { return t.String() }
