// Package upstream is the gateway's side towards the XMPP server: it finds the server of a domain (SRV, XEP-0368, fixed
// addresses), secures the connection, opens the XML stream and moves elements over it as the bytes they came in.
//
// A Dialer is made once; each browser session opens one Stream through it. A Stream starts no goroutine: one goroutine
// calls Recv in a loop, any goroutine may call the rest. Recv never writes to the network.
//
// Vocabulary: an element is a first-level child of the stream; the browser is whoever sits on the other side of the
// gateway; a plain Stream passes everything end to end (WebSocket), a managed one does XEP-0198 and SASL2/FAST on the
// browser's behalf so that the session can be resumed on another replica (BOSH).
package upstream
