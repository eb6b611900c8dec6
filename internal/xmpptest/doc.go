// Package xmpptest is a scripted in-process XMPP server for tests.
//
// Start listens on a loopback port. With the default script it logs any user in (PLAIN, ANONYMOUS, and a SCRAM that
// accepts everything; the password "wrong" is refused), binds, and routes stanzas between its connected sessions. With
// Options.Handler, or Options.Manual and Server.Next, a test drives each connection by hand: it reads headers and elements,
// sends any bytes, stalls, cuts. Every wait has a limit (Patience), so that a wrong test fails instead of hanging.
//
// It parses with encoding/xml on purpose: it shares no code with what it tests.
package xmpptest
