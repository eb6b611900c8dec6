package websocket

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"

	"stanzagate/internal/ns"
	"stanzagate/internal/readbuf"
	"stanzagate/internal/xmlframe"
)

// RFC 6455 §5.2: the three forms of the length, at their borders.
func TestTextFrameLengths(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 127, 65535, 65536, 200_000} {
		payload := strings.Repeat("x", n)
		before := []byte("what was there before")
		b := endText(append(beginText(bytes.Clone(before)), payload...), len(before))
		if !bytes.HasPrefix(b, before) {
			t.Fatalf("%d: changed what was there before", n)
		}
		reader := &browser{t: t, conn: &memoryConn{newHalf(), newHalf()}, r: bufio.NewReader(bytes.NewReader(b[len(before):]))}
		op, got, err := reader.next()
		if err != nil || op != opText || got != payload || reader.r.Buffered() != 0 {
			t.Errorf("%d: opcode %d, %d bytes, %v", n, op, len(got), err)
		}
		// The shortest form is demanded.
		switch head := b[len(before)+1]; {
		case n < 126 && head != byte(n), n >= 126 && n < 65536 && head != 126, n >= 65536 && head != 127:
			t.Errorf("%d: second byte %d", n, head)
		}
	}
}

// RFC 6455 §5.3.
func TestUnmask(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 200 {
		plain, key := make([]byte, n), make([]byte, 4)
		for i := range plain {
			plain[i] = byte(random.Uint32())
		}
		binary.LittleEndian.PutUint32(key, random.Uint32())
		got := make([]byte, n)
		for i := range plain {
			got[i] = plain[i] ^ key[i%4]
		}
		unmask(got, key)
		if !bytes.Equal(got, plain) {
			t.Fatalf("%d bytes: %x, want %x", n, got, plain)
		}
	}
}

// What peek lets through must be what RFC 6455 §5.2 allows, and every prefix of it is partial.
func TestPeek(t *testing.T) {
	for name, c := range map[string]struct {
		b    []byte
		want verdict
	}{
		"text":                 {masked(fin|opText, "x"), frameWhole},
		"medium text":          {masked(fin|opText, strings.Repeat("x", 126)), frameWhole},
		"a block":              {masked(fin|opText, strings.Repeat("x", readbuf.BlockBytes-8)), frameWhole},
		"ping":                 {masked(fin|opPing, strings.Repeat("x", 125)), frameWhole},
		"pong":                 {masked(fin|opPong, ""), frameWhole},
		"more than a block":    {masked(fin|opText, strings.Repeat("x", readbuf.BlockBytes-7)), frameOther},
		"big":                  {masked(fin|opText, strings.Repeat("x", 70_000)), frameOther},
		"fragment":             {masked(opText, "x"), frameOther},
		"continuation":         {masked(fin|opContinuation, "x"), frameOther},
		"compressed":           {masked(fin|0x40|opText, "x"), frameOther},
		"binary":               {masked(fin|opBinary, "x"), frameOther},
		"close":                {masked(fin|opClose, ""), frameOther},
		"long ping":            {masked(fin|opPing, strings.Repeat("x", 126)), frameOther},
		"not masked":           {[]byte{fin | opText, 1, 'x'}, frameOther},
		"with something after": {append(masked(fin|opText, "x"), "more"...), frameWhole},
	} {
		f, v := peek(c.b)
		if v != c.want {
			t.Errorf("%s: %d", name, v)
		}
		if v != frameWhole {
			continue
		}
		for i := range f.head + f.payload {
			if _, v := peek(c.b[:i]); v != framePartial {
				t.Errorf("%s: %d of its bytes are %d", name, i, v)
			}
		}
	}
}

// Covers: WS-018.
func TestStandaloneError(t *testing.T) {
	inner := "<conflict xmlns='" + ns.Streams + "'/>"
	for name, c := range map[string]struct{ raw, want string }{
		"leans on the root": {"<stream:error>" + inner + "</stream:error>", `<stream:error xmlns:stream="` + ns.Stream + `">` + inner + "</stream:error>"},
		"declares itself":   {"<stream:error xmlns:stream='" + ns.Stream + "'>" + inner + "</stream:error>", "<stream:error xmlns:stream='" + ns.Stream + "'>" + inner + "</stream:error>"},
		"other prefix": {
			"<s:error xmlns:s='" + ns.Stream + "'>" + inner + "</s:error>",
			`<stream:error xmlns:stream="` + ns.Stream + `" xmlns:s='` + ns.Stream + "'>" + inner + "</stream:error>",
		},
		"default namespace": {
			"<error xmlns='" + ns.Stream + "'>" + inner + "</error>",
			`<stream:error xmlns:stream="` + ns.Stream + `" xmlns='` + ns.Stream + "'>" + inner + "</stream:error>",
		},
		"empty":       {"<error xmlns='" + ns.Stream + "'/>", `<stream:error xmlns:stream="` + ns.Stream + `" xmlns='` + ns.Stream + "'/>"},
		"prefix used": {"<error xmlns='" + ns.Stream + "' xmlns:stream='urn:x'/>", "<error xmlns='" + ns.Stream + "' xmlns:stream='urn:x'/>"},
		"nonsense":    {"<x", string(streamError("undefined-condition"))},
	} {
		got := string(standaloneError([]byte(c.raw)))
		if got != c.want {
			t.Errorf("%s: %s", name, got)
		}
		if _, err := xmlframe.Parse([]byte(got), xmlframe.Limits{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
