package load

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// messageBytes is the length of every message that is sent: that of a short chat message with the usual extensions.
const messageBytes = 400

// mark stands in front of the number and the time in a message's body. A body is told from anything else that servers send
// by it.
const mark = "stanzagate-load:"

const stampBytes = 16 + 1 + 16 // number and time, both in hexadecimal

var epoch = time.Now()

// now is a monotonic clock in nanoseconds since the process started. Both ends of a pair live in one process.
func now() int64 { return int64(time.Since(epoch)) }

// envelope is a message of one sender to one receiver; the number and time are written into it anew for each.
type envelope struct {
	buf []byte
	at  int // offset of the stamp
}

func newEnvelope(to, xmlns string) *envelope {
	b := append([]byte("<message"+xmlns+" to='"), to...)
	b = append(b, "' type='chat'><body>"+mark...)
	e := &envelope{at: len(b)}
	b = append(b, make([]byte, stampBytes)...)
	b[e.at+16] = ' '
	const tail = "</body><active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/></message>"
	for len(b)+len(tail) < messageBytes {
		b = append(b, " The quick brown fox jumps over the lazy dog."[:min(45, messageBytes-len(b)-len(tail))]...)
	}
	e.buf = append(b, tail...)
	return e
}

// stamp writes number and time into the message and returns it; valid until the next call.
func (e *envelope) stamp(seq uint64, t int64) []byte {
	var raw [8]byte
	binary.BigEndian.PutUint64(raw[:], seq)
	hex.Encode(e.buf[e.at:], raw[:])
	binary.BigEndian.PutUint64(raw[:], uint64(t))
	hex.Encode(e.buf[e.at+17:], raw[:])
	return e.buf
}

// readStamp reads what stamp wrote. b starts behind the mark.
func readStamp(b []byte) (seq uint64, t int64, ok bool) {
	if len(b) < stampBytes {
		return 0, 0, false
	}
	var raw [8]byte
	if _, err := hex.Decode(raw[:], b[:16]); err != nil {
		return 0, 0, false
	}
	seq = binary.BigEndian.Uint64(raw[:])
	if _, err := hex.Decode(raw[:], b[17:33]); err != nil {
		return 0, 0, false
	}
	return seq, int64(binary.BigEndian.Uint64(raw[:])), true
}

// scanMessages calls f for each of our messages that is complete in b and returns how much of b is done with.
func scanMessages(b []byte, f func(seq uint64, t int64)) int {
	done := 0
	for {
		i := bytes.Index(b[done:], []byte(mark))
		if i < 0 {
			return max(done, len(b)-len(mark)) // the mark itself may be cut in two
		}
		at := done + i + len(mark)
		seq, t, ok := readStamp(b[at:])
		if !ok {
			if len(b)-at >= stampBytes {
				done = at // not one of ours
				continue
			}
			return done + i
		}
		f(seq, t)
		done = at + stampBytes
	}
}
