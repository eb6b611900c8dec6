// Package bosh lets browsers reach an XMPP server by HTTP long polling: XEP-0124 1.11.2 and XEP-0206 1.4, and XEP-0252 0.1
// where it is switched on.
//
// A browser posts <body/> elements with payload for the server; each is answered, at once or when there is something to say,
// with a <body/> that has payload for the browser. A session is what its requests have in common: it is named by its sid, and
// orders requests by their rid. Each of its streams is one upstream.Stream.
//
// Vocabulary: an element is a first-level child of a stream or of <body/>; a stanza is an element that is a message, presence
// or iq. A request is held while it has no answer yet, and repeated when it comes with the rid of an earlier one.
//
// The rules of the protocol are a pure state machine: events in, effects out, no I/O (events.go is its contract). Around it is
// a shell that does the I/O.
//
//	the machine
//	  create.go       §7       creation: what is granted of what the browser asked for
//	  rid.go receive.go §14    order and window of requests
//	  replay.go       §14.3    answers that may have been lost
//	  hold.go respond.go §8    which request is answered, when, with what
//	  ack.go          §9       acknowledgements
//	  inactivity.go   §10      inactivity and pauses
//	  overactivity.go §11, §12 too many or too frequent requests
//	  terminate.go    §13, §17 ends and conditions
//	  keys.go         §15      key sequences
//	  streams.go      §16      several streams
//	  restart.go      0206 §5  stream restart, forwarding
//	  counters.go ledger.go saving.go takeover.go   what survives the death of a replica
//	the shell
//	  handler.go      §5       Handler: methods, creation, look-up of sessions
//	  intake.go compress.go    bodies of requests: time, size, content codings
//	  decode.go       §6       <body/> of requests
//	  body.go         §6       <body/> of responses
//	  reply.go        §17.1    HTTP responses, legacy clients, panics
//	  cors.go content.go       header fields
//	  script.go       0252     script syntax
//	  registry.go     §19.3    sids and sessions
//	  session.go               executes effects
//	  lane.go                  what is written to servers
//	  feed.go                  what is read from servers
//	  timer.go bounce.go drain.go
//
// Ownership: a session has one mutex, one timer, and one goroutine for each stream, which reads from it while there is
// something to read. Nothing that may
// block is done under the mutex. What is written to a server is written by the goroutine of the request that brought it; a
// server that takes nothing holds up that request alone. Where the browser does not fetch what comes for it, reading from the
// server stops (Config.QueueBytes), so that TCP makes the server wait.
//
// What does not survive a crash: the session, unless it is managed (class none in the operators' manual). Not supported:
// `charsets` (requests are UTF-8), `route` (where a domain's servers are is the operator's to say, BOSH-038).
package bosh
