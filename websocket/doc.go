// Package websocket lets browsers reach an XMPP server over WebSocket: RFC 7395 on RFC 6455.
//
// Each WebSocket is one XML stream of the browser's, joined to one plain upstream.Stream. Elements go through as the bytes
// they came in; what they inherit from the stream they leave is written into their start tag (xmlframe). Stream management
// stays end to end: the browser's own XEP-0198 session passes untouched and the gateway does none on such a stream. (The
// other two ways of RFC 7395 §3.10, ending stream management here or hiding it, are not built: the first would need state
// that outlives a replica, the second would take from browsers what every one of them uses.)
//
// A rule of the RFC is found by file name:
//
//	handler.go   RFC 7395 §3.1, §3.9; RFC 6455 §4.2, §10    the handshake and who may make it
//	framing.go   RFC 7395 §3.2, §3.3; RFC 6455 §5, §8.1     messages in, elements out
//	open.go      RFC 7395 §3.4, §3.7                        <open/>, and again after SASL
//	close.go     RFC 7395 §3.5, §3.6; RFC 6455 §7           every way to an end
//	ping.go      RFC 7395 §3.8; RFC 6455 §5.5.2             all that depends on time
//	drain.go     RFC 7395 §3.6.1                            moving browsers away, shutting down
//
// Under them lie socket.go and outbox.go (the connection and what waits for it), hijack.go (what coder/websocket does) and
// rest.go (what idle sessions cost).
//
// # Ownership
//
// A session has two goroutines: up reads the browser and writes to the server, down reads the server and writes to the
// browser. Up owns the session: it is the only one that reads or closes the WebSocket, and it takes everything down at the
// end. Whoever else wants an end (down, the timer, Drain) seals what goes to the browser and leaves the rest to up. One
// timer per session, never touched by a message, looks after everything that depends on time. Up and down are roles: while
// there is nothing to do nobody plays them (rest.go).
//
// Nothing is written before it must be: what up has for the server, and what anybody has for the browser, leaves in one
// write before the goroutine waits for more. So many elements share a system call when many are there, and none waits when
// there is one. Buffers are borrowed while data flows and given back before waiting.
//
// What may wait is bounded: towards the server one batch, towards the browser Config.QueueBytes. At the bound reading stops
// and TCP pushes back. A browser that takes nothing for 30 s is dropped.
package websocket
