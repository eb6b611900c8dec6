package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"

	"golang.org/x/net/idna"
	"mellium.im/xmpp/jid"
)

// security says how a domain's connections are protected.
type security uint8

const (
	tlsRequired security = iota
	tlsOptional          // STARTTLS if offered; a failed handshake or certificate still ends the attempt
	tlsNone
)

// Domain is one parsed `domain` setting.
type Domain struct {
	Name string // normalised, as Serves returns it

	host      string         // explicit target host; "" means found by SRV
	port      string         // with host
	direct    bool           // explicit target speaks TLS at once (xmpps)
	security  security       //
	roots     *x509.CertPool // nil means the system's
	reference string         // name that certificates must carry; "" means Name
	proxy     proxyVersion
	noPlus    bool // hide channel binding from browsers (UP-100)
	wild      bool // not configured: served because of Config.Open, public addresses only

	reauth reauth
	issuer *authority // ?reauth=external only

	tlsUpgrade, tlsDirect *tls.Config // made by prepare
	greetings             *greetings  // of a configured domain
}

// lookup is the profile for names that are looked up and compared: idna.Lookup with DNS's limits of length.
var lookup = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(true), idna.VerifyDNSLength(true))

// Normalise returns the canonical form of an XMPP domain (RFC 7622 §3.2): lower case, U-labels, no trailing dot.
func Normalise(domain string) (string, error) {
	domain = strings.TrimSuffix(domain, ".")
	if domain == "" || len(domain) > 1023 || strings.ContainsAny(domain, "@/") {
		return "", errors.New("not a domain")
	}
	if ip, ok := literal(domain); ok {
		if ip.Is6() {
			return "[" + ip.String() + "]", nil
		}
		return ip.String(), nil
	}
	ascii, err := lookup.ToASCII(domain)
	if err != nil {
		return "", fmt.Errorf("not a domain name: %w", err)
	}
	name, err := lookup.ToUnicode(ascii)
	if err != nil {
		return "", fmt.Errorf("not a domain name: %w", err)
	}
	if strings.HasSuffix(name, ".") {
		return "", errors.New("not a domain name: it ends in an empty label")
	}
	j, err := jid.New("", name, "")
	if err != nil {
		return "", fmt.Errorf("not an XMPP domain: %w", err)
	}
	return j.Domainpart(), nil
}

// literal returns the address if the domain is one: IPv4, or IPv6 in brackets (RFC 7622 §3.2).
func literal(domain string) (netip.Addr, bool) {
	if strings.HasPrefix(domain, "[") && strings.HasSuffix(domain, "]") {
		ip, err := netip.ParseAddr(domain[1 : len(domain)-1])
		return ip, err == nil && ip.Is6() && ip.Zone() == ""
	}
	ip, err := netip.ParseAddr(domain)
	return ip, err == nil && ip.Is4()
}

// asciiDomain returns the form of a normalised domain that DNS and certificates use (UP-018); "" for an IP literal.
func asciiDomain(name string) string {
	if _, ok := literal(name); ok {
		return ""
	}
	a, err := lookup.ToASCII(name)
	if err != nil {
		return ""
	}
	return a
}

const domainForms = `want "example.org", "example.org=xmpp://host:port" or "example.org=xmpps://host:port", ` +
	`with ?tls=required|optional|none, ?ca=FILE, ?name=NAME, ?proxy=off|v1|v2, ?plus=show|hide, ` +
	`?reauth=fast|password|external, ?reauth-ca=FILE`

// ParseDomain parses a `domain` setting and reads the file that ?ca= names. Its errors quote the setting.
func ParseDomain(setting string) (Domain, error) {
	d, err := parseDomain(setting)
	if err != nil {
		return Domain{}, fmt.Errorf("domain %q: %w", setting, err)
	}
	return d, nil
}

