// Package replica is what a transport needs to live on several replicas, whatever it speaks: a request for a session may
// reach any of them. Router finds who owns the session, hands the request to it, or takes the session over if its owner is
// no more; Client and Server are the two ends of handing on. None of them knows what a request means.
//
// Handing on is one hop at most: a Server never passes on what it was handed. Between two replicas there is one connection
// for each direction, in which a held request costs a goroutine and not a socket; requests and answers cross it whole, and a
// browser that goes away cancels its request. Whoever sends a frame writes it, so that no other goroutine has to wake: that is
// most of what a hop costs, and why this is not HTTP/2. Signs of life find out within three seconds that the other side has
// stopped. TLS 1.3 with a key pair that is derived from the operator's keys makes both ends sure of each other: no foreign host
// gets in or is talked to, and what was recorded on the way neither opens nor can be sent again.
//
// A request may be handed on twice, when the connection broke on the way. So transports hand on what they can tell from a
// repetition.
//
// Vocabulary: the browser side of a request is the replica that it reached; the owner is the replica that has the session.
package replica
