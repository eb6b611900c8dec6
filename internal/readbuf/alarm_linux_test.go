package readbuf

import (
	"net"
	"sync"
	"testing"
	"time"
)

const patience = 10 * time.Second

// rung waits for an alarm.
func rung(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatal("no alarm")
	}
}

// silent reports an alarm that has rung.
func silent(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
		t.Fatal("an alarm for nothing")
	default:
	}
}

// awaiting is a Buffer whose alarm is set.
func awaiting(t *testing.T, b *Buffer) <-chan struct{} {
	t.Helper()
	c := make(chan struct{}, 2)
	if !b.Await(func() { c <- struct{}{} }) {
		t.Fatal("cannot wait")
	}
	return c
}

// An alarm rings for data, for the end, for Ring and after RingIn, once each, and what there is to read is still there.
func TestAlarmRings(t *testing.T) {
	near, far := pair(t)
	var b Buffer
	b.Init(near, nil)
	b.Ring() // of none that is set
	b.RingIn(0)

	c := awaiting(t, &b)
	silent(t, c)
	for range 2 { // the second time what came is there before the alarm is set
		if _, err := far.Write([]byte("some")); err != nil {
			t.Fatal(err)
		}
		rung(t, c)
		c = awaiting(t, &b)
		rung(t, c)
		if err := b.Fill(); err != nil || string(b.Bytes()) != "some" {
			t.Fatalf("%q, %v", b.Bytes(), err)
		}
		b.Consume(4)
		c = awaiting(t, &b)
	}
	silent(t, c)
	b.Ring()
	b.Ring()
	rung(t, c)
	silent(t, c)

	c = awaiting(t, &b)
	b.RingIn(time.Hour)
	b.RingIn(time.Millisecond)
	rung(t, c)
	c = awaiting(t, &b)
	b.RingIn(time.Millisecond)
	b.Ring()
	rung(t, c)
	c = awaiting(t, &b) // the time is over for the wait before this one
	if _, err := far.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	rung(t, c)
	if err := b.Fill(); err != nil {
		t.Fatal(err)
	}
	b.Drop()

	c = awaiting(t, &b)
	_ = far.CloseWrite()
	rung(t, c)
	if err := b.Fill(); err == nil {
		t.Error("no end")
	}
}

// Who closes the connection and rings afterwards rings an alarm that is set, or keeps it from being set.
func TestAlarmOfAClosedConnection(t *testing.T) {
	set := 0
	for i := range 200 {
		near, _ := pair(t)
		var b Buffer
		b.Init(near, nil)
		closed, rings := make(chan struct{}), make(chan struct{}, 2)
		go func() {
			defer close(closed)
			if i%2 == 0 {
				time.Sleep(time.Duration(i) * time.Microsecond) // either may come first
			}
			_ = near.Close()
			b.Ring()
		}()
		if b.Await(func() { rings <- struct{}{} }) {
			set++
			rung(t, rings)
		}
		<-closed
		silent(t, rings)
	}
	t.Logf("%d of 200 alarms were set first", set)
}

// Many connections wait at once, each for itself, and the last one ends the waiting.
func TestManyAlarms(t *testing.T) {
	const many = 300 // more than one system call brings
	type one struct {
		far  *net.TCPConn
		b    Buffer
		c    <-chan struct{}
		near *net.TCPConn
	}
	all := make([]one, many)
	for i := range all {
		o := &all[i]
		o.near, o.far = pair(t)
		o.b.Init(o.near, nil)
	}
	for range 3 {
		for i := range all {
			all[i].c = awaiting(t, &all[i].b)
		}
		var writing sync.WaitGroup
		for i := range all {
			if i%3 > 0 {
				writing.Go(func() { _, _ = all[i].far.Write([]byte("x")) })
			}
		}
		writing.Wait()
		for i := range all {
			if i%3 > 0 {
				rung(t, all[i].c)
				if err := all[i].b.Fill(); err != nil {
					t.Fatal(err)
				}
				all[i].b.Drop()
			}
		}
		for i := 0; i < many; i += 3 {
			silent(t, all[i].c)
			all[i].b.Ring()
			rung(t, all[i].c)
		}
		alarms.mu.Lock()
		if len(alarms.waits) != 0 || alarms.file != nil {
			t.Errorf("%d wait, epoll %v", len(alarms.waits), alarms.file)
		}
		alarms.mu.Unlock()
	}
}

// Nobody waits without a connection that can be waited for.
func TestNoAlarm(t *testing.T) {
	var a Alarm
	if a.set(nil, func() { t.Error("rung") }) {
		t.Error("set without a connection")
	}
}
