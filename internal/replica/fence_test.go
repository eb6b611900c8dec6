package replica

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"stanzagate/sessionstore"
)

// confirmed calls Confirm and says how long it took.
func confirmed(t *testing.T, r *Record) (time.Duration, error) {
	begun := time.Now()
	err := r.Confirm(t.Context())
	return time.Since(begun), err
}

// What casts doubt on whether a session is still ours: nothing is written upstream before the store has been asked, once.
func TestDoubts(t *testing.T) {
	for name, doubt := range map[string]func(*club){
		// failover-design 7.4: no lease for two seconds.
		"fenced": func(c *club) {
			c.store.leave()
			time.Sleep(3 * time.Second)
			c.store.comeBack()
			time.Sleep(beatEvery)
		},
		"fenced for a moment": func(c *club) {
			c.store.set(func() { c.store.fenced = true })
			time.Sleep(3 * beatEvery / 2)
			c.store.set(func() { c.store.fenced = false })
		},
		// The process stood still, by its own clock.
		"frozen": func(c *club) {
			c.store.freeze(3 * time.Second)
			time.Sleep(4 * time.Second)
		},
		// The whole machine stood still, and its monotonic clock with it.
		"suspended": func(c *club) {
			c.m.beatWall.Add(-int64(3 * time.Second))
			time.Sleep(2 * beatEvery)
		},
		// The store has lost our lease, or was away for less than it takes to be fenced.
		"settling": func(c *club) {
			c.store.set(func() { c.store.settling = 6 * time.Second })
			time.Sleep(2 * beatEvery)
		},
	} {
		for _, taken := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := join(t, nil)
					defer c.m.Close()
					r, h := c.create("s")
					time.Sleep(10 * time.Second)
					if took, err := confirmed(t, r); !r.MayWrite() || err != nil || took != 0 || c.store.count("touch") != 0 {
						t.Fatalf("there are doubts already: %v", err)
					}
					doubt(c)
					if r.MayWrite() {
						t.Error("no doubt")
					}
					if taken {
						c.steal(r)
					}
					took, err := confirmed(t, r)
					if _, lost := h.told(); taken != errors.Is(err, sessionstore.ErrNotOwner) || taken != (len(lost) == 1) || took != 0 {
						t.Errorf("taken %t: %v after %s, told %v", taken, err, took, lost)
					}
					if r.MayWrite() == taken || c.store.count("touch") != 1 {
						t.Errorf("taken %t: MayWrite is %t after %d questions", taken, r.MayWrite(), c.store.count("touch"))
					}
				})
			})
		}
	}
}

// While nobody can know, Confirm waits, and does not press the store.
func TestConfirmWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := join(t, nil)
		defer c.m.Close()
		r, _ := c.create("s")
		c.store.leave()
		time.Sleep(2*time.Second + 2*beatEvery)
		if !c.m.Fenced() || r.MayWrite() {
			t.Fatal("not fenced")
		}
		time.AfterFunc(10*time.Second, c.store.comeBack)
		if took, err := confirmed(t, r); err != nil || took < 10*time.Second || took > 10*time.Second+askPause || c.store.count("touch") != 1 {
			t.Errorf("%v after %s and %d questions", err, took, c.store.count("touch"))
		}

		// A process that stands still does not know what it has missed.
		c.store.freeze(5 * time.Second)
		time.Sleep(beatEvery + frozenAfter + time.Millisecond)
		if r.MayWrite() {
			t.Error("nobody has looked for a second, and it may write")
		}
		if took, err := confirmed(t, r); err != nil || took < 3*time.Second {
			t.Errorf("%v after %s", err, took)
		}

		c.store.leave()
		time.Sleep(3 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Confirm(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// Who waits to be sure learns at once that the session has been given up meanwhile, though the store cannot be asked.
func TestConfirmOfWhatIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := join(t, nil)
		defer c.m.Close()
		r, h := c.create("s")
		c.store.leave()
		time.Sleep(3 * time.Second)
		time.AfterFunc(time.Second, r.Drop)
		if took, err := confirmed(t, r); !errors.Is(err, sessionstore.ErrNotOwner) || took > time.Second+askPause {
			t.Errorf("%v after %s", err, took)
		}
		if _, lost := h.told(); lost != nil {
			t.Error(lost)
		}
	})
}

