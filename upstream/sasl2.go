package upstream

import (
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"mellium.im/xmpp/jid"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmlframe"
)

// Classic SASL towards the browser over SASL2 towards the server (XEP-0388 1.0.4), with a FAST token asked for on the way.
// What is said in the comments as "row n" is the table of failover design §4.2 and of the upstream checklist, section 10.

// login is how a managed stream signs its browser in. Guarded by Stream.mu.
type login struct {
	shown   []string // mechanisms that the browser was offered
	attempt *attempt // admitted, to be begun by Send
	running bool     // an exchange goes on
	sasl2   bool     // and it is translated
	spoiled bool     // the connection can take no further attempt
	classic bool     // SASL2 has led to something that classic SASL cannot say: no more of it
	refused string   // account for which the server did not take our guess (UP-105)
	asked   string   // HT mechanism of the token that was asked for

	token     *token
	candidate string // PLAIN data of the running attempt
	password  string // the same once it was right; ?reauth=password only
}

// attempt is an <auth/> of the browser.
type attempt struct {
	mechanism string
	data      string // as it stands in the element: "" for none, "=" for an empty string
	raw       []byte // the element as it goes out in classic SASL
}

const anonymous = "ANONYMOUS"

// admitLogin takes what a browser on a managed stream says in classic SASL. What the attempt becomes is decided in Send,
// which may need another connection for it.
func (s *Stream) admitLogin(dst []byte, el xmlframe.Element) Admission {
	lg := s.m.login
	switch string(el.Local) {
	case "auth":
		a := s.forward(dst, el)
		m, _ := el.Attr("", "mechanism")
		if lg.running {
			lg.spoiled = true // UP-110: the old exchange cannot be aborted on every server, so it is left behind
		}
		lg.attempt = &attempt{mechanism: m, data: strings.TrimSpace(el.Text()), raw: slices.Clone(a.Bytes[len(dst):])}
		lg.running = true
		return a
	case "response":
		switch {
		case !lg.running:
			return Admission{Action: Drop} // to an exchange that is over already
		case lg.sasl2:
			return Admission{Action: Forward, Bytes: appendSASL2Response(dst, el.Text())}
		}
	case "abort":
		if lg.running && lg.sasl2 || lg.attempt != nil {
			// Row 5: one server ends the stream on a SASL2 abort, so it is answered here.
			lg.attempt, lg.running, lg.spoiled = nil, false, true
			return Admission{Action: Answer, Bytes: appendFailure(dst, el, "aborted")}
		}
	}
	return s.forward(dst, el)
}

// octets splits SASL data as classic SASL writes it: UP-075: "=" is an empty string, nothing is no data at all.
func octets(data string) (b64 string, present bool) {
	data = strings.TrimSpace(data)
	if data == "=" {
		return "", true
	}
	return data, data != ""
}

// appendSASL2Response is row 4.
func appendSASL2Response(b []byte, data string) []byte {
	b64, _ := octets(data)
	return appendData(b, "response", " xmlns='"+ns.SASL2+"'", b64)
}

func appendData(b []byte, name, declaration, b64 string) []byte {
	b = append(b, '<')
	b = append(b, name...)
	b = append(b, declaration...)
	if b64 == "" {
		return append(b, "/>"...)
	}
	b = append(b, '>')
	b = xmlframe.AppendEscaped(b, b64)
	b = append(b, "</"...)
	b = append(b, name...)
	return append(b, '>')
}

// authenticate is what an <authenticate/> of ours carries.
type authenticate struct {
	mechanism string
	initial   string // base64
	present   bool   // there is initial data
	agent     string // user-agent id; "" for none
	software  string
	request   string // HT mechanism of the token that is asked for
	fast      bool   // it is a login by token
	last      bool   // which is the token's last
}

