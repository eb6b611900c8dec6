package bosh

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"stanzagate/sessionstore"
	"stanzagate/upstream"
)

// What a managed stream asks of the session that owns it (upstream.Owner), and what becomes of its credential.

// serverMargin is how much longer than the session the server is asked to keep the stream (failover-design 4.3).
const serverMargin = 30 * time.Second

// owner returns what the session's managed stream is to ask.
func (s *session) owner() *upstream.Owner {
	o := &upstream.Owner{Max: s.lifetime() + serverMargin, Agent: s.agent, Resuming: s.resuming, Renewed: s.renewed}
	if sealer := s.record.Sealer(); sealer != nil {
		o.Sealer = sealer
	}
	return o
}

// lifetime is how long the session may go without a request.
func (s *session) lifetime() time.Duration { return max(s.m.set.inactivity, s.m.set.maxpause) }

func (s *session) agent(ctx context.Context, bare string) (upstream.Agent, error) {
	id, slot, err := s.record.Agent(ctx, bare)
	if err != nil {
		s.log(slog.LevelWarn, "session cannot be resumed: no user-agent id", err.Error())
	}
	return upstream.Agent{ID: id, Slot: slot}, err
}

var errSessionOver = errors.New("session is over")

// resuming is asked right before <resume/>.
func (s *session) resuming(ctx context.Context) (h uint32, err error) {
	s.mu.Lock()
	adopting := s.adopting
	s.mu.Unlock()
	if err := s.record.Resuming(ctx, adopting); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return 0, errSessionOver
	}
	return s.m.resumeFrom(), nil
}

// renewed stores the state with another token (UP-091).
func (s *session) renewed(ctx context.Context, state []byte) error {
	if !s.record.Survives() {
		return nil
	}
	return s.record.Publish(ctx, state, nil)
}

// enabled decides what the session is worth, and stores what another replica needs before the browser gets its bind result
// (failover-design 4.3).
func (f *feed) enabled(ev *upstream.Event) {
	s := f.s
	class, reason := ev.Class, ""
	if class != upstream.ClassNone && s.record.Survives() {
		if err := f.publish(); err != nil {
			class, reason = upstream.ClassNone, err.Error()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.classLocked(class)
	s.noteLocked(slog.LevelInfo, "bosh session logged in", reason, slog.String("class", s.reportedClass()))
	s.upkeepBy = earliest(s.upkeepBy, f.stream.TokenDue())
	if ev.Acks {
		resumable := class != upstream.ClassNone && s.record.Survives()
		s.eventLocked(func(now time.Time) effects { return s.m.enabled(now, resumable) })
		s.askLocked()
	}
	s.delegateLocked()
}

func (f *feed) publish() error {
	s := f.s
	s.mu.Lock()
	mine, err := s.ownLocked()
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return f.stream.Publish(s.h.ctx, func(ctx context.Context, state []byte) error { return s.record.Publish(ctx, state, mine) })
}

// classLocked notes how the session can be taken over, and tells the operator unless it has ended meanwhile.
func (s *session) classLocked(class upstream.Class) {
	s.class = class
	if !s.ended {
		s.h.failover.Classified(s.reportedClass(), 1)
	}
}

// reportedClass is what other replicas can do with the session. This one can do more with a connection that it has lost.
func (s *session) reportedClass() string {
	if s.class != "" && !s.record.Survives() {
		return string(upstream.ClassNone)
	}
	return string(s.class)
}

// upkeep does what has to be done for a session from time to time so that it can be taken over. It is called on a goroutine
// of its own and returns when to be called again; zero: not.
func (s *session) upkeep() time.Time {
	ctx := s.h.ctx
	next := s.record.TouchDue()
	if !next.IsZero() && !time.Now().Before(next) {
		next = s.record.Touch(ctx)
	}
	f := s.feedOf(0)
	if f == nil {
		return next
	}
	due := f.tokenDue()
	if !due.IsZero() && !time.Now().Before(due) {
		f.renewToken(ctx)
		due = f.tokenDue()
	}
	return earliest(next, due)
}

func (f *feed) renewToken(ctx context.Context) {
	s := f.s
	if err := f.stream.RenewToken(ctx); err != nil {
		s.log(slog.LevelWarn, "token not renewed", err.Error())
		s.mu.Lock()
		defer s.mu.Unlock()
		s.tokenFrom = time.Now().Add(tokenRetry)
		return
	}
	_ = s.record.KeepAgent(ctx) // again with the next token
}

// tokenDue is when to renew the stream's token; zero: never.
func (f *feed) tokenDue() time.Time {
	due := f.stream.TokenDue()
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if !due.IsZero() && due.Before(f.s.tokenFrom) {
		due = f.s.tokenFrom
	}
	return due
}

// tokenRetry is when a token that could not be renewed is tried again: half of its life is left.
const tokenRetry = time.Hour

// retireLocked makes the credential of a session worthless once it is over for good and its stream has ended (UP-094), and
// gives back by what it was known.
func (s *session) retireLocked() {
	if s.retired || s.record == nil || !s.ended || s.kept || s.unsure || len(s.feeds) == 0 || !s.feeds[0].over {
		return
	}
	s.retired = true
	st, state := s.feeds[0].stream, s.feeds[0].state
	s.goLocked(func() {
		if st == nil {
			s.forgetCredential(state)
			return
		}
		_ = st.ForgetToken(s.h.ctx)     // best effort
		_ = s.record.FreeAgent(s.h.ctx) // it is free after a while anyway
	})
}

// forgetCredential is for a session that was taken over and not resumed: state is all that is known of its credential.
func (s *session) forgetCredential(state []byte) {
	if sealer := s.record.Sealer(); len(state) > 0 && sealer != nil {
		_ = s.h.cfg.Dialer.Forget(s.h.ctx, state, sealer) // best effort
	}
	_ = s.record.FreeAgent(s.h.ctx) // it is free after a while anyway
}

// lostCause is why a session could not be resumed, in metrics.
func lostCause(err error) string {
	var lost *upstream.LostError
	switch {
	case errors.Is(err, sessionstore.ErrNotOwner), errors.Is(err, sessionstore.ErrNotFound):
		return causeOwner
	case errors.As(err, &lost) && lost.Stage == "sign-in":
		return causeSignIn
	case errors.As(err, &lost):
		return causeServer
	case errors.Is(err, upstream.ErrUnreachable):
		return causeUnreachable
	}
	return causeRecord
}

// Why a session that was to be taken over, or whose connection broke, could not be resumed.
const (
	causeRecord      = "record"      // it was not complete, or cannot be read
	causeOwner       = "owner"       // another replica took it meanwhile
	causeSignIn      = "sign-in"     // the server does not accept the credential
	causeServer      = "server"      // the server does not have it any more
	causeUnreachable = "unreachable" // the server could not be reached for as long as it keeps sessions
)

// LostCauses lists them, so that series can be made beforehand.
func LostCauses() []string {
	return []string{causeRecord, causeOwner, causeSignIn, causeServer, causeUnreachable}
}