// The store may go away for good between the doubt and the answer: who waits for it goes on then, as everybody does.
func TestConfirmGoesOnAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := join(t, nil)
		defer c.m.Close()
		r, h := c.create("s")
		c.m.doubts.Add(1)
		c.store.leave()
		if took, err := confirmed(t, r); err != nil || took < loneAfter || took > loneAfter+time.Second {
			t.Errorf("%v after %s", err, took)
		}
		if _, lost := h.told(); lost != nil {
			t.Error(lost)
		}
	})
}

// An answer that was given before this process stood still says nothing about now, however late it is read.
func TestAnswersOfBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slow *slowAnswer
		c := join(t, func(cfg *MemberConfig) {
			slow = &slowAnswer{trial: cfg.Store.(*trial), takes: 3 * time.Second}
			cfg.Store = slow
		})
		defer c.m.Close()
		r, _ := c.create("s")
		put(r, 1)
		// The write is in the store, and the goroutine that reads the answer stands still, as watch does.
		c.store.freeze(3 * time.Second)
		var all sync.WaitGroup
		all.Go(func() {
			if err := r.Flush(1); err != nil {
				t.Error(err) // it is in the store: the browser may have its answer
			}
			if r.MayWrite() {
				t.Error("a write of before makes sure of now")
			}
		})
		all.Wait()

		// The same with the question itself: it is asked again.
		c.steal(r)
		c.m.doubts.Add(1)
		slow.first = true // the question is answered as if it came before the other replica's claim
		if err := r.Confirm(t.Context()); !errors.Is(err, sessionstore.ErrNotOwner) {
			t.Error(err)
		}
	})
}

// slowAnswer is a store whose answers are read late.
type slowAnswer struct {
	*trial
	takes time.Duration
	first bool // the next question is answered with yes
}

func (s *slowAnswer) Persist(ctx context.Context, hold sessionstore.Hold, c sessionstore.Counters) error {
	err := s.trial.Persist(ctx, hold, c)
	time.Sleep(s.takes)
	return err
}

func (s *slowAnswer) Touch(ctx context.Context, hold sessionstore.Hold, ttl time.Duration) error {
	if s.first {
		s.first = false
		time.Sleep(s.takes)
		return nil
	}
	return s.trial.Touch(ctx, hold, ttl)
}

// adopt has this replica take a session that the other one made.
func (c *club) adopt(sid string, claim sessionstore.Claim) (*Record, *holder, error) {
	c.t.Helper()
	key := sessionstore.Key(c.m.keys.Load().RecordKey(sid))
	got, err := c.store.Claim(c.t.Context(), key, claim)
	if err != nil || got.Hold.Epoch == 0 {
		c.t.Fatalf("%+v, %v", got, err)
	}
	h := &holder{}
	r, _, err := c.m.Adopted(sid, got, recordLife, h)
	return r, h, err
}

// foreign makes a session of the other replica, as a Member there would.
func (c *club) foreign(sid string) sessionstore.Hold {
	c.t.Helper()
	hold, err := c.other.Create(c.t.Context(), sessionstore.Key(c.m.keys.Load().RecordKey(sid)),
		sessionstore.Draft{Static: []byte(`{"t":"test","u":"eA=="}`), TTL: recordLife})
	if err == nil {
		err = c.other.Persist(c.t.Context(), hold, sessionstore.Counters{Seq: 7, Data: "counters 7", TTL: recordLife})
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return hold
}

// failover-design 7.2: how long the server is given to read what is under way depends on how the former owner lost the
// session, and counts from the claim.
func TestResumingPauses(t *testing.T) {
	for name, p := range map[string]struct {
		lose  func(*club, sessionstore.Hold) sessionstore.Claim
		loss  sessionstore.Loss
		pause time.Duration
	}{
		"released": {func(c *club, h sessionstore.Hold) sessionstore.Claim {
			if err := c.other.Release(c.t.Context(), h); err != nil {
				c.t.Error(err)
			}
			return sessionstore.Claim{}
		}, sessionstore.LossReleased, 30 * time.Millisecond},
		"dead": {func(c *club, _ sessionstore.Hold) sessionstore.Claim {
			return sessionstore.Claim{Dead: c.other.Self().Incarnation}
		}, sessionstore.LossDead, 30 * time.Millisecond},
		"expired": {func(c *club, _ sessionstore.Hold) sessionstore.Claim {
			if err := c.other.Close(c.t.Context()); err != nil {
				c.t.Error(err)
			}
			return sessionstore.Claim{}
		}, sessionstore.LossExpired, 200 * time.Millisecond},
		"forced": {func(*club, sessionstore.Hold) sessionstore.Claim {
			return sessionstore.Claim{Force: true}
		}, sessionstore.LossForced, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := join(t, nil)
				defer c.m.Close()
				r, _, err := c.adopt("s", p.lose(c, c.foreign("s")))
				if err != nil || r.Loss() != p.loss || time.Since(r.Since()) != 0 {
					t.Fatalf("%v, %v, claimed %s", err, r.Loss(), r.Since())
				}
				const spent = 10 * time.Millisecond // on connecting
				time.Sleep(spent)
				for first, want := range map[bool]time.Duration{true: p.pause - spent, false: 30 * time.Millisecond} {
					begun := time.Now()
					if err := r.Resuming(t.Context(), first); err != nil {
						t.Error(err)
					}
					if took := time.Since(begun); first && took > want || !first && took != want {
						t.Errorf("first %t: %s, want %s", first, took, want)
					}
				}
				if sinceClaim := time.Since(r.Since()); sinceClaim < p.pause {
					t.Errorf("%s after the claim", sinceClaim)
				}
				if n := c.store.count("touch"); n != 2 {
					t.Errorf("the store was asked %d times", n)
				}
			})
		})
	}
}

