package websocket

import (
	"time"

	"stanzagate/upstream"
)

// A goroutine that has passed stanzas on has a stack of 4 to 8 KiB and keeps it while it waits. Most sessions have nothing
// to pass on most of the time, so after some silence such a goroutine ends, and a fresh one that does nothing but wait takes
// its place in the 2 KiB that goroutines begin with. Whatever up owns passes to rest and back, and so for down. In a
// conversation that would cost more than it saves: to start a goroutine may wake another thread.

// restAfter is the silence, on one side, after which its goroutine is replaced; it may be twice that.
const restAfter = 2 * time.Second

// rest is up while there is nothing to read.
func (s *session) rest() {
	s.sock.rerr = s.sock.in.Park()
	if s.restErr = s.sock.rerr; s.restErr == nil {
		s.sock.lastRead.Store(int64(s.h.now()))
	}
	s.resting = false
	go s.run()
}

// restDown is down while there is nothing to read.
func (s *session) restDown(stream *upstream.Stream) {
	stream.Park()
	go s.runDown(stream)
}
