package websocket

import (
	"time"

	"stanzagate/upstream"
)

// A goroutine that has passed stanzas on has a stack of 4 to 8 KiB and keeps it while it waits. Most sessions have nothing
// to pass on most of the time, so after some silence such a goroutine ends, and another one begins when something comes. Where
// nobody can wait for all connections together, a fresh goroutine that does nothing but wait takes its place meanwhile, in the
// 2 KiB that goroutines begin with. Whatever up owns passes on to it and back, and so for down. In a conversation that would
// cost more than it saves: to start a goroutine may wake another thread.

// restAfter is the silence, on one side, after which its goroutine ends; it may be twice that.
const restAfter = 2 * time.Second

// pause is called at the end of up, while there is nothing to read.
func (s *session) pause() {
	s.resting = false
	if s.sock.await(s.run) {
		return
	}
	go s.rest()
}

// rest is up while there is nothing to read.
func (s *session) rest() {
	s.sock.rerr = s.sock.in.Park()
	if s.restErr = s.sock.rerr; s.restErr == nil {
		s.sock.lastRead.Store(int64(s.h.now()))
	}
	go s.run()
}

// pauseDown is called at the end of down, while there is nothing to read.
func (s *session) pauseDown(stream *upstream.Stream) {
	if !stream.Await(func() { s.runDown(stream) }) {
		go s.restDown(stream)
	}
}

// restDown is down while there is nothing to read.
func (s *session) restDown(stream *upstream.Stream) {
	stream.Park()
	go s.runDown(stream)
}
