package sessionstore

import "errors"

var (
	// ErrUnavailable: the store could not be asked, or did not answer in time. What was asked for may have been done.
	ErrUnavailable = errors.New("session store is not available")
	// ErrNotOwner: the session has a newer epoch. Who gets this stands down.
	ErrNotOwner = errors.New("session is owned by another replica")
	// ErrNotFound: there is no record. It was deleted, it expired, or the store lost it.
	ErrNotFound = errors.New("session has no record")
	// ErrExists: the key is in use.
	ErrExists = errors.New("session has a record already")
	// ErrNewer: a newer gateway wrote the record in a way that this one does not understand. It is left alone.
	ErrNewer = errors.New("record was written by a newer gateway")
	// ErrFull: the store takes no more, or the account has no free slot.
	ErrFull = errors.New("session store is full")
)

var (
	errFenced  = errors.New("this replica has no lease")
	errClosed  = errors.New("closed")
	errContest = errors.New("the owner changes too fast")
)
