package websocket

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"stanzagate/internal/readbuf"
)

const (
	// stallTimeout is how long the browser may leave what is written to it untaken (WS-022).
	stallTimeout = 30 * time.Second
	// chunkBytes is written under one such deadline, so that a slow browser is not taken for a dead one.
	chunkBytes = 64 << 10
	// byeTimeout bounds the last bytes before the connection is closed, and the wait for an answer to our Close frame.
	byeTimeout = time.Second
)

// socket is the browser's connection, as a net.Conn under coder/websocket and as buffers beside it. One goroutine reads;
// any may write. Writing only appends; whoever wrote flushes before it waits for something. So nothing is ever stuck in a
// write while it holds a lock of the library, and frames share a system call whenever there are several.
type socket struct {
	net.Conn

	// immutable after init
	now    func() time.Duration
	before func() // called before a read; flushes what the reading goroutine has gathered

	// owned by the goroutine that reads
	in     readbuf.Buffer
	rerr   error         // why reading failed, if it did
	readBy time.Duration // the read deadline that fillWithin set; 0 for none

	limit sync.Mutex // held by who sets the read deadline
	woken bool       // guarded by limit: the deadline is meant to stop the reader, and stays

	lastRead, lastWrite atomic.Int64 // by now, for ping.go
	closing             atomic.Bool  // Close has begun

	out outbox
}

func (k *socket) init(conn net.Conn, early []byte, now func() time.Duration, before func()) {
	k.Conn, k.now, k.before = conn, now, before
	k.lastRead.Store(int64(now()))
	k.lastWrite.Store(int64(now()))
	k.in.Init(conn, early) // net/http has read 4 KiB at most
}

// Read is for coder/websocket.
func (k *socket) Read(p []byte) (int, error) {
	if k.in.Len() == 0 {
		if err := k.fill(); err != nil {
			return 0, err
		}
	}
	return k.in.Read(p)
}

// fill reads once, behind what is buffered already. There must be less than a block of it.
func (k *socket) fill() error {
	for {
		err := k.read()
		if err == nil || !k.forgetLimit(err) {
			return err
		}
	}
}

var errQuiet = errors.New("nothing came in time")

// fillWithin is fill that fails with errQuiet if nothing comes for d, or for twice that: a deadline is expensive to set, so
// it is not set each time. Connections that need a buffer to wait ignore d.
func (k *socket) fillWithin(d time.Duration) error {
	if !k.in.Parks() {
		return k.fill()
	}
	if now := k.now(); k.readBy-now < d {
		k.limit.Lock()
		if !k.woken {
			k.readBy = now + 2*d
			_ = k.Conn.SetReadDeadline(time.Now().Add(2 * d))
		}
		k.limit.Unlock()
	}
	err := k.read()
	if err != nil && k.forgetLimit(err) {
		k.rerr = nil
		return errQuiet
	}
	return err
}

// forgetLimit reports whether err is only the deadline of fillWithin, and takes that back.
func (k *socket) forgetLimit(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	k.limit.Lock()
	defer k.limit.Unlock()
	if !k.woken {
		k.readBy = 0
		_ = k.Conn.SetReadDeadline(time.Time{})
	}
	return !k.woken
}

func (k *socket) read() error {
	k.before()
	k.rerr = k.in.Fill()
	if k.rerr == nil {
		k.lastRead.Store(int64(k.now()))
	}
	return k.rerr
}

// wake makes the reader return with os.ErrDeadlineExceeded, at once or after d, whatever it reads.
func (k *socket) wake(d time.Duration) {
	k.limit.Lock()
	defer k.limit.Unlock()
	k.woken = true
	_ = k.Conn.SetReadDeadline(time.Now().Add(d))
	k.in.Ring()
}

// await has awake called when there is something to read, or when the reader has to look. It reports false if that cannot
// be; then the socket is the caller's still.
func (k *socket) await(awake func()) bool {
	if !k.in.Await(awake) {
		return false
	}
	k.limit.Lock()
	defer k.limit.Unlock()
	if k.woken { // before Await
		k.in.Ring()
	}
	return true
}

// cut closes the connection, without a word.
func (k *socket) cut() {
	_ = k.Conn.Close()
	k.in.Ring()
}

// Write is for coder/websocket: control frames, and messages where compression is on.
func (k *socket) Write(p []byte) (int, error) {
	eager, err := k.out.add(p)
	if err != nil {
		return 0, err
	}
	if eager {
		err = k.flush()
	}
	return len(p), err
}

// flush writes what waits, unless somebody else is writing it already; then it returns at once, or, when more than
// out.bound waits, with it.
func (k *socket) flush() error {
	if !k.out.turn() {
		return nil
	}
	for {
		b, err := k.out.take()
		if b == nil {
			return err
		}
		err = k.writeAll(*b)
		k.out.done(b, err)
		if err != nil {
			k.cut() // part of a frame may be out; the reader ends the session
			return err
		}
	}
}

func (k *socket) writeAll(b []byte) error {
	for len(b) > 0 {
		now := k.now()
		k.lastWrite.Store(int64(now))
		// A deadline is expensive to set and only has to be roughly right.
		if k.out.deadline-now < stallTimeout*3/4 && !k.closing.Load() {
			if err := k.Conn.SetWriteDeadline(time.Now().Add(stallTimeout)); err != nil {
				return err
			}
			k.out.deadline = now + stallTimeout
		}
		chunk := b[:min(len(b), chunkBytes)]
		if _, err := k.Conn.Write(chunk); err != nil {
			return err
		}
		b = b[len(chunk):]
	}
	return nil
}

// Close is for coder/websocket and for who ends the session. What waits, a Close frame above all, is given a moment.
func (k *socket) Close() error {
	if k.closing.Swap(true) {
		return nil
	}
	_ = k.Conn.SetWriteDeadline(time.Now().Add(byeTimeout)) // for who may be writing, too
	k.out.wr.Lock()
	if b := k.out.takeLast(); b != nil {
		_, _ = k.Conn.Write(*b)
	}
	k.out.wr.Unlock()
	k.out.end()
	err := k.Conn.Close()
	k.in.Ring()
	return err
}

var errSocketClosed = errors.New("websocket is closed")