// appendTo is row 2.
func (a authenticate) appendTo(b []byte) []byte {
	b = append(b, "<authenticate xmlns='"+ns.SASL2+"' mechanism='"...)
	b = append(xmlframe.AppendEscaped(b, a.mechanism), "'>"...)
	if a.present {
		b = appendData(b, "initial-response", "", a.initial)
	}
	if a.agent != "" {
		b = append(b, "<user-agent id='"...)
		b = append(xmlframe.AppendEscaped(b, a.agent), "'><software>"...)
		b = append(xmlframe.AppendEscaped(b, a.software), "</software></user-agent>"...)
	}
	if a.request != "" {
		b = append(b, "<request-token xmlns='"+ns.FAST+"' mechanism='"...)
		b = append(b, a.request...)
		b = append(b, "'/>"...)
	}
	switch {
	case a.last:
		b = append(b, "<fast xmlns='"+ns.FAST+"' invalidate='true'/>"...)
	case a.fast:
		b = append(b, "<fast xmlns='"+ns.FAST+"'/>"...)
	}
	return append(b, "</authenticate>"...)
}

// translated deals with a SASL2 element of the server.
func (s *Stream) translated(el xmlframe.Element) (ev Event, deliver bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lg := s.m.login
	if lg == nil || !lg.running || !lg.sasl2 {
		return Event{}, false, nil // of an exchange that is over
	}
	var out []byte
	switch string(el.Local) {
	case "challenge": // row 3
		out = appendData(nil, "challenge", " xmlns='"+ns.SASL+"'", strings.TrimSpace(el.Text()))
	case "failure": // row 6
		lg.running = false
		var condition string
		if out, condition = appendClassicFailure(nil, el); condition == "not-authorized" && s.link.guessed {
			lg.refused = s.link.from // UP-105
		}
	case "continue":
		// Row 11: a second factor cannot be said in classic SASL.
		lg.running, lg.spoiled, lg.classic = false, true, true
		out = []byte("<failure xmlns='" + ns.SASL + "'><temporary-auth-failure/></failure>")
	case "success": // row 7
		out = s.success2Locked(el)
	default:
		return Event{}, false, nil
	}
	made, err := xmlframe.Parse(out, xmlframe.Limits{})
	return Event{Kind: KindElement, Element: made}, err == nil, err
}

// success2Locked notes who has signed in and by which token next time, and returns the classic <success/>.
func (s *Stream) success2Locked(el xmlframe.Element) []byte {
	m, lg := s.m, s.m.login
	lg.running = false
	r := readSuccess(el, lg.asked)
	m.bare, lg.token = bareOf(r.jid), r.token
	if m.bare == "" {
		lg.token = nil // UP-106: nobody to sign in as
	}
	lg.password, lg.candidate = lg.candidate, ""
	// XEP-0388 §3.6.1: the features follow at once. UP-107: they wait for the restart that classic SASL wants, and that
	// the server must not see.
	s.p.authenticated, s.p.restartable, s.p.local = true, true, true
	s.holding = true
	switch {
	case !r.hasData:
		return []byte("<success xmlns='" + ns.SASL + "'/>")
	case r.data == "":
		return []byte("<success xmlns='" + ns.SASL + "'>=</success>")
	}
	return appendData(nil, "success", " xmlns='"+ns.SASL+"'", r.data)
}

// success2 is what a SASL2 <success/> says (XEP-0388 §3.6.1).
type success2 struct {
	jid     string
	data    string
	hasData bool
	token   *token
}

// readSuccess reads it. AMB-4: one XEP's examples name the identifier differently.
func readSuccess(el xmlframe.Element, mechanism string) success2 {
	var r success2
	for c := range el.Children() {
		switch {
		case c.Is(ns.SASL2, "authorization-identifier"), c.Is(ns.SASL2, "authorization-identity"):
			r.jid = strings.TrimSpace(c.Text())
		case c.Is(ns.SASL2, "additional-data"):
			r.data, r.hasData = strings.TrimSpace(c.Text()), true
		case c.Is(ns.FAST, "token"):
			r.token = readToken(c, mechanism, time.Now())
		}
	}
	return r
}

