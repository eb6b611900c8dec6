package bosh

import (
	"crypto/sha1"
	"encoding/hex"
	"strings"
	"testing"
)

// XEP-0124 §15: key sequences.

// keyChain returns n keys in the order of use, and the newkey that announces them.
func keyChain(seed string, n int, upper bool) (keys []string, newkey string) {
	keys = make([]string, n+1)
	keys[n] = seed
	for i := n; i > 0; i-- {
		sum := sha1.Sum([]byte(keys[i]))
		if keys[i-1] = hex.EncodeToString(sum[:]); upper {
			keys[i-1] = strings.ToUpper(keys[i-1])
		}
	}
	return keys[1:], keys[0]
}

func keyed(key, newkey string) func(*request) {
	return func(r *request) { r.key, r.newkey = key, newkey }
}

// Covers: BOSH-145.
func TestXEP0124_15_Vector(t *testing.T) {
	var k keyState
	k.start("ca393b51b682f61f98e7877d61146407f3d0a770")
	if _, ok := k.check("bfb06a6f113cd6fd3838ab9d300fdb4fe3da2f7d", ""); !ok {
		t.Error("the XEP's example is refused")
	}
}

// Covers: BOSH-049, BOSH-145, BOSH-150.
func TestXEP0124_15_4_Chain(t *testing.T) {
	for _, upper := range []bool{false, true} {
		keys, newkey := keyChain("seed", 5, upper)
		p := newProbe(t, testConfig(), keyed("", newkey)).login()
		for i, key := range keys {
			p.send(1001+uint64(i), keyed(key, ""), stanzas("<m/>"))
			p.alive()
		}
		if n := len(p.forwards); n != 5 {
			t.Errorf("upper %v: %d requests forwarded", upper, n)
		}
	}
}

// Covers: BOSH-146.
func TestXEP0124_15_4_WrongKey(t *testing.T) {
	keys, newkey := keyChain("seed", 5, false)
	for name, key := range map[string]string{"wrong": keys[2], "missing": "", "replayed": newkey, "no hex": "x"} {
		t.Run(name, func(t *testing.T) {
			p := newProbe(t, testConfig(), keyed("", newkey)).login()
			p.expect(p.send(1001, keyed(key, ""), stanzas("<m/>")), "terminate item-not-found")
			p.ended("item-not-found")
			p.sent("")
		})
	}
}

// Covers: BOSH-147.
func TestXEP0124_15_4_KeysAreCheckedInRidOrder(t *testing.T) {
	keys, newkey := keyChain("seed", 5, false)
	p := newProbe(t, testConfig(), keyed("", newkey)).login()
	p.send(1002, keyed(keys[1], ""), stanzas("<b/>"))
	p.alive()
	p.send(1001, keyed(keys[0], ""), stanzas("<a/>"))
	p.sent("1001: <a/>; 1002: <b/>")

	p = newProbe(t, testConfig(), keyed("", newkey)).login()
	x := p.send(1002, keyed("wrong", ""), stanzas("<b/>"))
	p.alive()
	y := p.send(1001, keyed(keys[0], ""), stanzas("<a/>"))
	p.expect(x, "terminate item-not-found")
	p.expect(y, "terminate other-request")
	if strings.Contains(p.upstream(), "<b/>") {
		t.Error("payload with a wrong key forwarded")
	}
}

// Covers: BOSH-148.
func TestXEP0124_15_4_RepeatsCarryTheirKey(t *testing.T) {
	keys, newkey := keyChain("seed", 5, false)
	start := func() *probe {
		p := newProbe(t, testConfig(), keyed("", newkey), holding(2)).login()
		p.send(1001, keyed(keys[0], ""))
		p.deliver(0, "<m/>")
		p.send(1002, keyed(keys[1], ""))
		p.send(1004, keyed(keys[3], ""), stanzas("<d/>"))
		return p
	}
	p := start()
	p.expect(p.send(1001, keyed(keys[0], "")), "<m/>")
	p.open(p.send(1002, keyed(keys[1], "")))
	p.open(p.send(1004, keyed(keys[3], ""), stanzas("<d/>")))
	p.send(1003, keyed(keys[2], ""))
	p.send(1005, keyed(keys[4], ""))
	p.alive()
	for rid := uint64(1001); rid <= 1004; rid++ {
		if rid != 1003 {
			p := start()
			p.expect(p.send(rid, keyed(keys[4], "")), "terminate item-not-found")
			p.ended("item-not-found")
		}
	}
}

// Covers: BOSH-149.
func TestXEP0124_15_5_NewSequence(t *testing.T) {
	keys, newkey := keyChain("seed", 2, false)
	more, switching := keyChain("other", 2, true)
	p := newProbe(t, testConfig(), keyed("", newkey)).login()
	p.send(1001, keyed(keys[0], ""))
	p.send(1002, keyed(keys[1], switching))
	p.send(1003, keyed(more[0], ""))
	p.alive()
	p.expect(p.send(1004, keyed(keys[1], "")), "terminate item-not-found")
}

// Covers: BOSH-144.
func TestXEP0124_15_1_KeysOff(t *testing.T) {
	config := testConfig()
	config.keys = false
	_, newkey := keyChain("seed", 2, false)
	p := newProbe(t, config, keyed("", newkey)).login()
	p.send(1001, keyed("wrong", ""))
	p.send(1002)
	p.alive()

	p = newProbe(t, testConfig()).login() // no newkey at creation
	p.send(1001, keyed("wrong", newkey))
	p.send(1002)
	p.alive()
}

// Covers: BOSH-151, BOSH-148.
func TestXEP0124_15_4_ChainSurvivesTheReplica(t *testing.T) {
	keys, newkey := keyChain("seed", 6, false)
	t.Run("go on", func(t *testing.T) {
		p := keyedManagedProbe(t, keys, newkey)
		q := restored(t, p, 0)
		q.send(1003, keyed(keys[2], ""))
		q.send(1004, keyed(keys[3], ""))
		q.alive()
		q.expect(q.send(1005, keyed(keys[5], "")), "terminate item-not-found")
	})
	t.Run("repeat of an answered request", func(t *testing.T) {
		q := restored(t, keyedManagedProbe(t, keys, newkey), 0)
		q.expect(q.send(1002, keyed(keys[1], "")), "empty")
		q.expect(q.send(1002, keyed(keys[2], "")), "terminate item-not-found")
	})
	t.Run("repeat of an unanswered request", func(t *testing.T) {
		p := keyedManagedProbe(t, keys, newkey)
		p.send(1003, keyed(keys[2], "")) // held: the record stands behind 1002
		q := restored(t, p, 0)
		q.open(q.send(1003, keyed(keys[2], "")))
		q.alive()
	})
}

// keyedManagedProbe has answered 1001 and 1002.
func keyedManagedProbe(t *testing.T, keys []string, newkey string) *probe {
	p := newProbe(t, managedConfig(), confirming, keyed("", newkey)).login()
	p.send(1001, keyed(keys[0], ""))
	p.manage(true)
	p.deliver(0, "!<bound/>")
	p.send(1002, keyed(keys[1], ""), pausing(60))
	return p
}
