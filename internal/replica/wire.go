package replica

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// wire is one connection between two replicas, which many requests share: what both ends have in common. What is sent is
// written by whoever sends it, together with what others send meanwhile, so that nothing waits for another goroutine to
// wake. Safe for concurrent use. It ends with close, or when the other side does not answer any more.
//
// A frame is its kind, the number of its request, the length of its content, and the content.
type wire struct {
	// immutable
	conn *tls.Conn
	born time.Time
	gone chan struct{} // closed with the wire

	heard atomic.Int64   // when something last came, in nanoseconds since born
	aside sync.WaitGroup // what is written by nobody who sent it; added to under mu while not ended, and by run, which waits

	mu sync.Mutex
	// guarded by mu
	out, spare []byte     // to be written, and what was
	writing    bool       // somebody writes
	room       *sync.Cond // signalled when out has been written, and at the end
	err        error      // why the wire has ended
	watch      *time.Timer
	checked    int64 // when check last ran, as heard
}

// kind is what a frame is.
type kind byte

const (
	kindRequest kind = iota + 1 // to the owner
	kindCancel                  // to the owner: nobody waits for the answer any more
	kindAnswer                  // to the browser side
	kindBeat                    // to both: a sign of life
)

const (
	// protocol is what both sides agree on in the TLS handshake. Gateways of which one does not know it do not talk.
	protocol = "stanzagate-relay-1"
	// Each side sends a sign of life every beat if it sends nothing else, and is gone when not a byte has come for silence.
	// It is not asked for one: on a slow link both question and answer could be behind much else.
	beat    = 500 * time.Millisecond
	silence = 5 * beat
	// takeIn is how long a side may take in nothing of what is written to it.
	takeIn = 2 * time.Second
	// A sender writes what others send for no longer than forOthers: there may always be more.
	forOthers = time.Millisecond
	// outBytes is how much may wait to be written before senders wait too.
	outBytes = 1 << 20
	// contentBytes bounds the content of a frame. Requests and answers have their own, lower limits.
	contentBytes = 256 << 20
	frameHeader  = 1 + 8 + 4
	readBytes    = 16 << 10
	writeBytes   = 256 << 10 // at a time, so that takeIn is for no more than this
)

var (
	errClosed = errors.New("relay: closed")
	errSilent = errors.New("relay: the other side does not answer")
)

func newWire(conn *tls.Conn) *wire {
	w := &wire{conn: conn, gone: make(chan struct{}), born: time.Now()}
	w.room = sync.NewCond(&w.mu)
	return w
}

func (w *wire) now() int64 { return int64(time.Since(w.born)) + 1 }

// run reads until the wire has ended, and returns why. take gets every frame in turn, and may keep content.
func (w *wire) run(take func(k kind, id uint64, content []byte) error) error {
	w.heard.Store(w.now())
	w.mu.Lock()
	if w.err == nil {
		w.checked = w.now()
		w.watch = time.AfterFunc(beat, w.check)
	}
	w.mu.Unlock()
	defer w.aside.Wait()
	in := bufio.NewReaderSize((*hearing)(w), readBytes)
	for {
		k, id, content, err := readFrame(in)
		if err != nil {
			return w.close(err)
		}
		if k != kindBeat {
			err = take(k, id, content)
		}
		if err != nil {
			return w.close(err)
		}
	}
}

// hearing is a wire as what it reads from. A part of a frame is a sign of life too.
type hearing wire

func (w *hearing) Read(b []byte) (int, error) {
	n, err := w.conn.Read(b)
	if n > 0 {
		w.heard.Store((*wire)(w).now())
	}
	return n, err
}

func readFrame(in *bufio.Reader) (k kind, id uint64, content []byte, err error) {
	head, err := in.Peek(frameHeader)
	if err != nil {
		return 0, 0, nil, err
	}
	k, id = kind(head[0]), binary.BigEndian.Uint64(head[1:])
	size := int(binary.BigEndian.Uint32(head[9:]))
	_, _ = in.Discard(frameHeader)
	if size > contentBytes {
		return 0, 0, nil, fmt.Errorf("relay: frame of %d bytes", size)
	}
	if content, err = readContent(in, size); err != nil {
		return 0, 0, nil, fmt.Errorf("read frame: %w", err)
	}
	return k, id, content, nil
}

