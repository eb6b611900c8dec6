//go:build !linux

package load

import (
	"errors"
	"time"
)

// Processes are the ones under test; only on Linux can they be measured.
type Processes []int

// CPU returns 0.
func (p Processes) CPU() time.Duration { return 0 }

// Memory fails.
func (p Processes) Memory() (int64, error) { return 0, errors.ErrUnsupported }
