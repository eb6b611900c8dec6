package upstream

import (
	"bytes"
	"context"
	"errors"
	"time"

	"stanzagate/internal/ns"
	"stanzagate/internal/xmlframe"
)

// Failover turns re-authentication on: SASL2 and FAST take the place of classic SASL towards servers that have them, so
// that sessions can be resumed on another connection. UP-111: without it a managed stream is passed through, and XEP-0198
// gives honest acknowledgements only.
type Failover struct {
	Software    string // what <user-agent/> says; "" means stanzagate
	Resumptions int    // at once for each server address; 0 means 64
}

// Owner is what a managed stream needs from who owns the session. All of it belongs to one session. Recv calls Resuming and
// Renewed, Send calls Agent, RenewToken calls Renewed; they must not call the stream.
type Owner struct {
	Sealer Sealer        // for State
	Max    time.Duration // how long the server is asked to keep the session; 0 leaves it to the server

	// Agent takes a user-agent slot of an account, "" for one that is not known before it has signed in. It is called
	// when the browser signs in; again only if it tries another account. Slots are the owner's to free.
	Agent func(ctx context.Context, bare string) (Agent, error)

	// Resuming is called immediately before <resume/>. The owner checks that it still is the owner, after as long a pause
	// as it wants, and returns how many stanzas of the server the browser surely has. An error ends the attempt, and the
	// stream, for good.
	Resuming func(ctx context.Context) (h uint32, err error)

	// Renewed stores a state that has changed. UP-091: the connection is not used before it returns nil.
	Renewed func(ctx context.Context, state []byte) error
}

// managed is what a managed stream has beyond a plain one.
type managed struct {
	// immutable
	owner *Owner // nil: not resumable

	// guarded by Stream.mu
	login   *login // nil once bound
	sm      management
	cred    credential
	bare    string // whom the server says the browser is
	agent   Agent
	gap     bool          // the connection broke; until Proceed nothing is sent
	breaks  uint32        // counts the connections that Recv has given up
	down    bool          // and no other has taken its place yet
	leaving bool          // Close was called meanwhile
	asked   time.Time     // when the oldest <r/> without answer was made; zero for none
	probe   bool          // and it is the one right after a resumption
	slow    time.Duration // how long that resumption took

	changing chan struct{} // capacity 1: held by who gets another token, or has the state stored (Stream.change)

	// guarded by the writing token
	scratch [64]byte // for <a/>

	// owned by the goroutine that calls Recv
	queue []Event // elements are copies
	held  bool    // the bind result is in queue and waits for <enabled/>
	size  int     // bytes in queue
}

// maxHeld bounds what waits for <enabled/>.
const maxHeld = 256 * 1024

func newManaged(o Opening, failover bool) *managed {
	m := &managed{cred: credential{class: ClassNone}, changing: make(chan struct{}, 1)}
	if o.Owner != nil && failover {
		m.owner = o.Owner
	}
	return m
}

// manage deals with an element of the server on a managed stream: what it becomes for the owner, if anything.
func (s *Stream) manage(el xmlframe.Element) (ev Event, deliver bool, err error) {
	switch string(el.Space) {
	case ns.SM:
		return s.manageSM(el)
	case ns.SASL2:
		return s.translated(el)
	case ns.SASL:
		s.classicAnswer(el)
		return Event{Kind: KindElement, Element: el}, true, nil
	case ns.Client:
		return s.manageStanza(el)
	}
	// XBOSH-001: a browser gets features, SASL and stanzas only.
	return Event{}, false, nil
}

// classicAnswer notes what the server says in classic SASL.
func (s *Stream) classicAnswer(el xmlframe.Element) {
	s.watch(el)
	s.mu.Lock()
	defer s.mu.Unlock()
	lg := s.m.login
	if lg == nil || string(el.Local) == "challenge" {
		return
	}
	lg.running = false
	if s.p.authenticated {
		lg.password = lg.candidate
	}
	lg.candidate = ""
}

