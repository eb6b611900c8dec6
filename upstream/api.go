package upstream

import (
	"errors"
	"net/netip"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmlframe"
)

// ClientScope is what a stream header of ours declares: jabber:client and the prefix stream. Elements are mended for it
// (xmlframe.Element.AppendTo) before they are given to Send.
func ClientScope(lang string) *xmlframe.Scope {
	if lang == "" {
		return clientScope
	}
	return &xmlframe.Scope{Default: ns.Client, Lang: lang, Prefixes: clientScope.Prefixes}
}

// clientScope is shared, as most streams are without xml:lang and a Scope is immutable.
var clientScope = &xmlframe.Scope{Default: ns.Client, Prefixes: []xmlframe.Prefix{{Name: "stream", Space: ns.Stream}}}

// Opening is what a browser asked for when it opened a stream.
type Opening struct {
	Domain  string         // XMPP domain, as Serves returned it
	From    string         // bare JID if the browser named one; sent only once the stream is encrypted (UP-024)
	Lang    string         // xml:lang; "" for none
	Client  netip.AddrPort // the browser, for the PROXY header (UP-119)
	Local   netip.AddrPort // where the browser reached the gateway
	Managed bool           // do XEP-0198 and SASL2/FAST for the browser
	Owner   *Owner         // of a managed stream that is to be resumable; nil if it is not
	Exposed bool           // the browser's hop is neither TLS nor trusted: no password in the clear over it (UP-051)
}

// Errors of Serves and Open. Both wrap them; match with errors.Is.
var (
	ErrHostUnknown = errors.New("domain is not served") // never dialled
	ErrHostGone    = errors.New("domain is no longer served")
	ErrUnreachable = errors.New("no server of the domain answers") // resolve, connect, TLS or negotiation failed
)

// Causes of a failed Open that an operator can do something about.
var (
	ErrNoTLS          = errors.New("server offers no STARTTLS")
	ErrAddressRefused = errors.New("address is not allowed for this domain") // by policy, whatever DNS says
)

// Cause classes of a failed Open, for metrics: see Error.Op.
const (
	OpResolve   = "resolve"
	OpConnect   = "connect"
	OpTLS       = "tls"
	OpNegotiate = "negotiate"
	OpRead      = "read"
	OpWrite     = "write"
)

// Error is a failed operation on the way to, or on, a stream. It unwraps to its cause; the failure of a dead connection
// satisfies errors.Is(err, net.ErrClosed).
type Error struct {
	Op   string // one of the Op constants
	Addr string // "" before an address is known
	Err  error
}

func (e *Error) Error() string {
	if e.Addr == "" {
		return "upstream " + e.Op + ": " + e.Err.Error()
	}
	return "upstream " + e.Op + " " + e.Addr + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// StreamError is a <stream:error/> that the server sent (RFC 6120 §4.9). Recv returns it once, then io.EOF.
type StreamError struct {
	Condition string // element name in the streams namespace; undefined-condition if none
	Raw       []byte // the whole element, mended to stand under a root that declares only the prefix stream; owned by the receiver
}

func (e *StreamError) Error() string { return "stream error " + e.Condition }

// Header is what the server's stream header said (RFC 6120 §4.7). Absent attributes are "".
type Header struct{ ID, From, Lang, Version string }

// Kind is what Recv found.
type Kind uint8

const (
	// KindElement is a first-level element for the browser: features (filtered, UP-098, WS-030), SASL, stanzas, others.
	KindElement Kind = iota
	// KindAcked says that the server has handled H of our stanzas (XEP-0198 <a/>). Managed streams only.
	KindAcked
	// KindAckRequested is an <r/>: the owner answers at once with Ack(h) (UP-060). Managed streams only.
	KindAckRequested
	// KindEnabled says what the session is worth, once, before its bind result is returned. Managed streams only.
	KindEnabled
	// KindResumed says that the connection broke and the session goes on over another. The server has handled H of our
	// stanzas, and sends its own again from Told on. Every Send since the break has failed, and fails until Proceed.
	// Managed streams only.
	KindResumed
)

// Event is one thing that came from the server.
type Event struct {
	Kind    Kind
	Element xmlframe.Element // KindElement; valid until the next Recv
	Counted bool             // KindElement: XEP-0198 counts it. Managed streams only
	H       uint32           // KindAcked, KindResumed
	Told    uint32           // KindResumed
	Break   uint32           // KindResumed: what Proceed is told

	// KindEnabled
	Acks  bool  // the server acknowledges: without, acks mean "written" and KindAcked never comes
	Class Class // how the session can be taken over
	Early int   // stanzas that come right behind the bind result and belong to no count: they cannot be sent again
}

// Action says what is to be done with an element from the browser.
type Action uint8

const (
	Forward Action = iota // give Admission.Bytes to Send
	Answer                // do not forward; give Admission.Bytes to the browser
	Drop                  // do neither
	Refuse                // end the stream with Admission.Condition (RFC 6120 §4.9.3)
)

// Admission is Admit's verdict.
type Admission struct {
	Action    Action
	Bytes     []byte // appended to Admit's dst
	Stanza    bool   // counts for XEP-0198; on managed streams only once that is asked for
	Condition string // Refuse only
}
