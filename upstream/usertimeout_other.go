//go:build !linux

package upstream

import (
	"syscall"
	"time"
)

// setUserTimeout does nothing here: keep-alive and the write deadline remain.
func setUserTimeout(syscall.RawConn, time.Duration) error { return nil }