func (s *Stream) manageSM(el xmlframe.Element) (ev Event, deliver bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sm := &s.m.sm
	switch local := string(el.Local); {
	case local == "r" && sm.counting():
		return Event{Kind: KindAckRequested}, true, nil
	case local == "a" && sm.counting():
		h, err := readCount(el)
		if err == nil {
			err = sm.handled(h)
		}
		if err != nil {
			return Event{}, false, err
		}
		s.m.asked, s.m.probe = time.Time{}, false
		return Event{Kind: KindAcked, H: h}, true, nil
	case local == "failed" && sm.phase == smRefused:
		sm.phase = smOff // the next bind request asks again
	case local == "enabled" && sm.phase == smRequested:
		sm.enabled(el, s.m.cred.class != ClassNone)
	case local == "failed" && sm.phase == smRequested:
		sm.phase = smOff
	}
	if s.m.held && sm.phase != smRequested {
		return s.settledLocked(), true, nil
	}
	return Event{}, false, nil // else the bind result is still to come
}

// settledLocked ends the login: how the session can survive is known. The event goes before what is held.
func (s *Stream) settledLocked() Event {
	m := s.m
	if m.sm.phase != smResumable {
		m.cred = credential{class: ClassNone}
	}
	m.login = nil
	s.link.greeting = nil
	m.held = false
	early := 0
	for i := range m.queue {
		if i > 0 && m.queue[i].Element.IsStanza() {
			early++
		}
	}
	if mm, ok := s.d.cfg.Metrics.(FailoverMetrics); ok {
		mm.Classified(m.cred.class)
	}
	return Event{Kind: KindEnabled, Acks: m.sm.counting(), Class: m.cred.class, Early: early}
}

// manageStanza counts stanzas, and holds back what comes between a bind request and <enabled/>: the owner learns first
// whether the session can be resumed (failover design §4.3).
func (s *Stream) manageStanza(el xmlframe.Element) (ev Event, deliver bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.m
	binding := s.p.binding
	s.p.saw(el)
	if binding && !s.p.binding {
		if !s.p.bound {
			if m.sm.phase == smRequested {
				m.sm.phase = smRefused
			}
		} else {
			if m.bare == "" {
				m.bare = bareOf(s.p.jid)
			}
			if m.sm.phase != smRequested {
				m.queue = append(m.queue, Event{Kind: KindElement, Element: clone(el)})
				return s.settledLocked(), true, nil
			}
			m.held = true
		}
	}
	if !m.held {
		return Event{Kind: KindElement, Element: el, Counted: m.sm.counting() && el.IsStanza()}, true, nil
	}
	if m.size += len(el.Raw); m.size > maxHeld {
		return Event{}, false, &fault{"policy-violation", "server does not answer <enable/>"}
	}
	m.queue = append(m.queue, Event{Kind: KindElement, Element: clone(el)})
	return Event{}, false, nil
}

// clone returns a copy that stays valid.
func clone(el xmlframe.Element) xmlframe.Element {
	el.Raw, el.Space, el.Local = bytes.Clone(el.Raw), bytes.Clone(el.Space), bytes.Clone(el.Local)
	return el
}

// queued takes the next event that was held back.
func (m *managed) queued() (Event, bool) {
	if m.held || len(m.queue) == 0 {
		return Event{}, false
	}
	ev := m.queue[0]
	if m.queue = m.queue[1:]; len(m.queue) == 0 {
		m.queue, m.size = nil, 0
	}
	return ev, true
}

// admitBind makes a bind request and <enable/> one write (failover design §4.3): else stanzas could come between the bind
// result and <enabled/>, and belong to no count. The request itself does not count.
func (s *Stream) admitBind(a Admission) Admission {
	m := s.m
	a.Stanza = false
	if !m.sm.offered || m.sm.phase != smOff {
		return a
	}
	m.cred = s.credential()
	m.sm.phase = smRequested
	m.sm.sent, m.sm.acked, m.sm.told = 0, 0, 0 // UP-057: from now on
	a.Bytes = appendEnable(a.Bytes, m.cred.class != ClassNone, uint32(m.max()/time.Second))
	return a
}

