//go:build !linux

package readbuf

import (
	"syscall"
	"time"
)

// poller is for systems on which goroutines wait.
type poller struct{}

var alarms poller

func (poller) add(*Alarm, syscall.RawConn, func()) bool { return false }

func (poller) ring(uint64) {}

func (poller) ringIn(*Alarm, time.Duration) {}
