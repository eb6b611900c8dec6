package bosh

import (
	"crypto/sha1"
	"encoding/hex"
	"strconv"
	"strings"
)

// simKeys is a client's key sequence (XEP-0124 §15): a chain of hashes, used from its end to its start.
type simKeys struct {
	chain []string
	left  int // of the chain
}

func newSimKeys(w *simWorld, n int) simKeys {
	k := simKeys{chain: make([]string, n), left: n}
	seed := strconv.FormatUint(w.rng.Uint64(), 16)
	upper := w.chance(0.3) // a client may build its whole chain in upper case (BOSH-150)
	for i := range k.chain {
		sum := sha1.Sum([]byte(seed))
		seed = hex.EncodeToString(sum[:])
		if upper {
			seed = strings.ToUpper(seed)
		}
		k.chain[i] = seed
	}
	return k
}

// first is the newkey of the creation request.
func (k *simKeys) first() string {
	k.left--
	return k.chain[k.left]
}

// next is the key of the next request, and a newkey when the chain comes to its end.
func (k *simKeys) next(w *simWorld) (key, newkey string) {
	k.left--
	key = k.chain[k.left]
	if k.left == 0 {
		*k = newSimKeys(w, 3+w.rng.IntN(12))
		newkey = k.first()
	}
	return key, newkey
}
