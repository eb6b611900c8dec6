// Package load puts load on an XMPP server or on a gateway in front of one, and measures what comes back: throughput,
// latency, logins per second, and the CPU time and memory of the process under test. `gateway bench` is its command line.
//
// A pair is two sessions that send each other numbered messages; a message is in flight until the other side has it. Every
// session counts what it receives against the numbers it expects, so that a run that lost, doubled or reordered a
// message says so.
//
// The generator must cost less than what it measures: it speaks each protocol by hand over a plain connection, with one
// goroutine per session and no allocation per message. It understands only what it asked for and is not a client library.
// Beside it stand a Stub (an XMPP server that does nothing but route) and a Relay (a TCP relay, the yardstick).
package load
