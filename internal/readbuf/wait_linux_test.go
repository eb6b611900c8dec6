package readbuf

import (
	"testing"

	"golang.org/x/sys/unix"
)

// One read takes all that is there, from a connection that was silent before.
func TestReadsAreBig(t *testing.T) {
	near, far := pair(t)
	var b Buffer
	b.Init(near, nil)
	if _, err := far.Write(make([]byte, 10_000)); err != nil {
		t.Fatal(err)
	}
	raw, err := near.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for queued := 0; queued < 10_000; {
		if err := raw.Control(func(fd uintptr) { queued, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Fill(); err != nil || b.Len() != 10_000 {
		t.Errorf("%d bytes, %v", b.Len(), err)
	}
}
