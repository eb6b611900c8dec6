package bosh

import "slices"

// linkState is how far a stream to the server is.
type linkState uint8

const (
	linkOpening linkState = iota
	linkReady             // the server has sent its features: it can be spoken to
	linkEnding            // the browser closed it; what it said before goes out, nothing more comes in
	linkOver
)

// fate is how a stream ended, or a session.
type fate struct {
	condition string // "" for a plain end
	raw       []byte // the stream error, nil if there was none (XBOSH-018)
}

// link is one stream to a server (XEP-0124 §16), with the elements that wait for the browser.
type link struct {
	state  linkState
	header *streamHeader // until the browser has been told (XEP-0206 §4)
	queue  []element
	bytes  int
	fate   *fate // the browser is to be told that this stream is over, after queue
}

// streams is all links of a session. Only the first can be managed (XEP-0198).
type streams struct {
	names []string // opaque; nil: one stream, never named (BOSH-064)
	links []link
	last  int // the link whose elements went out last
}

func newStreams(names []string) streams {
	return streams{names: names, links: make([]link, 1)}
}

// named says whether responses name their stream (XEP-0124 §16.4).
func (s *streams) named() bool { return len(s.links) > 1 }

// name of a stream, "" if the feature is off.
func (s *streams) name(i int) string {
	if i < len(s.names) {
		return s.names[i]
	}
	return ""
}

// find returns the stream of that name, -1 if there is none.
func (s *streams) find(name string) int {
	return slices.Index(s.names[:min(len(s.names), len(s.links))], name)
}

// add opens another stream; ok is false if the session has as many as it may.
func (s *streams) add() (i int, ok bool) {
	if len(s.links) >= len(s.names) {
		return 0, false
	}
	s.links = append(s.links, link{})
	return len(s.links) - 1, true
}

// maxStreams is what a streamSet has room for.
const maxStreams = 32

// link returns stream i, nil if there is none.
func (s *streams) link(i int) *link {
	if i < 0 || i >= len(s.links) {
		return nil
	}
	return &s.links[i]
}

// open is the set of streams that take elements.
func (s *streams) open() streamSet { return s.within(linkReady) }

// within is the set of streams that have not come further than state.
func (s *streams) within(state linkState) streamSet {
	var set streamSet
	for i := range s.links {
		if s.links[i].state <= state {
			set |= 1 << uint(i)
		}
	}
	return set
}

// ready says whether all of set can be spoken to.
func (s *streams) ready(set streamSet) bool {
	for i := range s.links {
		if set.has(i) && s.links[i].state == linkOpening {
			return false
		}
	}
	return true
}

// waiting says whether something waits for the browser.
func (s *streams) waiting() bool {
	for i := range s.links {
		if l := &s.links[i]; len(l.queue) > 0 || l.fate != nil {
			return true
		}
	}
	return false
}

// bytes is how much waits for the browser.
func (s *streams) bytes() int {
	n := 0
	for i := range s.links {
		n += s.links[i].bytes
	}
	return n
}

// turn picks the stream whose elements go out next: one body never mixes two (XEP-0124 §16.4), and no stream starves.
// It returns -1 if nothing waits.
func (s *streams) turn() int {
	for n := range s.links {
		i := (s.last + 1 + n) % len(s.links)
		if l := &s.links[i]; len(l.queue) > 0 || l.fate != nil {
			return i
		}
	}
	return -1
}

// push queues an element for the browser.
func (l *link) push(el element) {
	l.queue = append(l.queue, el)
	l.bytes += len(el.raw)
}

// take removes elements from the front: at most count and bytes, but one at least (BOSH-079). The slice is the caller's.
func (l *link) take(count, bytes int) []element {
	n, size := 0, 0
	for n < len(l.queue) && n < max(1, count) {
		if size += len(l.queue[n].raw); n > 0 && size > bytes {
			size -= len(l.queue[n].raw)
			break
		}
		n++
	}
	els := l.queue[:n:n]
	if l.queue = l.queue[n:]; len(l.queue) == 0 {
		l.queue = nil
	}
	l.bytes -= size
	return els
}
