package bosh

import "slices"

// failoverTally is a tally of FailoverMetrics too.
type failoverTally struct {
	tally

	responses, taken, again, down, away int
	classes                             map[string]int
	lost                                []string
	onStart                             func() // called for each session, once; set by the test while there is none to come
}

func (c *failoverTally) SessionStarted() {
	c.tally.SessionStarted()
	if f := c.onStart; f != nil {
		c.onStart = nil
		f()
	}
}

func (c *failoverTally) count(what func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	what()
}

func (c *failoverTally) Responded()           { c.count(func() { c.responses++ }) }
func (c *failoverTally) TakenOver(float64)    { c.count(func() { c.taken++ }) }
func (c *failoverTally) Resumed()             { c.count(func() { c.again++ }) }
func (c *failoverTally) NotResumed(by string) { c.count(func() { c.lost = append(c.lost, by) }) }
func (c *failoverTally) StoodDown()           { c.count(func() { c.down++ }) }
func (c *failoverTally) GivenAway()           { c.count(func() { c.away++ }) }

func (c *failoverTally) Classified(class string, change int) {
	c.count(func() {
		if c.classes == nil {
			c.classes = map[string]int{}
		}
		c.classes[class] += change
	})
}

// of is how many sessions there are of a class.
func (c *failoverTally) of(class string) (n int) {
	c.count(func() { n = c.classes[class] })
	return n
}

// losses are the causes for which sessions were lost.
func (c *failoverTally) losses() (all []string) {
	c.count(func() { all = slices.Clone(c.lost) })
	return all
}

// tallied are takeovers, resumptions in place, sessions that other replicas took, and those given away.
func (c *failoverTally) tallied() (t [4]int) {
	c.count(func() { t = [4]int{c.taken, c.again, c.down, c.away} })
	return t
}
