package xmpptest

import (
	"encoding/xml"
	"strings"
)

// handle does what the default script does with an element after authentication.
func (c *Conn) handle(n Node) {
	if c.management(n) {
		return
	}
	switch n.Name.Local {
	case "iq":
		c.iq(n)
	case "message", "presence":
		c.route(n)
	}
}

func (c *Conn) iq(n Node) {
	to, typ := n.Attr("to"), n.Attr("type")
	local := to == "" || to == c.srv.opt.Domain
	switch {
	case n.Child("bind").Name.Local != "" && c.JID() == "":
		res := n.Child("bind").Child("resource").Text
		if res == "" {
			res = fresh("r")
		}
		c.mu.Lock()
		c.jid = c.authUser + "@" + c.srv.opt.Domain + "/" + res
		jid := c.jid
		c.mu.Unlock()
		c.srv.bind(c, jid)
		c.Send("<iq type='result' id='" + escape(n.Attr("id")) + "'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>" +
			escape(jid) + "</jid></bind></iq>")
	case !local:
		c.route(n)
	case typ == "get" || typ == "set":
		body := ""
		if q := n.Child("query"); q.Name.Space == "jabber:iq:roster" {
			body = "<query xmlns='jabber:iq:roster'/>"
		}
		c.reply("<iq type='result' id='" + escape(n.Attr("id")) + "' from='" + escape(c.srv.opt.Domain) + "'>" + body + "</iq>")
	}
}

// route delivers to the sessions that `to` names, stamped with the sender's JID. Presence without `to` goes to all the
// user's sessions; what has no receiver comes back as an error, presence excepted.
func (c *Conn) route(n Node) {
	from, to := c.JID(), n.Attr("to")
	if to == "" {
		to, _, _ = strings.Cut(from, "/")
	}
	var targets []func(string)
	c.srv.mu.Lock()
	for full, x := range c.srv.managed {
		if full == to || strings.HasPrefix(full, to+"/") {
			targets = append(targets, x.deliver)
		}
	}
	for full, t := range c.srv.bound {
		if (full == to || strings.HasPrefix(full, to+"/")) && c.srv.managed[full] == nil {
			targets = append(targets, t.Send)
		}
	}
	c.srv.mu.Unlock()
	out := stamp(n, from)
	for _, send := range targets {
		send(out)
	}
	if len(targets) == 0 && n.Name.Local != "presence" && n.Attr("type") != "error" && n.Attr("type") != "result" {
		c.reply("<" + n.Name.Local + " type='error' id='" + escape(n.Attr("id")) + "' from='" + escape(to) +
			"'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></" + n.Name.Local + ">")
	}
}

// reply sends a stanza to the client itself.
func (c *Conn) reply(raw string) {
	if c.managed != nil {
		c.managed.deliver(raw)
		return
	}
	c.Send(raw)
}

// stamp puts from= into the start tag unless there is one.
func stamp(n Node, from string) string {
	if n.Attr("from") != "" {
		return n.Raw
	}
	i := strings.Index(n.Raw, n.Name.Local) + len(n.Name.Local)
	return n.Raw[:i] + " from='" + escape(from) + "'" + n.Raw[i:]
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}