func (m *managed) max() time.Duration {
	if m.owner == nil {
		return 0
	}
	return m.owner.Max
}

// credential decides the class of a session that is about to bind.
func (s *Stream) credential() credential {
	m := s.m
	switch {
	case m.owner == nil || m.owner.Resuming == nil || !s.dom.trusts(s.link):
	case m.login.token != nil:
		return credential{class: ClassFAST, token: m.login.token}
	case s.dom.reauth == reauthPassword && m.login.password != "":
		return credential{class: ClassPassword, password: m.login.password}
	case s.dom.reauth == reauthExternal && s.link.tls != nil && s.dom.issuer != nil:
		return credential{class: ClassExternal}
	}
	return credential{class: ClassNone}
}

// trusts reports whether secrets may go over a connection: it is encrypted and verified, or declared private.
func (dom *Domain) trusts(l *link) bool { return l.tls != nil || dom.security == tlsNone }

// ErrInterrupted is what Send returns when the connection of a resumable stream has broken: Recv resumes the session and
// returns KindResumed, or an error. Until Proceed every Send fails so.
var ErrInterrupted = errors.New("connection broke, the session is being resumed")

// Ack tells the server that the browser surely has h of its stanzas, and the store knows it (UP-060, UP-061). It may be
// called with an h that was told before, to answer an <r/>; one that is lower is not told. While the connection is broken
// it is remembered.
func (s *Stream) Ack(h uint32) error {
	if s.m == nil {
		return nil
	}
	s.writing <- struct{}{}
	defer func() { <-s.writing }()
	s.mu.Lock()
	m := s.m
	if !m.sm.counting() {
		s.mu.Unlock()
		return nil
	}
	if notAfter(m.sm.told, h) {
		m.sm.told = h
	}
	h = m.sm.told
	down := m.down
	s.mu.Unlock()
	if down {
		return nil
	}
	return s.put(appendAck(m.scratch[:0], h), writeTimeout)
}

// AppendAckRequest appends an <r/> to what is sent next, if the server acknowledges at all. When it does not answer in
// time the connection counts as dead.
func (s *Stream) AppendAckRequest(b []byte) []byte {
	if s.m == nil {
		return b
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.m.sm.counting() {
		return b
	}
	s.askedLocked()
	return append(b, ackRequest...)
}

// AppendAck appends to what is sent next the <a/> that Ack would write.
func (s *Stream) AppendAck(b []byte, h uint32) []byte {
	if s.m == nil {
		return b
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.m
	if !m.sm.counting() {
		return b
	}
	if notAfter(m.sm.told, h) {
		m.sm.told = h
	}
	return appendAck(b, m.sm.told)
}

// askedLocked starts the watch for the answer to an <r/>. One deadline for reading serves many requests: see overdue.
func (s *Stream) askedLocked() {
	if !s.m.asked.IsZero() {
		return
	}
	s.m.asked = time.Now()
	due := s.m.asked.Add(s.m.patience())
	if l := s.link; l.readBy.Before(s.m.asked) || l.readBy.After(due) {
		l.readBy = due
		l.limit(l.readBy)
	}
}

// ackTimeout is how long a server may take to answer an <r/> (failover design §6).
const ackTimeout = 5 * time.Second

// patience is how long to wait for the answer to the <r/> that is on its way. One right after a resumption proves that the
// server listens at all: if it took its time to resume, it may take it again before that session counts as lost.
func (m *managed) patience() time.Duration {
	if !m.probe {
		return ackTimeout
	}
	return min(ackTimeout+3*m.slow, longestProbe)
}

const longestProbe = 30 * time.Second

var errNoAnswer = &fault{"connection-timeout", "server does not answer <r/>"} // UP-048

// overdue is called when the deadline for reading has passed. It returns nil if that means nothing, having set the next.
func (s *Stream) overdue(l *link) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if at := l.certificateEnds(); !at.IsZero() && !now.Before(at) {
		return errExpired
	}
	over := l.readBy
	l.readBy = l.certificateEnds()
	if s.m != nil && !s.m.asked.IsZero() {
		due := s.m.asked.Add(s.m.patience())
		switch {
		case now.Before(due):
		case l.rd.since.After(over):
			// The deadline was over before anybody read: the owner had no use for more (BOSH-080), and the answer may be
			// among what waits. The server has its time from now on.
			s.m.asked, l.rd.since = now, time.Time{}
			due = now.Add(s.m.patience())
		default:
			return errNoAnswer
		}
		if l.readBy.IsZero() || due.Before(l.readBy) {
			l.readBy = due
		}
	}
	_ = l.conn.SetReadDeadline(l.readBy)
	return nil
}

// asks starts the watch for an answer to an <r/>; false if the server does not acknowledge.
func (s *Stream) asks() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.m.sm.counting() {
		return false
	}
	s.askedLocked()
	return true
}

