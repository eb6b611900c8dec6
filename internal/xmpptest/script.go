package xmpptest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
)

var unique atomic.Uint64

func fresh(prefix string) string { return prefix + strconv.FormatUint(unique.Add(1), 10) }

// SendHeader sends a stream header with a fresh id and further attributes as raw XML.
func (c *Conn) SendHeader(attrs string) {
	c.Send("<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='" +
		fresh("s") + "' from='" + c.srv.opt.Domain + "' version='1.0' " + attrs + ">")
}

// SendFeatures wraps children in <stream:features/>.
func (c *Conn) SendFeatures(children string) {
	c.Send("<stream:features>" + children + "</stream:features>")
}

// Mechanisms is the SASL feature of the server's mechanisms.
func (c *Conn) Mechanisms() string {
	return "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" + mechanisms(c.mechanismList()) + "</mechanisms>"
}

func (c *Conn) mechanismList() []string {
	if f := c.srv.faults(); f.Mechanisms != nil {
		return f.Mechanisms
	}
	return c.srv.opt.Mechanisms
}

const (
	featTLS         = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>"
	featTLSOptional = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
	featBind        = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"
	featSM          = "<sm xmlns='urn:xmpp:sm:3'/>"
)

// Login runs the default script up to the bind result: headers, TLS, SASL, bind. The error says why it ended early.
func (c *Conn) Login() error {
	if err := c.Secure(); err != nil {
		return err
	}
	if err := c.Authenticate(); err != nil {
		return err
	}
	if !c.sasl2 {
		if _, err := c.ReadHeader(); err != nil {
			return err
		}
		c.SendHeader("")
	}
	sm := ""
	if c.srv.opt.Resumable {
		sm = featSM
	}
	if !c.sasl2 || !c.srv.faults().NoFeatures {
		c.SendFeatures(featBind + sm + c.srv.opt.PostAuth + c.srv.faults().PostAuth)
	}
	for c.JID() == "" {
		n, err := c.Read()
		if err != nil {
			return err
		}
		if n.Name.Local == "resume" {
			c.resume(n)
			continue
		}
		c.handle(n)
	}
	return nil
}

// Secure reads the PROXY header, does TLS as the options say, and leaves the connection behind the features that offer
// SASL.
func (c *Conn) Secure() error {
	o := c.srv.opt
	if o.Proxy {
		if err := c.readProxy(); err != nil {
			return err
		}
	}
	if o.TLS != nil && o.Direct {
		if err := c.Handshake(); err != nil {
			return err
		}
	}
	if _, err := c.ReadHeader(); err != nil {
		return err
	}
	c.SendHeader("")
	if o.TLS == nil || o.Direct {
		c.SendFeatures(c.Mechanisms() + c.offersSASL2() + o.PreAuth)
		return nil
	}
	if !o.Optional {
		c.SendFeatures(featTLS)
	} else {
		c.SendFeatures(featTLSOptional + c.Mechanisms())
	}
	n, err := c.Read()
	if err != nil {
		return err
	}
	if n.Name.Local != "starttls" {
		c.StreamError("policy-violation")
		return errors.New("no starttls")
	}
	if err := c.StartTLS(); err != nil {
		return err
	}
	if _, err := c.ReadHeader(); err != nil {
		return err
	}
	c.SendHeader("")
	c.SendFeatures(c.Mechanisms() + c.offersSASL2() + o.PreAuth)
	return nil
}

