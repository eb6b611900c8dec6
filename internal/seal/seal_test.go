package seal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"stanzagate/internal/seal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secret returns a key that tests recognise when it shows somewhere.
func secret(n byte) []byte {
	b := []byte("SECRETKEYMATERIAL-0123456789-abcdef")
	b[len(b)-1] = n
	return b
}

func keys(t testing.TB, numbers ...byte) *seal.Keys {
	t.Helper()
	var all [][]byte
	for _, n := range numbers {
		all = append(all, secret(n))
	}
	k, err := seal.New(all...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// What is sealed opens for the same session, record and associated text, on any replica with the key, and for nothing else.
//
// Covers: UP-086.
func TestSealedOpensForItsSessionOnly(t *testing.T) {
	token, about := []byte("secret-token:fast"), []byte("romeo@example.org/x")
	k := keys(t, 1)
	s := k.Session("sid-1", k.RecordKey("sid-1"))
	sealed, err := s.Seal(token, about)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, token[:6]) {
		t.Error("the token shows")
	}
	again, err := s.Seal(token, about)
	if err != nil || bytes.Equal(sealed, again) {
		t.Errorf("sealed twice it looks the same; %v", err)
	}
	other := keys(t, 1) // another replica
	got, err := other.Session("sid-1", other.RecordKey("sid-1")).Open(sealed, about)
	if err != nil || !bytes.Equal(got, token) {
		t.Errorf("on another replica: %q, %v", got, err)
	}
	for name, c := range map[string]struct {
		s     *seal.Session
		about string
		want  error
	}{
		"another session":    {k.Session("sid-2", k.RecordKey("sid-1")), string(about), seal.ErrOpen},
		"another record":     {k.Session("sid-1", k.RecordKey("sid-2")), string(about), seal.ErrOpen},
		"another text":       {s, "juliet@example.org/x", seal.ErrOpen},
		"no text":            {s, "", seal.ErrOpen},
		"record runs over":   {k.Session("sid-1", k.RecordKey("sid-1")+"r"), string(about[1:]), seal.ErrOpen},
		"another key":        {keys(t, 2).Session("sid-1", k.RecordKey("sid-1")), string(about), seal.ErrKey},
		"the sid by another": {keys(t, 2, 1).Session("sid-1", keys(t, 2).RecordKey("sid-1")), string(about), seal.ErrOpen},
	} {
		if got, err := c.s.Open(sealed, []byte(c.about)); !errors.Is(err, c.want) || got != nil {
			t.Errorf("%s: %q, %v, want %v", name, got, err, c.want)
		}
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 0x40
		if _, err := s.Open(bad, about); err == nil {
			t.Errorf("opens with byte %d changed", i)
		}
		if _, err := s.Open(sealed[:i], about); err == nil {
			t.Errorf("opens after %d bytes", i)
		}
	}
	if _, err := s.Open(append(bytes.Clone(sealed), 0), about); err == nil {
		t.Error("opens with a byte too many")
	}
	if sealed, err = s.Seal(nil, nil); err != nil {
		t.Error(err)
	} else if got, err := s.Open(sealed, nil); err != nil || len(got) != 0 {
		t.Errorf("nothing sealed: %q, %v", got, err)
	}
	if _, err := s.Seal(make([]byte, 16*1024+1), nil); err == nil {
		t.Error("seals any size")
	}
}

// A key is changed while sessions go on: the old one opens and is looked for as long as it is there.
func TestRotation(t *testing.T) {
	before, second, first, after := keys(t, 1), keys(t, 1, 2), keys(t, 2, 1), keys(t, 2)
	const sid = "sid"
	record := before.RecordKey(sid)
	for i, k := range []*seal.Keys{before, second, first} {
		if !slices.Contains(k.RecordKeys(sid), record) {
			t.Errorf("step %d: the record is not looked for", i)
		}
		if !slices.Contains(k.Accounts("a@b"), before.Account("a@b")) {
			t.Errorf("step %d: the account is not looked for", i)
		}
	}
	if second.RecordKey(sid) != record || first.RecordKey(sid) == record || first.RecordKeys(sid)[0] != after.RecordKey(sid) {
		t.Error("the first key does not name")
	}
	old, err := before.Session(sid, record).Seal([]byte("token"), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := first.Session(sid, record)
	if got, err := s.Open(old, nil); err != nil || string(got) != "token" {
		t.Errorf("%q, %v", got, err)
	}
	renewed, err := s.Seal([]byte("token"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !s.Stale(old) || s.Stale(renewed) {
		t.Error("what should be sealed again is not recognised")
	}
	if _, err := second.Session(sid, record).Open(renewed, nil); err != nil {
		t.Errorf("a replica at the step before cannot open what one at this step seals: %v", err)
	}
	if _, err := after.Session(sid, record).Open(old, nil); !errors.Is(err, seal.ErrKey) {
		t.Errorf("without the old key: %v", err)
	}
	if _, err := after.Session(sid, record).Open(renewed, nil); err != nil {
		t.Errorf("without the old key: %v", err)
	}
	if r := first.Relay(); len(r) != 2 || !bytes.Equal(r[1], before.Relay()[0]) || bytes.Equal(r[0], r[1]) {
		t.Error("relay keys do not follow")
	}
}

// Names are fit for the store, and different for different things.
func TestNames(t *testing.T) {
	k := keys(t, 1)
	seen := map[string]string{}
	for what, name := range map[string]string{
		"sid a": k.RecordKey("a"), "sid b": k.RecordKey("b"), "account a": k.Account("a"), "account b": k.Account("b"),
		"sid of another key": keys(t, 2).RecordKey("a"),
	} {
		if !regexp.MustCompile(`^[A-Za-z0-9_-]{22}$`).MatchString(name) {
			t.Errorf("%s: %q", what, name)
		}
		if seen[name] != "" {
			t.Errorf("%s has the name of %s", what, seen[name])
		}
		seen[name] = what
	}
}

// Covers: UP-077.
func TestUserAgents(t *testing.T) {
	k := keys(t, 1)
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	for _, bare := range []string{"a@b", "a@b1", "a@b\x001"} {
		for slot := range 20 {
			id := k.UserAgent(bare, slot)
			if !form.MatchString(id) || seen[id] || id != keys(t, 1).UserAgent(bare, slot) {
				t.Errorf("%q %d: %s", bare, slot, id)
			}
			seen[id] = true
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, b []byte) string {
		f := filepath.Join(dir, name)
		if err := os.WriteFile(f, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return f
	}
	plain := secret(1)
	short := plain[:32]
	good := file("good", plain)
	for name, b := range map[string][]byte{"lf": append(bytes.Clone(plain), '\n'), "crlf": append(bytes.Clone(plain), '\r', '\n')} {
		k, err := seal.Load([]string{file(name, b)})
		if err != nil || k.RecordKey("x") != keys(t, 1).RecordKey("x") {
			t.Errorf("%s: %v, or another key than without the newline", name, err)
		}
	}
	ends := append(bytes.Clone(short[:31]), '\n')
	if _, err := seal.Load([]string{file("ends", ends)}); err != nil {
		t.Errorf("32 bytes of which the last is a newline: %v", err)
	}
	for _, c := range []struct {
		files []string
		want  string
	}{
		{nil, "no key"},
		{[]string{filepath.Join(dir, "none")}, "none"},
		{[]string{dir}, "directory"},
		{[]string{good, file("short", short[:31])}, "short: 31 bytes"},
		{[]string{file("empty", nil)}, "empty: 0 bytes"},
		{[]string{file("zero", make([]byte, 32))}, "zero: the same byte"},
		{[]string{file("large", bytes.Repeat(plain, 200))}, "large: more than"},
		{[]string{good, file("twice", append(bytes.Clone(plain), '\n'))}, "twice: the same as"},
	} {
		_, err := seal.Load(c.files)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: %v, want something about %q", c.files, err, c.want)
		}
	}
}

// Nothing prints a key or a sid.
func TestHidden(t *testing.T) {
	k := keys(t, 1)
	s := k.Session("SECRETSID", "record")
	holder := struct {
		K *seal.Keys
		S *seal.Session
	}{k, s}
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("x", "keys", k, "session", s, "both", holder)
	}
	text := log.String()
	for _, v := range []any{k, s, *k, *s, holder, &holder, []any{k, s}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			text += fmt.Sprintf(verb, v)
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		text += string(b)
	}
	for _, bad := range []string{"SECRET", fmt.Sprintf("%x", "SECRET"), strings.Trim(fmt.Sprint([]byte("SECRET")), "[]"), "0x53, 0x45"} {
		if strings.Contains(text, bad) {
			t.Errorf("%q shows in %s", bad, text)
		}
	}
	if !strings.Contains(text, "xxxxx") {
		t.Errorf("no mask in %s", text)
	}
}

// What was not sealed does not open, whatever it is.
func FuzzOpen(f *testing.F) {
	k := keys(f, 1)
	s := k.Session("sid", "record")
	sealed, err := s.Seal([]byte("token"), []byte("about"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed, []byte("about"))
	f.Add([]byte{1}, []byte(nil))
	f.Fuzz(func(t *testing.T, b, about []byte) {
		got, err := s.Open(b, about)
		if string(got) == "token" && string(about) == "about" {
			return // the seed, which is another one in each process
		}
		if err == nil || got != nil {
			t.Errorf("%x opens to %q", b, got)
		}
		if !errors.Is(err, seal.ErrKey) && !errors.Is(err, seal.ErrOpen) {
			t.Errorf("error %v", err)
		}
		_ = s.Stale(b)
		out, err := s.Seal(b, about)
		if err != nil {
			return // too large
		}
		if back, err := s.Open(out, about); err != nil || !bytes.Equal(back, b) {
			t.Errorf("%x does not come back: %x, %v", b, back, err)
		}
	})
}
