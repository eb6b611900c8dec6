package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"time"

	"stanzagate/upstream"
)

// report is what `gateway check` prints. Its JSON is for programs: names stay, and lists are never null.
type report struct {
	Domain     string            `json:"domain"`
	Login      bool              `json:"login"` // a browser could log in
	Records    []serviceReport   `json:"records"`
	Targets    []targetReport    `json:"targets"`
	TLS        *tlsReport        `json:"tls"` // null in the clear, and without an answer
	Mechanisms *mechanismsReport `json:"mechanisms"`
	SM         string            `json:"stream-management"` // "offered" or "unknown"
	Resumption resumptionReport  `json:"resumption"`
	Errors     []problem         `json:"errors"`   // why no browser could log in
	Warnings   []problem         `json:"warnings"` // what is wrong beside that
}

type serviceReport struct {
	Name    string         `json:"name"`
	Offered bool           `json:"offered"` // false: its only record says that there is no such service
	Records []recordReport `json:"records"`
	Error   string         `json:"error,omitempty"`
}

type recordReport struct {
	Target   string `json:"target"`
	Priority uint16 `json:"priority"`
	Weight   uint16 `json:"weight"`
}

type targetReport struct {
	Target    string   `json:"target"`
	DirectTLS bool     `json:"direct-tls"`
	Addresses []string `json:"addresses"`
	Connected string   `json:"connected,omitempty"` // address and port
	Error     string   `json:"error,omitempty"`

	how string // the connection is secured; for people, programs have tls and direct-tls
}

type tlsReport struct {
	Target     string    `json:"target"`
	Version    string    `json:"version"`
	Cipher     string    `json:"cipher"`
	Names      []string  `json:"certificate-names"`
	Issuer     string    `json:"certificate-issuer"`
	Expires    time.Time `json:"certificate-expires"`
	CheckedFor string    `json:"checked-for"`
	Trust      string    `json:"trust"` // "system", or "ca" for ?ca=
}

type mechanismsReport struct {
	BeforeTLS []string `json:"before-tls"`
	SASL      []string `json:"sasl"`
	SASL2     []string `json:"sasl2"`
	FAST      []string `json:"fast"`
	Browsers  []string `json:"browsers"` // what they are shown
	Legacy    bool     `json:"iq-auth"`  // XEP-0078
}

type resumptionReport struct {
	Class upstream.Class `json:"class"` // of BOSH sessions; those of WebSocket are the browser's own
	Why   string         `json:"why"`
	// A session that is not of the class none survives the loss of its connection to the server. This is whether it survives
	// the death of its replica as well.
	AcrossReplicas bool `json:"across-replicas"`
}

// soon is how near the end of a certificate is worth a warning.
const soon = 14 * 24 * time.Hour

// newReport makes a report of what Probe returned. shared says whether other replicas could go on with a session.
func newReport(f *upstream.Finding, err error, shared bool) *report {
	r := &report{
		Domain: f.Domain, SM: "unknown", Records: []serviceReport{}, Targets: []targetReport{}, Errors: []problem{}, Warnings: []problem{},
		Resumption: resumptionReport{Class: f.Class, Why: f.Why, AcrossReplicas: shared && f.Class != upstream.ClassNone},
	}
	for _, s := range f.Services {
		r.Records = append(r.Records, reportService(s))
	}
	answered := f.Addr != ""
	for _, a := range f.Targets {
		r.Targets = append(r.Targets, reportTarget(a))
		if a.Err != nil {
			r.add(answered, problem{What: a.Err.Error(), Remedy: remedy(a.Err, a.Direct)})
		}
	}
	if err != nil && len(f.Targets) == 0 {
		r.add(answered, problem{What: err.Error(), Remedy: remedy(err, false)})
	}
	if !answered {
		return r
	}
	if f.SM {
		r.SM = "offered"
	}
	r.Mechanisms = &mechanismsReport{
		BeforeTLS: list(f.Clear).orEmpty(), SASL: list(f.Mechanisms).orEmpty(), SASL2: list(f.SASL2).orEmpty(),
		FAST: list(f.FAST).orEmpty(), Browsers: list(f.Browser).orEmpty(), Legacy: f.Legacy,
	}
	r.judgeLogin(f)
	if f.TLS != nil {
		r.reportTLS(f)
	}
	return r
}

