// Package upstream is the gateway's side towards the XMPP server: it finds the server of a domain (SRV, XEP-0368, fixed
// addresses), secures the connection, opens the XML stream and moves elements over it as the bytes they came in.
//
// A Dialer is made once; each browser session opens one Stream through it. A Stream starts no goroutine: one goroutine
// calls Recv in a loop, any goroutine may call the rest. Recv never writes to the connection that it reads from.
//
// Vocabulary: an element is a first-level child of the stream; the browser is whoever sits on the other side of the
// gateway; a plain Stream passes everything end to end (WebSocket); a managed one (BOSH) does stream management, and
// re-authentication, on the browser's behalf. Its owner is who holds the session: the replica's session object.
//
// # Managed streams
//
// The browser sees classic SASL and stanzas. What it says goes through Admit, then Send; what the server says comes from
// Recv. Towards the server there may be SASL2 with a FAST token instead of classic SASL, on another connection than the
// features came from, and no stream restart. After the bind request Recv says KindEnabled, once, and only then the bind
// result: whether the server acknowledges stanzas, and by which Class another replica could take the session over. With a
// Class, the owner stores State before it gives the browser the bind result.
//
// The owner counts. Admission.Stanza and Event.Counted say what counts; KindAcked and Ack carry the counters; an <r/> is
// sent with AppendAckRequest. The rules that keep stanzas from being lost or doubled are the owner's (failover design §2):
// no answer to the browser before KindAcked covers it, no Ack before the store knows that the browser has it.
//
// When the connection breaks, or the server does not answer an <r/> in 5 s, Recv resumes the session over another and
// returns KindResumed. From the break on every Send fails with ErrInterrupted, until the owner calls Proceed: nothing that
// was meant for the old connection can slip in before what has to be sent again. On another replica Dialer.Resume does the
// same from the stored State. Both ask Owner.Resuming right before <resume/>, which is where a replica that is not the owner
// any more stops. ErrSessionLost means that there is nothing left to resume.
//
// A clean end is Close, then ForgetToken. Cut leaves the session on the server, for another replica or for the browser.
//
// Specifications: RFC 6120, 6125, 7590, 7622; XEP-0198 1.6.3, 0368 1.1.0, 0388 1.0.4, 0478 0.2.0, 0484 0.2.0;
// draft-schmaus-kitten-sasl-ht-09; PROXY protocol 1 and 2. Identifiers like UP-024 are rows of docs/conformance.md; AMB-n are
// the readings that it names.
package upstream