// readContent takes memory for what is announced only as far as it comes.
func readContent(in io.Reader, size int) (content []byte, err error) {
	const step = 1 << 20
	for len(content) < size {
		have := len(content)
		content = append(content, make([]byte, min(step, size-have))...)
		if _, err := io.ReadFull(in, content[have:]); err != nil {
			return nil, err
		}
	}
	return content, nil
}

// send sends a frame. fill appends its content; nil: it has none. An error means that the wire has ended; without one the
// frame may still not arrive.
func (w *wire) send(k kind, id uint64, fill func([]byte) []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.err == nil && len(w.out) > outBytes {
		w.room.Wait()
	}
	if w.err != nil {
		return w.err
	}
	at := len(w.out)
	w.out = append(w.out, byte(k))
	w.out = binary.BigEndian.AppendUint64(w.out, id)
	w.out = append(w.out, 0, 0, 0, 0)
	if fill != nil {
		w.out = fill(w.out)
	}
	size := len(w.out) - at - frameHeader
	if size > contentBytes {
		w.out = w.out[:at]
		return fmt.Errorf("relay: frame of %d bytes", size)
	}
	binary.BigEndian.PutUint32(w.out[at+frameHeader-4:], uint32(size)) //nolint:gosec // compared above
	if w.writing {
		return nil // whoever writes goes on with it
	}
	w.writing = true
	w.writeLocked(forOthers)
	return w.err
}

// writeLocked writes what there is, and what is added meanwhile; what is left after limit another goroutine writes. It
// gives mu up while it writes.
func (w *wire) writeLocked(limit time.Duration) {
	begun := w.now()
	for len(w.out) > 0 && w.err == nil {
		if w.now()-begun > int64(limit) {
			w.aside.Go(w.writeRest)
			return
		}
		b := w.out
		w.out = w.spare[:0]
		w.mu.Unlock()
		if err := w.write(b); err != nil {
			_ = w.close(fmt.Errorf("write: %w", err))
		}
		w.mu.Lock()
		if w.spare = b; cap(b) > 2*outBytes {
			w.spare = nil
		}
		w.room.Broadcast()
	}
	w.writing = false
	w.room.Broadcast()
}

func (w *wire) writeRest() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writeLocked(math.MaxInt64)
}

func (w *wire) write(b []byte) error {
	for part := range slices.Chunk(b, writeBytes) {
		_ = w.conn.SetWriteDeadline(time.Now().Add(takeIn))
		if _, err := w.conn.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// flush waits until what was sent has been written, or cannot be.
func (w *wire) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.writing && w.err == nil {
		w.room.Wait()
	}
}

// check finds out whether the other side is still there, and shows it that this one is.
func (w *wire) check() {
	w.mu.Lock()
	if w.err != nil {
		w.mu.Unlock()
		return
	}
	now := w.now()
	// A check that comes late was frozen with its process: what has come meanwhile is still to be read.
	late := now-w.checked > int64(2*beat)
	lost := !late && now-w.heard.Load() >= int64(silence)
	w.checked = now
	quiet := !w.writing
	if !lost {
		w.watch.Reset(beat)
	}
	w.mu.Unlock()
	switch {
	case lost:
		_ = w.close(errSilent)
	case quiet:
		_ = w.send(kindBeat, 0, nil)
	}
}

// close ends the wire and returns why it ended first.
func (w *wire) close(why error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = why
		if w.watch != nil {
			w.watch.Stop()
		}
		close(w.gone)
		_ = w.conn.NetConn().Close() // not that of TLS, which writes
		w.room.Broadcast()
	}
	return w.err
}

// ended returns why the wire has ended, nil while it has not.
func (w *wire) ended() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}
