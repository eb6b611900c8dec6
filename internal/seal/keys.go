package seal

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
)

// Sizes of a key's file.
const (
	minKey = 32
	maxKey = 4096
)

// Keys are an operator's keys. Immutable; safe for concurrent use. They print as nothing useful.
type Keys struct {
	hidden
	all []*key // newest first; at least one
}

type key struct {
	secret []byte
	id     [idBytes]byte
}

const idBytes = 8

// Load reads key files, newest first. A newline at the end does not belong to the key, if there is enough without it: so it
// does not matter by which tool a key that is text was written. Errors name the file and nothing of its content.
func Load(files []string) (*Keys, error) {
	secrets := make([][]byte, len(files))
	defer func() {
		for _, s := range secrets {
			clear(s)
		}
	}()
	for i, file := range files {
		b, err := read(file)
		if err != nil {
			return nil, err
		}
		secrets[i] = b
	}
	k, err := New(secrets...)
	var bad *badKey
	if errors.As(err, &bad) {
		return nil, fmt.Errorf("key file %s: %s", files[bad.index], bad.reason)
	}
	return k, err
}

func read(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxKey+3))
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	trimmed := bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
	if len(trimmed) < len(b) && len(trimmed) >= minKey {
		b = trimmed
	}
	return b, nil
}

// badKey says which key is no good, and why.
type badKey struct {
	index  int
	reason string
}

func (e *badKey) Error() string { return "key " + strconv.Itoa(e.index+1) + ": " + e.reason }

// New makes Keys of secrets, newest first, which are copied.
func New(secrets ...[]byte) (*Keys, error) {
	if len(secrets) == 0 {
		return nil, errors.New("no key")
	}
	k := &Keys{}
	for i, s := range secrets {
		switch {
		case len(s) < minKey:
			return nil, &badKey{i, fmt.Sprintf("%d bytes; want at least %d random ones", len(s), minKey)}
		case len(s) > maxKey:
			return nil, &badKey{i, fmt.Sprintf("more than %d bytes", maxKey)}
		case len(bytes.Trim(s, string(s[:1]))) == 0:
			return nil, &badKey{i, "the same byte again and again; want random ones"}
		}
		next := &key{secret: bytes.Clone(s)}
		copy(next.id[:], next.derive("id"))
		if k.find(next.id[:]) != nil {
			return nil, &badKey{i, "the same as one before it"}
		}
		k.all = append(k.all, next)
	}
	return k, nil
}

// find returns the key with that id, nil if there is none.
func (k *Keys) find(id []byte) *key {
	for _, key := range k.all {
		if bytes.Equal(key.id[:], id) {
			return key
		}
	}
	return nil
}

// derive is HMAC-SHA-256 over label and parts. No label is the beginning of another.
func (k *key) derive(label string, parts ...string) []byte {
	mac := hmac.New(sha256.New, k.secret)
	_, _ = io.WriteString(mac, label) // a hash does not fail
	for _, p := range parts {
		_, _ = io.WriteString(mac, p)
	}
	return mac.Sum(nil)
}

// nameLength is how many base64 digits of a derived name are used: 132 bits.
const nameLength = 22

func (k *key) name(label, of string) string {
	return base64.RawURLEncoding.EncodeToString(k.derive(label, of))[:nameLength]
}

func (k *Keys) names(label, of string) []string {
	names := make([]string, len(k.all))
	for i, key := range k.all {
		names[i] = key.name(label, of)
	}
	return names
}

// RecordKey returns the name of a new session's record.
func (k *Keys) RecordKey(sid string) string { return k.all[0].name("sid", sid) }

// RecordKeys returns the names under which a session's record may be, most likely first.
func (k *Keys) RecordKeys(sid string) []string { return k.names("sid", sid) }

// Account returns the name under which the store keeps the user-agent slots of an account.
func (k *Keys) Account(bareJID string) string { return k.all[0].name("account", bareJID) }

// Accounts returns Account and what it was under older keys, for giving slots back.
func (k *Keys) Accounts(bareJID string) []string { return k.names("account", bareJID) }

// UserAgent returns the user-agent id of an account's slot, in the form of a version 4 UUID (UP-077).
func (k *Keys) UserAgent(bareJID string, slot int) string {
	u := k.all[0].derive("ua", bareJID, "\x00", strconv.Itoa(slot))[:16]
	u[6] = u[6]&0x0f | 0x40 // RFC 9562 §5.4: version
	u[8] = u[8]&0x3f | 0x80 // and variant
	h := hex.EncodeToString(u)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// Relay returns the keys by which replicas recognise each other: the first to sign with, all to check against.
func (k *Keys) Relay() [][]byte {
	keys := make([][]byte, len(k.all))
	for i, key := range k.all {
		keys[i] = key.derive("relay")
	}
	return keys
}