func parseDomain(setting string) (Domain, error) {
	rest, query, _ := strings.Cut(setting, "?")
	name, target, explicit := strings.Cut(rest, "=")
	var d Domain
	var err error
	if d.Name, err = Normalise(name); err != nil {
		return Domain{}, fmt.Errorf("%w; %s", err, domainForms)
	}
	if explicit {
		if err := d.setTarget(target); err != nil {
			return Domain{}, err
		}
	}
	values, err := url.ParseQuery(strings.ReplaceAll(query, "+", "%2B")) // a plus sign is no space here
	if err != nil {
		return Domain{}, fmt.Errorf("%w; %s", err, domainForms)
	}
	for key, vs := range values {
		if len(vs) != 1 {
			return Domain{}, fmt.Errorf("?%s= is given %d times; give it once", key, len(vs))
		}
		if err := d.setOption(key, vs[0]); err != nil {
			return Domain{}, err
		}
	}
	if (d.reauth == reauthExternal) != (d.issuer != nil) {
		return Domain{}, errors.New("?reauth=external and ?reauth-ca=FILE belong together")
	}
	if d.direct && d.security != tlsRequired {
		return Domain{}, errors.New("xmpps:// is direct TLS; use xmpp:// with ?tls=optional or ?tls=none")
	}
	return d, nil
}

func (d *Domain) setTarget(target string) error {
	u, err := url.Parse(target)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Path != "" && u.Path != "/" || u.Fragment != "" {
		return fmt.Errorf("target %q is not a server address; %s", target, domainForms)
	}
	d.host, d.port = u.Hostname(), u.Port()
	switch u.Scheme {
	case "xmpp":
		d.port = orDefault(d.port, portClient)
	case "xmpps":
		d.port = orDefault(d.port, portDirect)
		d.direct = true
	default:
		return fmt.Errorf("scheme %q is neither xmpp nor xmpps; %s", u.Scheme, domainForms)
	}
	if _, err := net.LookupPort("tcp", d.port); err != nil || d.port == "0" {
		return fmt.Errorf("port %q is not a port; %s", d.port, domainForms)
	}
	return nil
}

func orDefault(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// choose looks a value up among those of an option.
func choose[T any](key, value string, values map[string]T) (T, error) {
	v, ok := values[value]
	if !ok {
		names := slices.Sorted(maps.Keys(values))
		return v, fmt.Errorf("?%s=%s: want %s or %s", key, value, strings.Join(names[:len(names)-1], ", "), names[len(names)-1])
	}
	return v, nil
}

func (d *Domain) setOption(key, value string) (err error) {
	switch key {
	case "tls":
		d.security, err = choose(key, value, map[string]security{"required": tlsRequired, "optional": tlsOptional, "none": tlsNone})
	case "proxy":
		d.proxy, err = choose(key, value, map[string]proxyVersion{"off": proxyOff, "v1": proxyV1, "v2": proxyV2})
	case "plus":
		d.noPlus, err = choose(key, value, map[string]bool{"show": false, "hide": true})
	case "reauth":
		d.reauth, err = choose(key, value, map[string]reauth{"fast": reauthFAST, "password": reauthPassword, "external": reauthExternal})
	case "ca":
		return d.readRoots(value)
	case "reauth-ca":
		return d.readIssuer(value)
	case "name":
		if d.reference, err = Normalise(value); err != nil {
			return fmt.Errorf("?name=%s: %w", value, err)
		}
	default:
		return fmt.Errorf("option %q is unknown; %s", key, domainForms)
	}
	return err
}

func (d *Domain) readRoots(file string) error {
	pem, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("?ca=: %w", err)
	}
	d.roots = x509.NewCertPool()
	if !d.roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("?ca=%s: holds no PEM certificate", file)
	}
	return nil
}

func (d *Domain) readIssuer(file string) error {
	pem, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("?reauth-ca=: %w", err)
	}
	if d.issuer, err = readAuthority(pem); err != nil {
		return fmt.Errorf("?reauth-ca=%s: want a CA certificate and its key as PEM: %w", file, err)
	}
	return nil
}
