package sessionstore

import (
	"context"
	"time"
)

// memorySlots are the user-agent slots of one account.
type memorySlots map[int]memorySlot

type memorySlot struct {
	session Key
	until   time.Time // from then on the session needs a record
}

// freeLocked reports whether nobody has a slot any more.
func (m *Memory) freeLocked(s memorySlot, now time.Time) bool {
	return !now.Before(s.until) && m.recordLocked(s.session, now) == nil
}

// TakeSlot implements Store.
func (r *MemoryReplica) TakeSlot(ctx context.Context, account Account, session Key) (int, error) {
	if err := r.enter(ctx, account.validate(), session.validate()); err != nil {
		return 0, err
	}
	m, now := r.m, time.Now()
	defer m.mu.Unlock()
	m.sweepSlotsLocked(now)
	slots := m.slots[account]
	if slots == nil {
		slots = memorySlots{}
		m.slots[account] = slots
	}
	number := -1
	for n, s := range slots {
		if s.session == session {
			number = n
		}
	}
	for n := 0; n < MaxSlots && number < 0; n++ {
		if s, taken := slots[n]; !taken || m.freeLocked(s, now) {
			number = n
		}
	}
	if number < 0 {
		return 0, ErrFull
	}
	slots[number] = memorySlot{session: session, until: now.Add(SlotGrace)}
	return number, nil
}

// FreeSlot implements Store.
func (r *MemoryReplica) FreeSlot(ctx context.Context, account Account, slot int, session Key) error {
	if err := r.enter(ctx, account.validate(), session.validate()); err != nil {
		return err
	}
	m := r.m
	defer m.mu.Unlock()
	slots := m.slots[account]
	if s, ok := slots[slot]; !ok || s.session != session {
		return nil
	}
	delete(slots, slot)
	if len(slots) == 0 {
		delete(m.slots, account)
	}
	return nil
}

// sweepSlotsLocked forgets accounts whose sessions have all ended: a few on each call, beginning anywhere.
func (m *Memory) sweepSlotsLocked(now time.Time) {
	few := 4
	for account, slots := range m.slots {
		if few--; few < 0 {
			return
		}
		for n, s := range slots {
			if m.freeLocked(s, now) {
				delete(slots, n)
			}
		}
		if len(slots) == 0 {
			delete(m.slots, account)
		}
	}
}