// add files a problem under warnings if browsers can log in nevertheless.
func (r *report) add(harmless bool, p problem) {
	if harmless {
		r.Warnings = append(r.Warnings, p)
		return
	}
	r.Errors = append(r.Errors, p)
}

func reportService(s upstream.Service) serviceReport {
	out := serviceReport{Name: s.Name, Offered: len(s.Records) > 0 || !s.Exists, Records: []recordReport{}}
	for _, x := range s.Records {
		out.Records = append(out.Records, recordReport{Target: x.Addr, Priority: x.Priority, Weight: x.Weight})
	}
	if s.Err != nil {
		out.Error = s.Err.Error()
	}
	return out
}

func reportTarget(a upstream.Attempt) targetReport {
	out := targetReport{Target: a.Addr, DirectTLS: a.Direct, Addresses: []string{}, Connected: a.Remote, how: "STARTTLS"}
	switch {
	case a.Plain:
		out.how = "without TLS"
	case a.Direct:
		out.how = "direct TLS"
	}
	for _, ip := range a.Addresses {
		out.Addresses = append(out.Addresses, ip.String())
	}
	if a.Err != nil {
		out.Error = a.Err.Error()
	}
	return out
}

func (r *report) reportTLS(f *upstream.Finding) {
	leaf := f.TLS.PeerCertificates[0]
	r.TLS = &tlsReport{
		Target: f.Addr, Version: tls.VersionName(f.TLS.Version), Cipher: tls.CipherSuiteName(f.TLS.CipherSuite),
		Names: list(certificateNames(leaf)).orEmpty(), Issuer: leaf.Issuer.String(), Expires: leaf.NotAfter.UTC(),
		CheckedFor: f.Reference, Trust: f.Trust,
	}
	if left := time.Until(leaf.NotAfter); left < soon {
		r.add(true, problem{
			What:   "the certificate of " + f.Addr + " expires in " + roughly(left),
			Remedy: "renew it on the server: once it has expired, sessions are refused and open ones end",
		})
	}
}

// certificateNames are the names that crypto/x509 knows of.
func certificateNames(cert *x509.Certificate) []string {
	names := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// judgeLogin says whether a browser could log in with what the server offers.
func (r *report) judgeLogin(f *upstream.Finding) {
	offered := slices.DeleteFunc(append(slices.Clone(f.Mechanisms), f.SASL2...), func(m string) bool { return m == "" })
	r.Login = f.Legacy || slices.ContainsFunc(f.Browser, usable)
	switch {
	case r.Login:
	case f.TLS == nil && slices.ContainsFunc(offered, usable):
		r.add(false, problem{
			What:   "the connection is in the clear, so that browsers are not offered " + strings.Join(offered, ", "),
			Remedy: "turn on STARTTLS at the server, or say ?tls=none if the network in between is private",
		})
	case len(offered) == 0:
		r.add(false, problem{
			What:   "the server offers no mechanism to log in",
			Remedy: "allow PLAIN or SCRAM on the listener that the gateway uses",
		})
	default:
		r.add(false, problem{
			What:   "the server offers no mechanism that a browser can use, only " + strings.Join(offered, ", "),
			Remedy: "allow PLAIN or SCRAM without channel binding on the listener that the gateway uses",
		})
	}
	if slices.ContainsFunc(f.Browser, bound) {
		r.add(true, problem{
			What:   "the server offers channel binding, which cannot work through a gateway",
			Remedy: "turn the -PLUS mechanisms off at the server, or say ?plus=hide",
		})
	}
}

func bound(mechanism string) bool { return strings.HasSuffix(mechanism, "-PLUS") }

// usable reports whether browsers can do a mechanism: those that need a certificate, a ticket of the network, or the
// server's end of the TLS connection are out of their reach.
func usable(mechanism string) bool {
	switch mechanism {
	case "", "EXTERNAL", "GSSAPI", "GSS-SPNEGO", "NTLM":
		return false
	}
	return !bound(mechanism) && !strings.HasPrefix(mechanism, "HT-")
}

// orEmpty makes JSON of a nil list [] rather than null.
func (l list) orEmpty() []string {
	if l == nil {
		return []string{}
	}
	return l
}

// refusedCertificate returns the certificate that was not accepted, nil if the error is another.
func refusedCertificate(err error) *x509.Certificate {
	var bad *tls.CertificateVerificationError
	if !errors.As(err, &bad) || len(bad.UnverifiedCertificates) == 0 {
		return nil
	}
	return bad.UnverifiedCertificates[0]
}
