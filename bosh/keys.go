package bosh

import (
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
)

// keyState checks key sequences (XEP-0124 §15). Requests are checked in rid order (AMB-12).
type keyState struct {
	on       bool
	next     [sha1.Size]byte // what the SHA-1 of the next key must be
	answered [sha1.Size]byte // the same behind the last answered request: what another replica has to go on from
}

// start switches checking on (XEP-0124 §15.4: newkey in the creation request).
func (k *keyState) start(newkey string) {
	k.on = true
	k.follow(newkey)
	k.answered = k.next
}

// check verifies a request's key and moves on. It returns a fingerprint of the key, to compare repeats with.
func (k *keyState) check(key, newkey string) (print uint64, ok bool) {
	if !k.on {
		return 0, true
	}
	sum := sha1.Sum([]byte(key)) // over the text as received: the chain may be in upper case (XEP-0124 §15.3)
	if key == "" || sum != k.next {
		return 0, false
	}
	if newkey != "" { // XEP-0124 §15.5: another sequence
		k.follow(newkey)
	} else {
		k.follow(key)
	}
	return binary.BigEndian.Uint64(sum[:]), true
}

// follow makes key the one that the next must hash to. A text that is not a SHA-1 in hex can never be: the next check fails.
func (k *keyState) follow(key string) {
	k.next = [sha1.Size]byte{}
	if len(key) == hex.EncodedLen(sha1.Size) {
		if _, err := hex.Decode(k.next[:], []byte(key)); err != nil {
			k.next = [sha1.Size]byte{}
		}
	}
}

// same says whether a repeat carries the key of the original (BOSH-148).
func (k *keyState) same(print uint64, key string) bool {
	if !k.on || print == 0 { // 0: the creation request had none
		return true
	}
	sum := sha1.Sum([]byte(key))
	return binary.BigEndian.Uint64(sum[:]) == print
}
