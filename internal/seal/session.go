package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// Errors of Open.
var (
	// ErrKey: it was sealed with a key that is not among ours.
	ErrKey = errors.New("sealed with an unknown key")
	// ErrOpen: it is not what Seal made for this session and associated text.
	ErrOpen = errors.New("cannot be opened")
)

// maxPlain bounds what is sealed: tokens and passwords.
const maxPlain = 16 * 1024

// The form of what is sealed: version, id of the key, nonce, ciphertext with its tag.
const (
	version    = 1
	header     = 1 + idBytes
	nonceBytes = 12
	tagBytes   = 16
	overhead   = header + nonceBytes + tagBytes
)

// Session seals what belongs to one session. Immutable; safe for concurrent use. It prints as nothing useful.
type Session struct {
	hidden
	keys      *Keys
	sid       string
	recordKey string
}

// Session returns the sealer of a session, whose record is recordKey.
func (k *Keys) Session(sid, recordKey string) *Session {
	return &Session{keys: k, sid: sid, recordKey: recordKey}
}

// Seal encrypts plain so that it opens for this session, record and associated text only.
func (s *Session) Seal(plain, associated []byte) ([]byte, error) {
	if len(plain) > maxPlain {
		return nil, fmt.Errorf("%d bytes to seal, more than %d", len(plain), maxPlain)
	}
	k := s.keys.all[0]
	aead, err := s.aead(k)
	if err != nil {
		return nil, err
	}
	out := make([]byte, header, len(plain)+overhead)
	out[0] = version
	copy(out[1:], k.id[:])
	return aead.Seal(out, nil, plain, s.associated(out, associated)), nil
}

// Open decrypts what Seal returned, here or on another replica. Errors match ErrKey or ErrOpen.
func (s *Session) Open(sealed, associated []byte) ([]byte, error) {
	if len(sealed) < overhead || len(sealed) > maxPlain+overhead || sealed[0] != version {
		return nil, ErrOpen
	}
	head := sealed[:header]
	k := s.keys.find(head[1:])
	if k == nil {
		return nil, ErrKey
	}
	aead, err := s.aead(k)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, nil, sealed[header:], s.associated(head, associated))
	if err != nil {
		return nil, ErrOpen // the library says no more either
	}
	return plain, nil
}

// Stale reports whether it was sealed with another key than the newest, and should be sealed again.
func (s *Session) Stale(sealed []byte) bool {
	return len(sealed) >= header && string(sealed[1:header]) != string(s.keys.all[0].id[:])
}

// aead makes the session's cipher under a key. Random nonces are safe for 2³² seals; a session makes a few.
func (s *Session) aead(k *key) (cipher.AEAD, error) {
	derived, err := hkdf.Key(sha256.New, k.secret, []byte(s.sid), "reauth 1"+string(k.id[:]), 32)
	if err != nil {
		return nil, fmt.Errorf("session key: %w", err)
	}
	defer clear(derived)
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, fmt.Errorf("session key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("session key: %w", err)
	}
	return aead, nil
}

// associated binds version, key, record and the caller's text. Each has its length in front, so that no two texts run
// together to the same bytes.
func (s *Session) associated(head, text []byte) []byte {
	b := make([]byte, 0, len(head)+4+len(s.recordKey)+4+len(text))
	b = append(b, head...)
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(s.recordKey))), s.recordKey...)
	return append(binary.BigEndian.AppendUint32(b, uint32(len(text))), text...)
}
