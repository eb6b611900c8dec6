package bosh

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func exampleLedgers() []ledger {
	return []ledger{
		{},
		{low: 1000, u: 7, d: 9},
		{low: 1<<53 - 10, u: 1<<32 - 1, d: 1<<32 - 1, rids: []rung{{u: 1}, {}, {d: 1<<32 - 1}}},
		{low: 5, rids: []rung{{u: 3, d: 4, key: 1<<64 - 1}}, keyed: true, key: [20]byte{1, 2, 255}},
		{low: 5, rids: []rung{{}, {}}, csi: csiInactive, paused: true, pause: 120, base: 9, bound: 7, bind: []byte("<iq>ü \x00</iq>")},
	}
}

func TestLedgerRoundTrip(t *testing.T) {
	for _, l := range exampleLedgers() {
		text := string(l.append(nil))
		got, err := decodeLedger(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if !reflect.DeepEqual(*got, l) {
			t.Errorf("%s: got %+v, want %+v", text, *got, l)
		}
	}
}

func TestLedgerIsSmall(t *testing.T) {
	l := ledger{low: 1<<53 - 10, u: 100_000, d: 3_000_000, rids: []rung{{1, 0, 0}, {0, 30, 0}, {2, 1, 0}, {1, 1, 0}}}
	if text := string(l.append(nil)); len(text) > 60 {
		t.Errorf("%d bytes: %s", len(text), text)
	}
}

func TestLedgerDecodeIsStrict(t *testing.T) {
	for name, text := range map[string]string{
		"empty":              "",
		"other format":       "c2 1 2 3",
		"too short":          "c1 1 2",
		"negative":           "c1 -1 2 3",
		"sign":               "c1 +1 2 3",
		"upper case":         "c1 A 2 3",
		"leading zero":       "c1 01 2 3",
		"double space":       "c1 1  2 3",
		"rid too large":      "c1 2gosa7pa2gx 0 0",
		"count too large":    "c1 1 1z141z4 0",
		"half a rung":        "c1 1 2 3 1",
		"unknown field":      "c1 1 2 3 x=1",
		"csi":                "c1 1 2 3 s=3",
		"short key":          "c1 1 2 3 k=00",
		"key, no hex":        "c1 1 2 3 k=" + strings.Repeat("x", 40),
		"twice":              "c1 1 2 3 s=1 s=2",
		"order":              "c1 1 2 3 p=5 s=1",
		"rung behind field":  "c1 1 2 3 s=1 1.1",
		"bind in no answer":  "c1 1 2 3 r=9 b=AA",
		"bind without rid":   "c1 1 2 3 1.1 b=AA",
		"bind, bad base64":   "c1 1 2 3 1.1 r=2 b=A",
		"too many":           "c1 1 2 3" + strings.Repeat(" 1.1", 900),
		"something behind":   "c1 1 2 3 ",
		"something in front": " c1 1 2 3",
	} {
		if l, err := decodeLedger(text); err == nil {
			t.Errorf("%s: %q is read as %+v", name, text, l)
		} else if !errors.Is(err, errLedger) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecodeLedger(f *testing.F) {
	for _, l := range exampleLedgers() {
		f.Add(string(l.append(nil)))
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, err := decodeLedger(text)
		if err != nil {
			return
		}
		if again := string(l.append(nil)); again != text {
			t.Errorf("%q is written as %q", text, again)
		}
	})
}

// Whatever the store holds, a machine is made of it or refused, and takes requests.
func FuzzRestoreMachine(f *testing.F) {
	set := negotiate(ptr(testConfig()), &request{rid: 1000, hasVer: true, ver: version{1, 6}, to: "example.org"}, []string{"A"})
	for _, l := range exampleLedgers() {
		f.Add(set.encode(), string(l.append(nil)), uint64(1001), uint32(3))
	}
	f.Fuzz(func(t *testing.T, settings, counters string, rid uint64, h uint32) {
		config := testConfig()
		m, _, err := restoreMachine(probeStart, &config, "sid", []string{"X", "Y"}, settings, counters)
		if err != nil {
			return
		}
		if _, err := decodeSettings(m.settings()); err != nil {
			t.Fatal(err)
		}
		rid &= 1<<53 - 1
		m.request(probeStart, 1, &request{rid: rid, sid: "sid"})
		m.resumeFrom()
		m.resumed(probeStart, h)
		m.delivered(probeStart, 0, []element{{raw: []byte("<m/>"), stanza: true}, {raw: []byte("<n/>"), stanza: true}})
		m.request(probeStart, 2, &request{rid: rid + 1, sid: "sid", payload: []payload{{stanza: true}}})
		m.acked(probeStart, h+1)
		m.tick(probeStart.Add(1 << 40))
	})
}

func ptr[T any](v T) *T { return &v }
