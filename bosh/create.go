package bosh

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// highestVersion is the newest XEP-0124 that we know (BOSH-059).
var highestVersion = version{1, 11}

// legacyRequests is the largest `requests` for browsers that cannot read `hold` (AMB-6).
const legacyRequests = 8

// settings is what creation fixed. It never changes, and a replica that takes the session over needs it.
type settings struct {
	wait, inactivity, polling, maxpause time.Duration // whole seconds; polling, maxpause 0: not offered
	hold, requests                      int
	hasVer                              bool // false: a legacy client (XEP-0124 §17.1)
	ver                                 version
	acks                                bool // we acknowledge requests (XEP-0124 §9.1)
	confirms                            bool // the browser acknowledges responses (XEP-0124 §9.2)
	keyed                               bool
	secure                              bool
	script                              bool
	content                             string // Content-Type, "" for the default
	to, lang                            string
	name                                string // of the first stream, "" without XEP-0124 §16
}

// negotiate answers a creation request (XEP-0124 §7).
func negotiate(c *machineConfig, r *request, names []string) settings {
	s := settings{
		wait: c.wait, hold: min(1, c.hold), polling: c.polling, maxpause: c.maxpause, // AMB-3: what holds if the browser says nothing
		hasVer: r.hasVer, acks: c.acks, confirms: r.hasAck && r.ack == 1, keyed: c.keys && r.newkey != "",
		secure: r.secure, script: r.script, content: r.content, to: r.to, lang: r.lang,
	}
	if r.hasWait {
		s.wait = min(s.wait, seconds(r.wait)) // BOSH-056
	}
	asked := 1
	if r.hasHold {
		asked = r.hold
	}
	s.hold = min(asked, c.hold) // BOSH-058
	// XEP-0124 §7.2: more than hold; two at least, so that a browser can speak while a request is held (BOSH-116).
	s.requests = max(2, s.hold+1)
	if !r.hasVer {
		s.requests = max(s.requests, min(asked+1, legacyRequests)) // AMB-6
	}
	s.inactivity = c.inactivity
	if s.isPolling() {
		s.inactivity = min(s.inactivity+2*s.polling+time.Second, seconds(65535)) // XEP-0124 §12
	}
	if r.hasVer {
		s.ver = highestVersion
		if r.ver.less(s.ver) {
			s.ver = r.ver
		}
	}
	if len(names) > 0 {
		s.name = names[0]
	}
	return s
}

// seconds is n s, with a bound that no setting reaches.
func seconds(n int) time.Duration { return time.Duration(min(n, 1<<20)) * time.Second }

// isPolling: every request is answered at once (BOSH-045).
func (s *settings) isPolling() bool { return s.wait == 0 || s.hold == 0 }

// keep is how many answered rids are kept at most, whatever the browser acknowledges (failover-design 5).
func (s *settings) keep() uint64 { return 3 * uint64(s.requests) }

// keepAcked is the same for a browser that acknowledges: until it does it can come back for any (BOSH-135), as when one
// connection is stuck in a frozen replica while it goes on with another.
const keepAcked = 256

// creation is the creation response's part of it.
func (s *settings) creation(sid string) *creation {
	return &creation{
		sid: sid, wait: s.wait, inactivity: s.inactivity, polling: s.polling, maxpause: s.maxpause,
		requests: s.requests, hold: s.hold, hasVer: s.hasVer, ver: s.ver, secure: s.secure,
	}
}

// settingsFormat is the first field of encoded settings. A change of the fields needs another one.
const settingsFormat = "b1"

var errSettings = errors.New("bosh: settings of a session are not readable")

// encode makes a string of it that decodeSettings reads: fields with a space between them, texts quoted.
func (s *settings) encode() string {
	b := []byte(settingsFormat)
	for _, n := range []int{
		int(s.wait / time.Second), int(s.inactivity / time.Second), int(s.polling / time.Second), int(s.maxpause / time.Second),
		s.hold, s.requests, s.ver.major, s.ver.minor,
	} {
		b = strconv.AppendInt(append(b, ' '), int64(n), 10)
	}
	b = append(b, ' ')
	for i, on := range s.flags() {
		if *on {
			b = append(b, settingsFlags[i])
		}
	}
	for _, text := range s.texts() {
		b = strconv.AppendQuote(append(b, ' '), *text)
	}
	return string(b)
}

// settingsFlags are the letters of flags.
const settingsFlags = "vackst"

func (s *settings) flags() [6]*bool {
	return [...]*bool{&s.hasVer, &s.acks, &s.confirms, &s.keyed, &s.secure, &s.script}
}

func (s *settings) texts() [4]*string { return [...]*string{&s.content, &s.to, &s.lang, &s.name} }

// decodeSettings reads what encode wrote, and nothing else.
func decodeSettings(text string) (settings, error) {
	var s settings
	rest, ok := strings.CutPrefix(text, settingsFormat)
	if !ok {
		return s, fmt.Errorf("%w: unknown format", errSettings)
	}
	var n [8]int
	for i := range n {
		var field string
		field, rest = cutField(rest)
		v, err := strconv.ParseUint(field, 10, 20)
		if err != nil {
			return s, fmt.Errorf("%w: number %d", errSettings, i)
		}
		n[i] = int(v)
	}
	s.wait, s.inactivity, s.polling, s.maxpause = seconds(n[0]), seconds(n[1]), seconds(n[2]), seconds(n[3])
	s.hold, s.requests, s.ver = n[4], n[5], version{n[6], n[7]}
	var flags string
	flags, rest = cutField(rest)
	for i, on := range s.flags() {
		*on = strings.IndexByte(flags, settingsFlags[i]) >= 0
	}
	for _, text := range s.texts() {
		quoted, err := strconv.QuotedPrefix(strings.TrimPrefix(rest, " "))
		if err != nil {
			return s, fmt.Errorf("%w: text", errSettings)
		}
		if *text, err = strconv.Unquote(quoted); err != nil {
			return s, fmt.Errorf("%w: text", errSettings)
		}
		rest = strings.TrimPrefix(rest, " ")[len(quoted):]
	}
	if s.hold >= s.requests || s.requests > 255 || s.inactivity == 0 || s.encode() != text {
		return settings{}, fmt.Errorf("%w: not in normal form", errSettings)
	}
	return s, nil
}

// cutField takes the next field off; a field has a space in front.
func cutField(s string) (field, rest string) {
	s, ok := strings.CutPrefix(s, " ")
	if !ok {
		return "", ""
	}
	if i := strings.IndexByte(s, ' '); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}