// Who has lost the session in the meantime, or cannot find out, must not take the stream from who has it.
func TestResumingIsRefused(t *testing.T) {
	refused := func(t *testing.T, c *club, r *Record, h *holder, first bool) {
		t.Helper()
		if err := r.Resuming(t.Context(), first); !errors.Is(err, sessionstore.ErrNotOwner) {
			t.Errorf("%v", err)
		}
		if _, lost := h.told(); len(lost) != 1 || !errors.Is(lost[0], sessionstore.ErrNotOwner) {
			t.Errorf("told %v", lost)
		}
	}
	t.Run("claimed, and slept", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := join(t, nil)
			defer c.m.Close()
			c.foreign("s")
			r, h, err := c.adopt("s", sessionstore.Claim{Force: true})
			if err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(pauseForced/2, func() { c.steal(r) })
			refused(t, c, r, h, true)
		})
	})
	t.Run("the browser side is gone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := join(t, nil)
			defer c.m.Close()
			r, _ := c.create("s")
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(pauseDead/2, cancel)
			if err := r.Resuming(ctx, false); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			c.store.leave()
			ctx, cancel = context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := r.Resuming(ctx, false); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
	})
	// A replica that has been cut off from the store for a minute goes on. But when the server ends a stream of it another
	// replica has resumed it, for all it knows.
	t.Run("alone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := join(t, nil)
			defer c.m.Close()
			r, h := c.create("s")
			c.store.leave()
			refused(t, c, r, h, false)
			if !c.m.lone.Load() {
				t.Error("before the store was away for long")
			}
		})
	})
	// What was claimed and never resumed has no stream that could tell. It waits until the store can be asked.
	t.Run("claimed, and alone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := join(t, nil)
			defer c.m.Close()
			c.foreign("s")
			r, h, err := c.adopt("s", sessionstore.Claim{Force: true})
			if err != nil {
				t.Fatal(err)
			}
			c.store.leave()
			if err := r.Resuming(t.Context(), true); !errors.Is(err, sessionstore.ErrUnavailable) {
				t.Error(err)
			}
			if _, lost := h.told(); len(lost) > 0 {
				t.Errorf("told %v", lost)
			}
		})
	})
}

// A gateway that runs alone asks nobody, and waits only for the server.
func TestAloneAsksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := join(t, func(cfg *MemberConfig) { cfg.Alone = true })
		defer c.m.Close()
		r, h := c.create("s")
		c.store.leave()
		time.Sleep(time.Hour)
		begun := time.Now()
		if err := r.Resuming(t.Context(), false); err != nil || time.Since(begun) != pauseDead {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
		if took, err := confirmed(t, r); !r.MayWrite() || err != nil || took != 0 || !r.TouchDue().IsZero() || r.Survives() || r.Sealer() != nil {
			t.Errorf("%v", err)
		}
		if c.m.Shared() || c.m.Route(Request{}, "s", nil) != NoSession {
			t.Error("somebody else is asked")
		}
		if _, lost := h.told(); lost != nil || c.store.count("touch")+c.store.count("check") != 0 {
			t.Errorf("told %v", lost)
		}
	})
}