// saslConditions are those of RFC 6120 §6.5.
var saslConditions = []string{
	"aborted", "account-disabled", "credentials-expired", "encryption-required", "incorrect-encoding", "invalid-authzid",
	"invalid-mechanism", "malformed-request", "mechanism-too-weak", "not-authorized", "temporary-auth-failure",
}

// saslCondition returns the condition of a failure. UP-080: some servers leave the namespace out; what is not known counts
// as not-authorized.
func saslCondition(failure xmlframe.Element) string {
	for c := range failure.Children() {
		if slices.Contains(saslConditions, string(c.Local)) {
			return string(c.Local)
		}
	}
	return "not-authorized"
}

// appendClassicFailure is row 6: the condition, and the text in the namespace of classic SASL; nothing else.
func appendClassicFailure(b []byte, failure xmlframe.Element) ([]byte, string) {
	condition := saslCondition(failure)
	b = append(b, "<failure xmlns='"+ns.SASL+"'><"...)
	b = append(b, condition...)
	b = append(b, "/>"...)
	for c := range failure.Children() {
		if string(c.Local) != "text" || string(c.Space) != ns.SASL2 && string(c.Space) != ns.SASL {
			continue
		}
		b = append(b, "<text"...)
		if lang, ok := c.Attr(ns.XML, "lang"); ok {
			b = append(b, " xml:lang='"...)
			b = append(xmlframe.AppendEscaped(b, lang), '\'')
		}
		b = append(b, '>')
		b = append(xmlframe.AppendEscaped(b, c.Text()), "</text>"...)
		break
	}
	return append(b, "</failure>"...), condition
}

// account returns the bare JID that an attempt is for, "" if that cannot be read off it (UP-104).
func (a *attempt) account(domain string) string {
	b64, _ := octets(a.data)
	raw, err := base64.StdEncoding.DecodeString(b64)
	if err != nil {
		return ""
	}
	data, user := string(raw), ""
	switch {
	case a.mechanism == plain: // authzid NUL authcid NUL password (RFC 4616 §2)
		if parts := strings.Split(data, "\x00"); len(parts) == 3 {
			user = parts[1]
		}
	case strings.HasPrefix(a.mechanism, "SCRAM-"): // gs2-header n=…,r=… (RFC 5802 §7)
		_, bare := cutGS2(data)
		for field := range strings.SplitSeq(bare, ",") {
			if u, ok := strings.CutPrefix(field, "n="); ok {
				user = gs2Name.Replace(u)
				break
			}
		}
	case a.mechanism == "OAUTHBEARER": // n,a=… (RFC 7628 §3.1)
		authzid, _ := cutGS2(data)
		user = gs2Name.Replace(strings.TrimPrefix(authzid, "a="))
	}
	return accountOf(user, domain)
}

// gs2Name undoes the two escapes of a saslname (RFC 5802 §5.1).
var gs2Name = strings.NewReplacer("=2C", ",", "=3D", "=")

// cutGS2 splits a message behind its GS2 header (RFC 5801 §4): flag, authzid, rest.
func cutGS2(s string) (authzid, rest string) {
	_, s, _ = strings.Cut(s, ",")
	authzid, rest, _ = strings.Cut(s, ",")
	return authzid, rest
}

// accountOf makes a bare JID of a user name, which may be a JID of the domain already.
func accountOf(user, domain string) string {
	local, of, whole := strings.Cut(user, "@")
	if user == "" || whole && !strings.EqualFold(of, domain) {
		return ""
	}
	j, err := jid.New(local, domain, "")
	if err != nil {
		return ""
	}
	return j.String()
}

// bareOf returns the bare JID of a full one, "" if it is none of a user.
func bareOf(full string) string {
	j, err := jid.Parse(full)
	if err != nil || j.Localpart() == "" {
		return ""
	}
	return j.Bare().String()
}
