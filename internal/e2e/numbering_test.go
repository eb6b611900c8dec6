//go:build e2e

package e2e

import (
	"fmt"
	"sync"
)

// numbering is what has become of messages numbered from 0 on, on their way from one session to another.
type numbering struct {
	mu        sync.Mutex
	next      int64          // above all that have arrived
	late      map[int64]bool // later ones have arrived already
	returned  map[int64]bool // came back to their sender as errors
	got       int64
	displaced int64 // arrived behind later ones
}

// arrives notes a message. ordered is false if one before it has not arrived.
func (n *numbering) arrives(number int64) (ordered bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case number < n.next && !n.late[number]:
		return true, fmt.Errorf("%d arrived twice", number)
	case number < n.next:
		delete(n.late, number)
		n.displaced++
	default:
		ordered = number == n.next
		for ; n.next < number; n.next++ {
			if n.late == nil {
				n.late = map[int64]bool{}
			}
			n.late[n.next] = true
		}
		n.next++
	}
	n.got++
	return ordered, nil
}

// comesBack notes a message that the server has given back to its sender.
func (n *numbering) comesBack(number int64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.returned[number] {
		return fmt.Errorf("%d came back twice", number)
	}
	if n.returned == nil {
		n.returned = map[int64]bool{}
	}
	n.returned[number] = true
	return nil
}

// settled reports whether as many have arrived or come back as were sent.
func (n *numbering) settled(sent int64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.got+int64(len(n.returned)) >= sent
}

// verify counts the messages sent that have neither arrived nor come back. An error means that one has done more than that.
func (n *numbering) verify(sent int64) (lost int64, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for number := range max(sent, n.next) {
		absent := number >= n.next || n.late[number]
		switch {
		case number >= sent:
			return lost, fmt.Errorf("%d arrived and was not sent", number)
		case absent && !n.returned[number]:
			lost++
		case !absent && n.returned[number]:
			return lost, fmt.Errorf("%d arrived, and came back too", number)
		}
	}
	return lost, nil
}

func (n *numbering) counts() (got, displaced, returned int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.got, n.displaced, int64(len(n.returned))
}
