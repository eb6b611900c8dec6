package bosh

import "time"

// machineConfig is what all machines of a Handler share; immutable. Ceilings of what browsers may ask for.
type machineConfig struct {
	wait, inactivity, polling, maxpause time.Duration // whole seconds; maxpause 0: no pauses
	hold                                int
	acks                                bool // offer request acknowledgements (XEP-0124 §9.1)
	keys                                bool
	managed                             bool // false: class none, nothing is ever saved

	featuresWait  time.Duration // the creation response waits that long for features
	gapWait       time.Duration // a parked request is told of the gap after that time (BOSH-134)
	stuckWait     time.Duration // beyond its wait a request that the server delays gets 503 at the latest after that time
	grace         time.Duration // a session that has ended repeats its last answer that long (BOSH-123)
	ackTimeout    time.Duration // how long a terminate waits for the server's <a/>
	queueBytes    int           // waiting per direction
	responseBytes int           // of one response; at least one element is sent
	responseMax   int           // elements of one response
}

// machine is the state of one session. See events.go for its use.
type machine struct {
	config *machineConfig
}

func newMachine(now time.Time, config *machineConfig, sid string, names []string, x exchange, r *request) (*machine, effects) {
	return &machine{config: config}, effects{}
}

// restoreMachine makes the machine of a session that this replica took over (failover-design 7.3).
func restoreMachine(now time.Time, config *machineConfig, sid string, names []string, settings, counters string) (*machine, effects, error) {
	return &machine{config: config}, effects{}, nil
}

func (m *machine) request(now time.Time, x exchange, r *request) effects          { return effects{} }
func (m *machine) refused(now time.Time, x exchange, condition string) effects    { return effects{} }
func (m *machine) gone(now time.Time, x exchange) effects                         { return effects{} }
func (m *machine) opened(now time.Time, stream int, header streamHeader) effects  { return effects{} }
func (m *machine) openFailed(now time.Time, stream int, condition string) effects { return effects{} }
func (m *machine) delivered(now time.Time, stream int, els []element) effects     { return effects{} }
func (m *machine) forwarded(now time.Time, rid uint64, stanzas int) effects       { return effects{} }
func (m *machine) acked(now time.Time, h uint32) effects                          { return effects{} }
func (m *machine) ackRequested(now time.Time) effects                             { return effects{} }
func (m *machine) enabled(now time.Time, resumable bool) effects                  { return effects{} }
func (m *machine) saved(now time.Time, n uint64, ok bool) effects                 { return effects{} }
func (m *machine) resumed(now time.Time, h uint32) effects                        { return effects{} }
func (m *machine) ended(now time.Time, stream int, c cause) effects               { return effects{} }
func (m *machine) tick(now time.Time) effects                                     { return effects{} }
func (m *machine) drain(now time.Time) effects                                    { return effects{} }
func (m *machine) shutdown(now time.Time) effects                                 { return effects{} }
func (m *machine) standDown(now time.Time) effects                                { return effects{} }

// wantsMore says whether the shell should read the next element from the server: false while too much waits for the
// browser (BOSH-080). It can become true after every event.
func (m *machine) wantsMore() bool { return true }

// resumeFrom is the h of <resume/>.
func (m *machine) resumeFrom() uint32 { return 0 }

// settings is what the store keeps beside the counters.
func (m *machine) settings() string { return "" }