// Authenticate answers SASL attempts until one succeeds.
func (c *Conn) Authenticate() error {
	for {
		n, err := c.Read()
		if err != nil {
			return err
		}
		if n.Name.Local == "authenticate" && c.srv.opt.SASL2 != nil {
			ok, err := c.authenticate2(n)
			if err != nil || ok {
				c.sasl2 = ok
				return err
			}
			continue
		}
		if n.Name.Local != "auth" {
			c.StreamError("not-authorized")
			return errors.New("not authorized: " + n.Name.Local)
		}
		data, _ := base64.StdEncoding.DecodeString(n.Text)
		user, ok, err := c.exchange(n.Attr("mechanism"), data, "urn:ietf:params:xml:ns:xmpp-sasl")
		if err != nil {
			return err
		}
		if !ok {
			c.Send("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>")
			continue
		}
		c.mu.Lock()
		c.authUser = user
		c.mu.Unlock()
		c.Send("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
		return nil
	}
}

// exchange goes through one mechanism, in either namespace.
func (c *Conn) exchange(mech string, data []byte, space string) (user string, ok bool, err error) {
	user, ok, err = c.mechanism(mech, data, space)
	if real := c.srv.opt.Alias[user]; real != "" {
		user = real
	}
	return user, ok, err
}

func (c *Conn) mechanism(mech string, data []byte, space string) (user string, ok bool, err error) {
	switch {
	case mech == "PLAIN":
		parts := bytes.Split(data, []byte{0})
		if len(parts) != 3 {
			return "", false, nil
		}
		return string(parts[1]), string(parts[2]) != "wrong", nil
	case mech == "ANONYMOUS":
		return fresh("anon"), true, nil
	case mech == "EXTERNAL":
		return c.external(string(data))
	}
	c.Send("<challenge xmlns='" + space + "'>" +
		base64.StdEncoding.EncodeToString([]byte("r=x,s=eA==,i=1")) + "</challenge>")
	n, err := c.Read()
	if err != nil {
		return "", false, err
	}
	for f := range strings.SplitSeq(string(data), ",") {
		if u, found := strings.CutPrefix(f, "n="); found {
			user = u
		}
	}
	return user, n.Name.Local == "response" && user != "", nil
}

// external signs in who a client certificate names by XmppAddr (RFC 6120 §13.7.1.4).
func (c *Conn) external(authzid string) (user string, ok bool, err error) {
	t, encrypted := c.nc.(*tls.Conn)
	if !encrypted || len(t.ConnectionState().PeerCertificates) == 0 {
		return "", false, nil
	}
	cert := t.ConnectionState().PeerCertificates[0]
	for _, e := range cert.Extensions {
		// The name stands in the extension as it is; good enough for a test server, which trusts its CA.
		if e.Id.String() == "2.5.29.17" && bytes.HasSuffix(e.Value, []byte(authzid)) {
			user, _, ok = strings.Cut(authzid, "@")
		}
	}
	return user, ok, nil
}

func (c *Conn) readProxy() error {
	r := bufio.NewReader(c.plain)
	head, err := r.Peek(6)
	if err != nil {
		return err
	}
	var raw []byte
	if string(head) == "PROXY " {
		raw, err = r.ReadBytes('\n')
	} else {
		raw = make([]byte, 16)
		if _, err = io.ReadFull(r, raw); err == nil {
			rest := make([]byte, binary.BigEndian.Uint16(raw[14:]))
			_, err = io.ReadFull(r, rest)
			raw = append(raw, rest...)
		}
	}
	early, _ := r.Peek(r.Buffered())
	c.mu.Lock()
	c.proxy = raw
	c.pending = bytes.Clone(early)
	c.mu.Unlock()
	return err
}

// script is the default: log in, then route until the client goes.
func (c *Conn) script() {
	if err := c.Login(); err != nil {
		c.lost(err)
		if errors.Is(err, errStreamEnd) {
			c.CloseStream()
		}
		return
	}
	c.Serve()
}

// Serve routes stanzas of a bound connection until the client closes or is lost.
func (c *Conn) Serve() {
	for {
		n, err := c.Read()
		if err != nil {
			c.lost(err)
		}
		if errors.Is(err, errStreamEnd) {
			c.CloseStream()
			return
		}
		if err != nil {
			return
		}
		c.handle(n)
	}
}
