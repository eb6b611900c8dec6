package bosh

import "time"

// reportAfter is the age from which an unacknowledged response is reported to the browser (XEP-0124 §9.2): a browser that
// is one behind is normal with two requests in flight (AMB-7).
const reportAfter = 2 * time.Second

// reportMax is the longest time that a report can tell: milliseconds in an unsignedShort.
const reportMax = 65535 * time.Millisecond

// ackState is what the browser has said about responses (XEP-0124 §9.2, §14.3).
type ackState struct {
	explicit bool   // it acknowledges
	proved   uint64 // it has all responses up to here
	report   uint64 // response that it should be told of; 0: none
}

// proof returns up to which rid the browser has all responses, judging by a new request. answered is the highest rid
// answered. It is not above it; ok is false if the request says so.
//
// Without acknowledgements only the limit of requests tells (failover-design 6): a browser whose places were all taken
// by requests that have no answer yet has no place left for one that waits for a lost answer. Otherwise answers are kept
// for twice as many rids as it has places. "rid N proves N-1" would be wrong, and so would "N-W".
func (a *ackState) proof(r *request, answered uint64, window int, special bool) (rid uint64, ok bool) {
	if a.explicit {
		if !r.hasAck {
			return min(r.rid-1, answered), true // XEP-0124 §9.2: all earlier ones
		}
		return min(r.ack, answered), r.ack <= answered
	}
	places := uint64(window - 1)
	if special {
		places++ // XEP-0124 §11: these may use one place more
	}
	if r.rid-1-answered >= places {
		return answered, true
	}
	keep := 2 * uint64(window)
	return answered - min(answered, keep), true
}

// prove remembers a proof.
func (a *ackState) prove(rid uint64) { a.proved = max(a.proved, rid) }
