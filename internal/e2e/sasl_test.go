//go:build e2e

package e2e

import (
	"bytes"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
)

// authenticate runs one SASL exchange to its end. A refusal wraps errAuth and leaves the session open.
func (c *client) authenticate(mechanism, user, pass string) error {
	c.t.Helper()
	if !c.offers(mechanism) {
		return fmt.Errorf("%s is not offered: %v", mechanism, c.features)
	}
	switch mechanism {
	case "PLAIN":
		return c.saslOne(mechanism, "\x00"+user+"\x00"+pass)
	case "ANONYMOUS":
		return c.saslOne(mechanism, "")
	case "SCRAM-SHA-1":
		return c.scram(mechanism, sha1.New, user, pass)
	case "SCRAM-SHA-256":
		return c.scram(mechanism, sha256.New, user, pass)
	}
	return errors.New("unknown mechanism " + mechanism)
}

func (c *client) saslOne(mechanism, initial string) error {
	n, err := c.saslStep("auth", mechanism, initial)
	if err == nil && !n.is(nsSASL, "success") {
		err = fmt.Errorf("unexpected %v", n)
	}
	return err
}

// saslStep sends <auth/> or <response/> and waits for the server's turn.
func (c *client) saslStep(element, mechanism, data string) (*node, error) {
	attr := ""
	if mechanism != "" {
		attr = ` mechanism="` + mechanism + `"`
	}
	text := base64.StdEncoding.EncodeToString([]byte(data))
	if err := c.tr.send(c.ctx(), fmt.Sprintf(`<%s xmlns="%s"%s>%s</%s>`, element, nsSASL, attr, text, element)); err != nil {
		return nil, err
	}
	n, err := c.in.take(c.ctx(), "SASL answer", func(n *node) bool { return n.XMLName.Space == nsSASL })
	if err == nil && n.is(nsSASL, "failure") {
		err = fmt.Errorf("%w: %v", errAuth, n)
	}
	return n, err
}

// scram is RFC 5802 without channel binding, which no gateway can pass through.
func (c *client) scram(mechanism string, h func() hash.Hash, user, pass string) error {
	raw := make([]byte, 12)
	_, _ = rand.Read(raw) // never fails
	nonce := base64.StdEncoding.EncodeToString(raw)
	bare := "n=" + user + ",r=" + nonce
	n, err := c.saslStep("auth", mechanism, "n,,"+bare)
	if err != nil {
		return err
	}
	first, err := base64.StdEncoding.DecodeString(n.Text)
	if err != nil {
		return err
	}
	f := scramFields(string(first))
	salt, err := base64.StdEncoding.DecodeString(f["s"])
	if err != nil {
		return err
	}
	rounds, err := strconv.Atoi(f["i"])
	if err != nil || !strings.HasPrefix(f["r"], nonce) {
		return fmt.Errorf("bad challenge %q", first)
	}
	salted, err := pbkdf2.Key(h, pass, salt, rounds, h().Size())
	if err != nil {
		return err
	}
	mac := func(key []byte, s string) []byte {
		m := hmac.New(h, key)
		m.Write([]byte(s))
		return m.Sum(nil)
	}
	clientKey := mac(salted, "Client Key")
	stored := h()
	stored.Write(clientKey)
	last := "c=biws,r=" + f["r"]
	exchange := bare + "," + string(first) + "," + last
	proof := mac(stored.Sum(nil), exchange)
	for i := range proof {
		proof[i] ^= clientKey[i]
	}
	n, err = c.saslStep("response", "", last+",p="+base64.StdEncoding.EncodeToString(proof))
	if err != nil {
		return err
	}
	final, err := base64.StdEncoding.DecodeString(n.Text)
	if err != nil {
		return err
	}
	sig, _ := base64.StdEncoding.DecodeString(scramFields(string(final))["v"])
	if !n.is(nsSASL, "success") || !bytes.Equal(sig, mac(mac(salted, "Server Key"), exchange)) {
		return fmt.Errorf("bad server signature in %v", n)
	}
	return nil
}

func scramFields(s string) map[string]string {
	m := make(map[string]string)
	for field := range strings.SplitSeq(s, ",") {
		k, v, _ := strings.Cut(field, "=")
		m[k] = v
	}
	return m
}
