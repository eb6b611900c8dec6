package xmpptest

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"slices"
	"strings"
)

// SASL2 (XEP-0388) and FAST (XEP-0484) of the default script.

// SASL2 says how a Server does SASL2. Two servers are imitated by it.
type SASL2 struct {
	Mechanisms []string // nil means those of Options
	FAST       []string // HT mechanisms; nil for no FAST
	NeedsFrom  bool     // SASL2 is offered only to who names itself in the header, as one server does
	ListsFrom  bool     // FAST is listed only to who names itself, as another does
	NeedsTLS   bool     // SASL2 is offered over TLS only
	CheckFrom  bool     // who signs in must be who the header names
	Rotate     bool     // each login by token gives a new one
	Expiry     string   // of tokens; "" means 2027-01-01T00:00:00Z
	Types      bool     // list types of channel binding
}

// Faults are what a Server does wrong from now on; see Server.SetFaults.
type Faults struct {
	RefuseEnable bool
	RefuseResume string   // raw XML inside <failed/>
	FailedAttrs  string   // attributes of <failed/>
	NoAcks       bool     // <r/> is not answered
	TooMuch      uint32   // added to h in <a/>
	WrongProof   bool     // the server does not know the token
	RefuseToken  string   // SASL condition for every login by token
	RefuseOnce   bool     // but for the first one only
	Continue     bool     // SASL2 wants a second factor
	NoFeatures   bool     // none after SASL2 success
	BareFailure  bool     // SASL2 failures without the namespace of conditions
	PostAuth     string   // further features after authentication, raw XML
	NoSASL2      bool     // it is not offered any more
	NoTypes      bool     // nor are types of channel binding, whatever SASL2.Types says
	FAST         []string // HT mechanisms in place of SASL2.FAST; nil for no change
	Mechanisms   []string // in place of those of Options, in both profiles; nil for no change
}

// SetFaults replaces the faults.
func (s *Server) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

func (s *Server) faults() Faults {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault
}

// stored is a token of an account and user agent. The old one is good until the new one is used.
type stored struct {
	value, mechanism string
	old              string
}

// Tokens returns how many user agents of a user have a token.
func (s *Server) Tokens(user string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for k := range s.tokens {
		if u, _, _ := strings.Cut(k, "\x00"); u == user {
			n++
		}
	}
	return n
}

// offersSASL2 returns the features that offer SASL2 on this stream.
func (c *Conn) offersSASL2() string {
	o, f := c.srv.opt.SASL2, c.srv.faults()
	_, encrypted := c.nc.(*tls.Conn)
	if o == nil || f.NoSASL2 || o.NeedsFrom && c.from == "" || o.NeedsTLS && !encrypted {
		return ""
	}
	list := o.Mechanisms
	if list == nil {
		list = c.mechanismList()
	}
	inline, types, fast := "", "", o.FAST
	if f.FAST != nil {
		fast = f.FAST
	}
	if len(fast) > 0 && (!o.ListsFrom || c.from != "") {
		inline = "<fast xmlns='urn:xmpp:fast:0'>" + mechanisms(fast) + "</fast>"
	}
	if o.Types && !f.NoTypes {
		types = "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/></sasl-channel-binding>"
	}
	return types + "<authentication xmlns='urn:xmpp:sasl:2'>" + mechanisms(list) + "<inline>" + inline +
		"<sm xmlns='urn:xmpp:sm:3'/><bind xmlns='urn:xmpp:bind:0'/></inline></authentication>"
}

func mechanisms(names []string) string {
	return "<mechanism>" + strings.Join(names, "</mechanism><mechanism>") + "</mechanism>"
}

