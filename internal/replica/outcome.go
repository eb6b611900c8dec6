package replica

import (
	"net/http"

	"stanzagate/internal/peer"
)

// Request is one of a browser, for a session that this replica does not have.
type Request struct {
	W    http.ResponseWriter
	R    *http.Request // its body has been read
	Peer peer.Peer     // what is known of the browser
	Body []byte        // as R.Header describes it
}

// Outcome says what became of a request that was handed on.
type Outcome uint8

// Outcomes. Only with Answered, and perhaps with Gone, anything has been written to the browser.
const (
	Answered Outcome = iota
	NotMine          // the replica does not have the session: the store knows better
	Fenced           // the replica must not serve it now: the store may know somebody else
	Dead             // the process is no more: its address refuses connections, or another process is there
	Unknown          // no answer: it may live
	Aborted          // the owner wants the connection to the browser closed without an answer
	Gone             // the browser went away, or the request's context ended
	outcomes
)

// String is the outcome's name in metrics.
func (o Outcome) String() string {
	return [outcomes]string{"answered", "not-mine", "fenced", "dead", "unknown", "aborted", "gone"}[o]
}

// Outcomes lists all, so that series can be made beforehand.
func Outcomes() []Outcome {
	all := make([]Outcome, outcomes)
	for i := range all {
		all[i] = Outcome(i)
	}
	return all
}
