package upstream

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Sealer encrypts one session's secret at rest. What is sealed under one associated text opens under that only.
type Sealer interface {
	Seal(plain, associated []byte) ([]byte, error)
	Open(sealed, associated []byte) ([]byte, error)
}

// Agent is a user-agent slot of an account (failover design §9.2): one per concurrent session of a user, reused.
type Agent struct {
	ID   string // in the form of a UUID, version 4
	Slot int
}

// stateVersion changes when an older gateway could misread a state. Fields that it may overlook do not change it.
const stateVersion = 1

// state is all that another replica needs to resume a stream, but for counters. It is stored as JSON; times are in seconds.
type state struct {
	Version int    `json:"v"`
	Class   Class  `json:"class"`
	Domain  string `json:"domain"`
	Host    string `json:"host"`
	Port    string `json:"port"`
	Direct  bool   `json:"direct,omitempty"`
	Secured bool   `json:"tls,omitempty"` // never go on in the clear what was secured
	Lang    string `json:"lang,omitempty"`
	JID     string `json:"jid"`  // full
	Bare    string `json:"bare"` // whom the server says the browser is; from of the header
	Agent   string `json:"ua,omitempty"`
	Slot    int    `json:"slot,omitempty"`

	Mechanism string `json:"mech,omitempty"`
	Issued    int64  `json:"issued,omitempty"`
	Expiry    int64  `json:"expiry,omitempty"`

	SMID     string `json:"sm"`
	Max      uint32 `json:"max,omitempty"`
	Location string `json:"location,omitempty"`

	Secret []byte `json:"secret,omitempty"` // sealed
}

// associated is what the secret is tied to: it opens for no other session, user or server (failover design §9.3).
func (st *state) associated() []byte {
	var b []byte
	for _, s := range []string{strconv.Itoa(st.Version), string(st.Class), st.Domain, st.Host, st.Port, st.JID, st.Bare, st.Agent, st.Mechanism} {
		b = strconv.AppendInt(b, int64(len(s)), 10)
		b = append(append(b, ':'), s...)
	}
	return b
}

var (
	errStateVersion = errors.New("state was written by a newer gateway")
	errNoSealer     = errors.New("state holds a secret and there is no key to open it")
)

// encode seals the secret into the state and returns it as it is stored.
func (st *state) encode(c credential, sealer Sealer) ([]byte, error) {
	st.Version, st.Class = stateVersion, c.class
	if c.class == ClassFAST {
		st.Mechanism, st.Issued = c.token.mechanism, c.token.issued.Unix()
		if !c.token.expiry.IsZero() {
			st.Expiry = c.token.expiry.Unix()
		}
	}
	if secret := c.secret(); secret != "" {
		if sealer == nil {
			return nil, errNoSealer
		}
		var err error
		if st.Secret, err = sealer.Seal([]byte(secret), st.associated()); err != nil {
			return nil, fmt.Errorf("seal: %w", err)
		}
	}
	return json.Marshal(st)
}

// decodeState reads what encode wrote and opens the secret.
func decodeState(b []byte, sealer Sealer) (*state, credential, error) {
	var st state
	if err := json.Unmarshal(b, &st); err != nil {
		return nil, credential{}, fmt.Errorf("state: %w", err)
	}
	if st.Version != stateVersion {
		return nil, credential{}, errStateVersion
	}
	c := credential{class: st.Class}
	var secret string
	if len(st.Secret) > 0 {
		if sealer == nil {
			return nil, credential{}, errNoSealer
		}
		plain, err := sealer.Open(st.Secret, st.associated())
		if err != nil {
			return nil, credential{}, fmt.Errorf("open: %w", err)
		}
		secret = string(plain)
	}
	switch {
	case st.Class == ClassFAST && secret != "":
		c.token = &token{secret: secret, mechanism: st.Mechanism, issued: time.Unix(st.Issued, 0)}
		if st.Expiry != 0 {
			c.token.expiry = time.Unix(st.Expiry, 0)
		}
	case st.Class == ClassPassword && secret != "":
		c.password = secret
	case st.Class == ClassExternal:
	default:
		return nil, credential{}, fmt.Errorf("state: class %q without its secret", st.Class)
	}
	return &st, c, nil
}