// authenticate2 answers one <authenticate/>. ok: signed in.
func (c *Conn) authenticate2(n Node) (ok bool, err error) {
	o, f := c.srv.opt.SASL2, c.srv.faults()
	mechanism, agent := n.Attr("mechanism"), n.Child("user-agent").Attr("id")
	refuse := func(condition string) (bool, error) {
		ns := " xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"
		if f.BareFailure {
			ns = ""
		}
		c.Send("<failure xmlns='urn:xmpp:sasl:2'><" + condition + ns + "/><text>no</text><x xmlns='urn:x'/></failure>")
		return false, nil
	}
	if strings.HasPrefix(mechanism, "HT-") {
		return c.byToken(n, mechanism, agent, refuse)
	}
	if o.Mechanisms != nil && !slices.Contains(o.Mechanisms, mechanism) {
		return refuse("invalid-mechanism")
	}
	data, _ := base64.StdEncoding.DecodeString(n.Child("initial-response").Text)
	user, ok, err := c.exchange(mechanism, data, "urn:xmpp:sasl:2")
	switch {
	case err != nil:
		return false, err
	case !ok, o.CheckFrom && c.from != "" && c.from != user+"@"+c.srv.opt.Domain:
		return refuse("not-authorized")
	case f.Continue:
		c.Send("<continue xmlns='urn:xmpp:sasl:2'><additional-data>eA==</additional-data><tasks><task>TOTP</task></tasks></continue>")
		return false, nil
	}
	token := ""
	if r := n.Child("request-token"); r.Name.Local != "" && agent != "" && len(o.FAST) > 0 {
		token = c.issue(user, agent, r.Attr("mechanism"))
	}
	c.success2(user, "", token)
	return true, nil
}

func (c *Conn) success2(user, data, token string) {
	c.mu.Lock()
	c.authUser = user
	c.mu.Unlock()
	if data != "" {
		data = "<additional-data>" + data + "</additional-data>"
	}
	c.Send("<success xmlns='urn:xmpp:sasl:2'>" + data + "<authorization-identifier>" + user + "@" + c.srv.opt.Domain +
		"</authorization-identifier>" + token + "</success>")
}

// issue makes a token and returns its element.
func (c *Conn) issue(user, agent, mechanism string) string {
	t := rand.Text()
	c.srv.mu.Lock()
	key := user + "\x00" + agent
	c.srv.tokens[key] = stored{value: t, mechanism: mechanism, old: c.srv.tokens[key].value}
	c.srv.mu.Unlock()
	expiry := c.srv.opt.SASL2.Expiry
	if expiry == "" {
		expiry = "2027-01-01T00:00:00Z"
	}
	return "<token xmlns='urn:xmpp:fast:0' token='" + t + "' expiry='" + expiry + "'/>"
}

// byToken is a login by FAST.
func (c *Conn) byToken(n Node, mechanism, agent string, refuse func(string) (bool, error)) (bool, error) {
	o, f := c.srv.opt.SASL2, c.srv.faults()
	if condition := f.RefuseToken; condition != "" {
		if f.RefuseOnce {
			f.RefuseToken = ""
			c.srv.SetFaults(f)
		}
		return refuse(condition)
	}
	raw, _ := base64.StdEncoding.DecodeString(n.Child("initial-response").Text)
	name, proof, found := bytes.Cut(raw, []byte{0})
	user := string(name)
	key := user + "\x00" + agent
	c.srv.mu.Lock()
	t := c.srv.tokens[key]
	c.srv.mu.Unlock()
	var binding []byte
	if strings.HasSuffix(mechanism, "-EXPR") {
		tc, encrypted := c.nc.(*tls.Conn)
		if !encrypted {
			return refuse("not-authorized")
		}
		cs := tc.ConnectionState()
		var err error
		if binding, err = cs.ExportKeyingMaterial("EXPORTER-Channel-Binding", []byte{}, 32); err != nil {
			return false, err
		}
	}
	value := ""
	for _, v := range []string{t.value, t.old} {
		if v != "" && hmac.Equal(proof, tokenProof(v, "Initiator", binding)) {
			value = v
		}
	}
	if !found || value == "" || t.mechanism != mechanism || n.Child("fast").Name.Local == "" || c.from != user+"@"+c.srv.opt.Domain {
		return refuse("not-authorized")
	}
	c.srv.mu.Lock()
	if value == t.value {
		c.srv.tokens[key] = stored{value: t.value, mechanism: t.mechanism}
	}
	if n.Child("fast").Attr("invalidate") == "true" {
		delete(c.srv.tokens, key)
	}
	c.srv.mu.Unlock()
	answer := tokenProof(value, "Responder", binding)
	if f.WrongProof {
		answer = make([]byte, len(answer))
	}
	token := ""
	if r := n.Child("request-token"); o.Rotate || r.Name.Local != "" {
		token = c.issue(user, agent, mechanism)
	}
	c.success2(user, base64.StdEncoding.EncodeToString(answer), token)
	return true, nil
}

func tokenProof(token, side string, binding []byte) []byte {
	m := hmac.New(sha256.New, []byte(token))
	m.Write([]byte(side))
	m.Write(binding)
	return m.Sum(nil)
}
