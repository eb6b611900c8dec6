package main

import (
	"time"

	"stanzagate/internal/quota"
)

// settings are all that an operator can set. The names are part of the contract: `name` is the flag, the key in the file and,
// with GATEWAY_ in front and underscores, the environment variable. README.md has the same table; a test compares them.
type settings struct {
	Config string `name:"config" help:"YAML file with settings; flags and environment win over it."`

	Listen         string `name:"listen" default:":5280" help:"Client-facing address, plain HTTP."`
	Admin          string `name:"admin.listen" default:"127.0.0.1:9280" help:"Address of /metrics, /healthz, /readyz, /status and /debug/pprof."`
	PathBOSH       string `name:"path.bosh" default:"/http-bind" help:"Path of the BOSH endpoint."`
	PathWebSocket  string `name:"path.websocket" default:"/xmpp-websocket" help:"Path of the WebSocket endpoint."`
	Domains        list   `name:"domain" help:"XMPP domain to serve, repeatable: example.org, example.org=xmpp://host:port or =xmpps://host:port, with ?tls=, ?ca=, ?name=, ?proxy=, ?plus=, ?reauth=, ?reauth-ca=."`
	Open           bool   `name:"open" default:"false" help:"Serve any domain that is found by SRV at a public address."`
	Origins        list   `name:"origins" default:"*" help:"Web origins that may use the endpoints: exact, https://*.example.org or *."`
	RequireOrigin  bool   `name:"require-origin" default:"false" help:"Refuse WebSocket handshakes without an Origin, which programs other than browsers make."`
	RequireTLS     bool   `name:"require-tls" default:"true" help:"Refuse browsers that come without TLS, here and at a trusted proxy; loopback is excepted."`
	TrustedProxies list   `name:"trusted-proxies" help:"Addresses and CIDRs whose X-Forwarded-* and Forwarded headers are believed."`
	PublicURL      string `name:"public-url" help:"https URL under which browsers reach this gateway, for discovery documents. Default: port 443 of the domain that was asked for."`
	HostMetaLinks  list   `name:"host-meta.links" help:"Further links of the discovery documents, each as RELATION URL."`
	Page           bool   `name:"web.page" default:"true" help:"Serve the chat page at /."`
	H2C            bool   `name:"http.h2c" default:"false" help:"HTTP/2 without TLS on listen, for proxies that speak it."`

	TLS       tlsSettings       `embed:"" prefix:"tls."`
	Redis     list              `name:"redis" help:"Session store: redis://, rediss:// or redis+sentinel:// URL, or several cluster addresses. None: in memory."`
	Replica   replicaSettings   `embed:"" prefix:"replica."`
	Failover  failoverSettings  `embed:"" prefix:"failover."`
	Limit     limitSettings     `embed:"" prefix:"limit."`
	BOSH      boshSettings      `embed:"" prefix:"bosh."`
	WebSocket websocketSettings `embed:"" prefix:"websocket."`

	DrainTimeout time.Duration `name:"drain.timeout" default:"30s" help:"How long sessions may go on after SIGTERM."`
	LogLevel     string        `name:"log.level" default:"info" help:"debug, info, warn or error."`
	LogFormat    string        `name:"log.format" default:"auto" help:"text, json, or auto: text on a terminal, else json."`
}

type tlsSettings struct {
	Listen        string `name:"listen" help:"Client-facing HTTPS address, HTTP/1.1 and HTTP/2."`
	Cert          string `name:"cert" help:"PEM file with the certificate chain; read again on SIGHUP and when it changes."`
	Key           string `name:"key" help:"PEM file with the private key."`
	ACMEHosts     list   `name:"acme.hosts" help:"Host names to get certificates for."`
	ACMEDirectory string `name:"acme.directory" help:"ACME directory URL."`
	ACMECache     string `name:"acme.cache" help:"Directory that keeps ACME certificates."`
}

type replicaSettings struct {
	ID        string `name:"id" help:"Name of this replica in the store. Default: host name and a random suffix."`
	Listen    string `name:"listen" default:":9281" help:"Where other replicas hand requests on; only with redis."`
	Advertise string `name:"advertise" help:"Address that other replicas use. Default: first non-loopback address and the port of replica.listen."`
}

type failoverSettings struct {
	Key list `name:"key" help:"Key files, newest first: seal tokens in the store and authenticate replicas to each other."`
}

type limitSettings struct {
	StanzaBytes int `name:"stanza-bytes" default:"262144" help:"One first-level element from a browser."`
	BodyBytes   int `name:"body-bytes" default:"1048576" help:"One BOSH body or WebSocket message."`
	Depth       int `name:"depth" default:"64" help:"Nesting of elements."`
	Attributes  int `name:"attributes" default:"64" help:"Attributes of one element."`
	QueueBytes  int `name:"queue-bytes" default:"1048576" help:"Waiting per session and direction; beyond it reading stops."`

	Sessions           int        `name:"sessions" default:"0" help:"Sessions of this replica; 0: no limit."`
	SessionsPerAddress int        `name:"sessions-per-address" default:"1000" help:"Sessions of one IPv4 address or IPv6 /64; 0: no limit."`
	Creations          quota.Rate `name:"creations-per-address" default:"600/m" help:"Sessions that one address may create per s, m or h; 0: no limit."`
	AuthFailures       quota.Rate `name:"auth-failures-per-address" default:"60/m" help:"Failed logins after which an address gets no new session; 0: no limit."`

	HeaderTimeout  time.Duration `name:"header-timeout" default:"10s" help:"To send the header of a request."`
	BodyTimeout    time.Duration `name:"body-timeout" default:"30s" help:"To send the body of a request."`
	AuthTimeout    time.Duration `name:"auth-timeout" default:"60s" help:"To log in."`
	ConnectTimeout time.Duration `name:"connect-timeout" default:"10s" help:"To reach the XMPP server, TLS and stream opening included."`
}

type boshSettings struct {
	Wait          time.Duration `name:"wait" default:"60s" help:"Longest time that a request is held."`
	Hold          int           `name:"hold" default:"2" help:"Most requests that are held at a time."`
	Inactivity    time.Duration `name:"inactivity" default:"120s" help:"How long a session lives without a request."`
	MaxPause      time.Duration `name:"maxpause" default:"300s" help:"Longest pause that a browser may ask for; 0s: none."`
	Polling       time.Duration `name:"polling" default:"5s" help:"Shortest interval of a polling browser."`
	ScriptSyntax  bool          `name:"script-syntax" default:"false" help:"Alternative script syntax (XEP-0252)."`
	Keys          bool          `name:"keys" default:"true" help:"Key sequences (XEP-0124 section 15)."`
	Streams       int           `name:"streams" default:"4" help:"Streams per session; 1: not offered."`
	SameAddress   bool          `name:"same-address" default:"false" help:"Keep sessions to the address that created them; mobile browsers change theirs."`
	DefaultDomain string        `name:"default-domain" help:"Domain of browsers that name none."`
}

type websocketSettings struct {
	Ping        time.Duration `name:"ping" default:"30s" help:"Interval of keep-alive pings on idle sockets; 0s: none."`
	Compression bool          `name:"compression" default:"false" help:"permessage-deflate without context takeover."`
	SeeOther    string        `name:"see-other-uri" help:"wss or https URI that clients are sent to on drain."`
}
