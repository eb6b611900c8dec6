package bosh

import "testing"

// Covers: BOSH-079.
func TestLinkTake(t *testing.T) {
	var l link
	for _, text := range []string{"12", "345", "6", "7890123456"} {
		l.push(element{raw: []byte(text)})
	}
	take := func(count, bytes int) (got string) {
		for _, el := range l.take(count, bytes) {
			got += string(el.raw) + " "
		}
		return got
	}
	if got := take(10, 5); got != "12 345 " || l.bytes != 11 {
		t.Errorf("got %q, %d bytes left", got, l.bytes)
	}
	if got := take(0, 0); got != "6 " {
		t.Errorf("got %q", got)
	}
	els := l.queue
	if got := take(10, 1); got != "7890123456 " || l.bytes != 0 || l.queue != nil {
		t.Errorf("got %q, %d bytes left", got, l.bytes)
	}
	l.push(element{raw: []byte("new")})
	if string(els[0].raw) != "7890123456" {
		t.Error("what was given away changes")
	}
	if got := take(10, 100); got != "new " {
		t.Errorf("got %q", got)
	}
	if got := take(10, 100); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestStreamsSets(t *testing.T) {
	s := newStreams([]string{"A", "B", "C"})
	s.add()
	s.links[0].state = linkReady
	if s.open() != 0b11 || s.ready(0b11) || !s.ready(0b01) || s.find("B") != 1 || s.find("C") != -1 || s.find("") != -1 || s.name(5) != "" {
		t.Errorf("got %+v", s)
	}
	s.links[0].state = linkOver
	if s.open() != 0b10 || s.within(linkOver) != 0b11 || s.link(2) != nil || s.link(-1) != nil {
		t.Errorf("got %+v", s)
	}
	s.add()
	if _, ok := s.add(); ok {
		t.Error("more streams than names")
	}
}