func (s *Stream) interrupted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m.gap
}

// Down reports whether the connection of a resumable stream is broken, and no other has taken its place yet.
func (s *Stream) Down() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m != nil && s.m.down
}

// broke notes that writing on l has failed. It reports whether Recv is going to resume the session, or has done so already.
func (s *Stream) broke(l *link) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m.sm.phase != smResumable || s.m.owner == nil || s.closed {
		return false
	}
	if s.link == l {
		s.m.gap, s.m.down = true, true
	}
	return true
}

// Proceed lets Send write again after KindResumed with that Break. The owner calls it when nothing that was meant for the
// broken connection can come any more. If the next one has broken too by then, its KindResumed has to be waited for: what
// the owner sends before is counted for the one in between.
func (s *Stream) Proceed(past uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m != nil && s.m.breaks == past {
		s.m.gap = false
	}
}

// Class returns how the session can be taken over; ClassNone before it is bound.
func (s *Stream) Class() Class {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil || s.m.sm.phase != smResumable {
		return ClassNone
	}
	return s.m.cred.class
}

// State returns what another replica needs to resume the stream, its secret sealed by Owner.Sealer. Only a stream with a
// Class has one. It changes with the token only.
func (s *Stream) State() ([]byte, error) {
	s.mu.Lock()
	st, cred, owner := s.stateLocked()
	s.mu.Unlock()
	if st == nil {
		return nil, errNotResumable
	}
	return st.encode(cred, owner.Sealer)
}

// Publish has store write the State, while no other state is on its way to the store: an older one that comes late would take
// the token away that is in use.
func (s *Stream) Publish(ctx context.Context, store func(ctx context.Context, state []byte) error) error {
	done, err := s.change(ctx)
	if err != nil {
		return err
	}
	defer done()
	b, err := s.State()
	if err != nil {
		return err
	}
	return store(ctx, b)
}

// change waits for the right to get another token, or to have a state stored, until done is called. The server, the store and
// the stream would otherwise not agree on which token is the newest (UP-091).
func (s *Stream) change(ctx context.Context) (done func(), err error) {
	if s.m == nil {
		return nil, errNotResumable
	}
	select {
	case s.m.changing <- struct{}{}:
		return func() { <-s.m.changing }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

var errNotResumable = errors.New("stream cannot be resumed")

func (s *Stream) stateLocked() (*state, credential, *Owner) {
	if s.m == nil || s.m.sm.phase != smResumable || s.m.owner == nil {
		return nil, credential{}, nil
	}
	m, l := s.m, s.link
	return &state{
		Domain: s.dom.Name, Host: l.target.host, Port: l.target.port, Direct: l.target.direct, Secured: l.tls != nil,
		Lang: s.out.Lang, JID: s.p.jid, Bare: m.bare, Agent: m.agent.ID, Slot: m.agent.Slot,
		SMID: m.sm.id, Max: m.sm.max, Location: m.sm.where,
	}, m.cred, m.owner
}
